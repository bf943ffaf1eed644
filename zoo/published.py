"""The authors' names and ours, one table per model; dictionaries in, dictionaries out, no file is opened."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .captioner import Memory
from .layers.backbone import token_grid

Parts = Mapping[str, Mapping[str, Any]]  # constructor arguments of the authors' two parts
Table = tuple[tuple[str, str | None], ...]  # pattern of the authors' key -> our key; None: dead, never used by them


@dataclass(frozen=True)
class Published:
    """What is to be known of one model's published code: names of its weights, arguments, and tensors.

    ``inside`` says where intermediate tensors are: pattern of the authors' name -> path of our module, and what makes
    the tensor of what that module returns. ``special`` gives entries that go before ``keys`` where the authors'
    arguments are not the published ones.
    """

    keys: Table
    arguments: Callable[[Parts, int], dict[str, Any]]
    memory: Callable[[Memory], dict[str, Tensor]]
    inside: Mapping[str, tuple[str, Callable[[Any], Tensor]]] = field(default_factory=dict)
    special: Callable[[Parts, int], Table] = lambda theirs, channels: ()


# i is the layer; keys carry the prefixes of the two parts, encoder_feat. and decoder.
_MMODALCC: Table = (
    (r"encoder_feat\.w_embedding\.weight", "position.columns"),
    (r"encoder_feat\.h_embedding\.weight", "position.rows"),
    (r"encoder_feat\.embedding_1D\..*", None),
    (r"encoder_feat\.projection\.(weight|bias)", r"projections.rgb.\1"),
    (r"encoder_feat\.projection2\.(weight|bias)", r"projections.sem.\1"),
    (r"encoder_feat\.transformer\.(\d+)\.attention2\.in_proj_(\w+)", r"layers.\1.blocks.0.attention.project.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.attention2\.out_proj\.(\w+)", r"layers.\1.blocks.0.attention.out.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.norm3\.(\w+)", r"layers.\1.blocks.0.norm1.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.norm4\.(\w+)", r"layers.\1.blocks.0.norm2.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.linear3\.(\w+)", r"layers.\1.blocks.0.feed.0.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.linear4\.(\w+)", r"layers.\1.blocks.0.feed.3.\2"),
    (r"encoder_feat\.transformer\.\d+\.(attention|norm1|norm2|linear1|linear2)\..*", None),
    (r"encoder_feat\.resblock\.(\d+)\.left\.(\d+)\.(\w+)", r"fusions.0.\1.left.\2.\3"),
    (r"encoder_feat\.LN\.(\d+)\.(\w+)", r"fusions.0.\1.norm.\2"),
    (r"decoder\.vocab_embedding\.weight", "words.embedding.weight"),
    (r"decoder\.transformer\.layers\.(\d+)\.self_attn\.in_proj_(\w+)", r"words.layers.\1.self_attention.project.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)", r"words.layers.\1.self_attention.out.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.multihead_attn\.in_proj_(\w+)", r"words.layers.\1.cross.0.project.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.multihead_attn\.out_proj\.(\w+)", r"words.layers.\1.cross.0.out.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.gate\.0\.(\w+)", r"words.layers.\1.gate_rgb.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.gate2\.0\.(\w+)", r"words.layers.\1.gate_sem.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.gate3\.0\.(\w+)", r"words.layers.\1.gate_words.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.linear1\.(\w+)", r"words.layers.\1.feed.0.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.linear2\.(\w+)", r"words.layers.\1.feed.3.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.norm1\.(\w+)", r"words.layers.\1.norm1.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.norm3\.(\w+)", r"words.layers.\1.norm2.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.norm4\.(\w+)", r"words.layers.\1.norm3.\2"),
    (r"decoder\.transformer\.layers\.\d+\.(multihead_attn2|norm2)\..*", None),
    (r"decoder\.position_encoding\.pe", None),  # the sinusoid, computed
    (r"decoder\.position_encoding\.embedding_1D\.weight", None),
    (r"decoder\.wdc\.(weight|bias)", r"words.head.\1"),
)

# i is the layer; of the layers made beyond the third nothing reaches the decoder.
_PSNET: Table = (
    (r"encoder_feat\.w_embedding\.weight", "position.columns"),
    (r"encoder_feat\.h_embedding\.weight", "position.rows"),
    (r"encoder_feat\.(embedding_1D|transformer_cross\.\d+)\..*", None),
    (r"encoder_feat\.projection2\.(weight|bias)", r"projection.\1"),  # of a ViT-B; see _projection_of_width
    (r"encoder_feat\.projection[34]?\..*", None),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.self_attn\.in_proj_(\w+)", r"layers.\1.attention.project.\2"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.self_attn\.out_proj\.(\w+)", r"layers.\1.attention.out.\2"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.linear1\.(\w+)", r"layers.\1.feed.0.\2"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.linear2\.(\w+)", r"layers.\1.feed.3.\2"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.norm([12])\.(\w+)", r"layers.\1.norm\2.\3"),
    (r"encoder_feat\.linear_list\.([0-2])\.(\w+)", r"layers.\1.project.\2"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.attention_1\.in_proj_(\w+)", r"scales.\1.attention.project.\2"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.attention_1\.out_proj\.(\w+)", r"scales.\1.attention.out.\2"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.norm([12])\.(\w+)", r"scales.\1.norm\2.\3"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.linear1\.(\w+)", r"scales.\1.feed.0.\2"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.linear2\.(\w+)", r"scales.\1.feed.3.\2"),
    (r"encoder_feat\.Scale_aware_list\.\d+\.(attention_2|norm3|linear3|linear4)\..*", None),
    (r"encoder_feat\.(transformer_concatlength|linear_list|Scale_aware_list)\.(?![0-2]\.)\d+\..*", None),
    (r"decoder\.vocab_embedding\.weight", "words.embedding.weight"),
    (r"decoder\.transformer\.(\d+)\.self_attn\.in_proj_(\w+)", r"words.layers.\1.self_attention.project.\2"),
    (r"decoder\.transformer\.(\d+)\.self_attn\.out_proj\.(\w+)", r"words.layers.\1.self_attention.out.\2"),
    (r"decoder\.transformer\.(\d+)\.multihead_attn2\.in_proj_(\w+)", r"words.layers.\1.cross.project.\2"),
    (r"decoder\.transformer\.(\d+)\.multihead_attn2\.out_proj\.(\w+)", r"words.layers.\1.cross.out.\2"),
    (r"decoder\.transformer\.(\d+)\.linear1\.(\w+)", r"words.layers.\1.feed.0.\2"),
    (r"decoder\.transformer\.(\d+)\.linear2\.(\w+)", r"words.layers.\1.feed.3.\2"),
    (r"decoder\.transformer\.(\d+)\.norm([123])\.(\w+)", r"words.layers.\1.norm\2.\3"),
    (r"decoder\.transformer\.\d+\.(self_attn2|multihead_attn3?|norm[45]|fc|fc_alpha\d|init_[hc])\..*", None),
    (r"decoder\.transformer\.\d+\.(lstm|decode_step)\..*", None),
    (r"decoder\.position_encoding\.(pe|embedding_1D\.weight)", None),  # pe is the sinusoid, computed
    (r"decoder\.wdc\.(weight|bias)", r"words.head.\1"),
)
# keys carry the names of the parts in the authors' checkpoint, encoder_trans_dict. and decoder_dict.
_CHG2CAP: Table = (
    (r"encoder_trans_dict\.h_embedding\.weight", "encoder.position.columns"),  # they look it up by the column
    (r"encoder_trans_dict\.w_embedding\.weight", "encoder.position.rows"),
    *(
        (rf"encoder_trans_dict\.selftrans\.(\d+)\.{theirs}", ours and rf"encoder.layers.\1.{ours}")
        for i, block in enumerate(("alone", "joint"))
        for theirs, ours in (
            (rf"{i}\.att\.to_q\.weight", f"{block}.query.weight"),
            (rf"{i}\.att\.to_k\.weight", f"{block}.key.weight"),
            (rf"{i}\.att\.to_v\.weight", None),
            (rf"{i}\.att\.to_out\.0\.(\w+)", rf"{block}.out.0.\2"),
            (rf"{i}\.feedforward\.net\.(\d)\.(\w+)", rf"{block}.feed.\2.\3"),
            (rf"{i}\.norm(\d)\.(\w+)", rf"{block}.norm\2.\3"),
        )
    ),
    (r"decoder_dict\.Conv1\.(weight|bias)", r"fusion.join.\1"),
    (r"decoder_dict\.LN\.left\.(\d)\.(\w+)", r"fusion.left.\1.\2"),
    (r"decoder_dict\.vocab_embedding\.weight", "words.embedding.weight"),
    *(
        (rf"decoder_dict\.transformer\.layers\.(\d+)\.{theirs}", ours and rf"words.layers.\1.{ours}")
        for theirs, ours in (
            (r"self_attn\.in_proj_(\w+)", r"self_attention.project.\2"),
            (r"self_attn\.out_proj\.(\w+)", r"self_attention.out.\2"),
            (r"multihead_attn\.in_proj_(\w+)", r"cross.project.\2"),
            (r"multihead_attn\.out_proj\.(\w+)", r"cross.out.\2"),
            (r"linear1\.(\w+)", r"feed.0.\2"),
            (r"linear2\.(\w+)", r"feed.3.\2"),
            (r"norm(\d)\.(\w+)", r"norm\2.\3"),
            (r"fc_alpha\d\.(\w+)", None),
        )
    ),
    (r"decoder_dict\.position_encoding\.pe", None),  # the sinusoid, computed
    (r"decoder_dict\.position_encoding\.embedding_1D\.weight", None),
    (r"decoder_dict\.wdc\.(weight|bias)", r"words.head.\1"),
)


# torchvision's backbones, also as the authors hold them: the children of a ResNet counted, of which 2 and 3 have no
# weights, or a whole ViT.
_TRUNK: Table = (
    (r"(?:(?:net|cnn)\.0|conv1)\.(\w+)", r"conv1.\1"),
    (r"(?:(?:net|cnn)\.1|bn1)\.(\w+)", r"bn1.\1"),
    (r"(?:(?:net|cnn)\.4|layer1)\.(.+)", r"layer1.\1"),
    (r"(?:(?:net|cnn)\.5|layer2)\.(.+)", r"layer2.\1"),
    (r"(?:(?:net|cnn)\.6|layer3)\.(.+)", r"layer3.\1"),
    (r"(?:(?:net|cnn)\.7|layer4)\.(.+)", r"layer4.\1"),
    (r"(?:net\.)?class_token", "cls_token"),
    (r"(?:net\.)?conv_proj\.(\w+)", r"patch_embed.proj.\1"),
    (r"(?:net\.)?encoder\.pos_embedding", "pos_embed"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(\w+)", r"blocks.\1.attn.qkv.\2"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.mlp\.0\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.mlp\.3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"(?:net\.)?encoder\.ln\.(\w+)", r"norm.\1"),
    (r"fc\..*|(?:net\.)?heads\..*", None),  # classifiers
)


def rename(
    model: str, keys: list[str], theirs: Parts | None = None, channels: int | None = None
) -> dict[str, str | None]:
    """Our name for each of the authors' ``keys`` of ``model``; ``None`` for those their code never uses.

    Args:
        model: its name.
        keys: the authors' names.
        theirs: their arguments, see :func:`arguments`, where they may differ from the published ones: which keys
            their code uses can depend on them.
        channels: of the backbone maps, with ``theirs``.

    Raises:
        ValueError: the model has no table, or a key is not in it; the message names the keys.
    """
    published = _of(model)
    special = () if theirs is None or channels is None else published.special(theirs, channels)
    return _rename(special + published.keys, keys, f"a published {model}")


def convert_trunk(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a published backbone under timm's names, its classifier left out.

    Args:
        state: a ResNet or ViT as torchvision names it, or as the authors' codes do, with ``net.`` or ``cnn.`` and a
            number in place of a ResNet's names.

    Raises:
        ValueError: a key is of neither; the message names the keys.
    """
    names = _rename(_TRUNK, list(state), "a ResNet or ViT of torchvision")
    return {ours: state[theirs] for theirs, ours in names.items() if ours is not None}


def convert(
    model: str, state: Mapping[str, Tensor], theirs: Parts | None = None, channels: int | None = None
) -> dict[str, Tensor]:
    """The authors' ``state`` under our names, dead parameters left out; see :func:`rename`."""
    names = rename(model, list(state), theirs, channels)
    return {ours: state[key] for key, ours in names.items() if ours is not None}


def arguments(model: str, theirs: Parts, channels: int) -> dict[str, Any]:
    """Our keyword arguments (``released=True``) for the authors' constructor arguments ``theirs`` of the two parts.

    Args:
        model: its name.
        theirs: ``change_encoder`` and ``decoder``, each the arguments of that class in the authors' code.
        channels: of the backbone maps; the backbone itself is left out (``backbone="features"``).

    Raises:
        ValueError: the model has no table, or the widths of the parts do not fit together.
        KeyError: an argument is missing.
    """
    return {**_of(model).arguments(theirs, channels), "released": True}


def outputs(model: str, memory: Memory) -> dict[str, Tensor]:
    """Our ``memory`` as the authors' code holds it, under the names that the fixtures give it."""
    return _of(model).memory(memory)


def inside(model: str, name: str) -> tuple[str, Callable[[Any], Tensor]] | None:
    """Where in our model the authors' intermediate tensor ``name`` of a fixture is computed.

    Returns:
        The path of our module, and what makes the tensor, in the authors' layout, of what that module returns;
        ``None``: it is no tensor of ours.
    """
    for pattern, (path, of) in _of(model).inside.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(path), of
    return None


def _rename(table: Table, keys: list[str], what: str) -> dict[str, str | None]:
    """What ``table`` makes of ``keys``, which are said to be of ``what``."""
    ours: dict[str, str | None] = {}
    unknown = []
    for key in keys:
        for pattern, name in table:
            if match := re.fullmatch(pattern, key):
                ours[key] = None if name is None else match.expand(name)
                break
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(f"{len(unknown)} keys are not of {what}: {', '.join(unknown[:5])}")
    return ours


def _of(model: str) -> Published:
    if model not in _PUBLISHED:
        raise ValueError(f"no table of published keys for {model!r}, only for: {', '.join(sorted(_PUBLISHED))}")
    return _PUBLISHED[model]


def _mmodalcc(theirs: Parts, channels: int) -> dict[str, Any]:
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    _twice(decoder["feature_dim"], encoder["d_model"])
    return {
        "vocab": decoder["vocab_size"],
        "backbone": {"name": "features", "channels": channels, "pool": encoder["h"]},
        "dim": encoder["d_model"],
        "layers": encoder["n_layers"],
        "decoder_layers": decoder["n_layers"],
        "heads": encoder["n_head"],
        "decoder_heads": decoder["n_head"],
        "dropout": encoder["dropout"],
    }


def _projection_of_width(theirs: Parts, channels: int) -> Table:
    """PSNet has four projections, each for maps of one width, and uses that which fits."""
    widths = {1024: "projection", 768: "projection2", 512: "projection3", 256: "projection4"}
    if channels not in widths:
        raise ValueError(f"the published code takes maps of {', '.join(map(str, widths))} channels, got {channels}")
    return (
        (rf"encoder_feat\.{widths[channels]}\.(weight|bias)", r"projection.\1"),
        (r"encoder_feat\.projection\d?\..*", None),
    )


def _psnet(theirs: Parts, channels: int) -> dict[str, Any]:
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    scale = theirs.get("scale_aware", {"d_model": 1024, "n_head": 8})  # as their code has it, out of reach
    _twice(decoder["feature_dim"], encoder["d_model"])
    if scale["d_model"] != decoder["feature_dim"]:
        raise ValueError(f"scale-aware width {scale['d_model']} is not the decoder's {decoder['feature_dim']}")
    if encoder["h"] != encoder["w"]:
        raise ValueError(f"the published code takes square maps only, got h={encoder['h']}, w={encoder['w']}")
    if encoder["n_layers"] < 3:
        raise ValueError(f"the published code has at least 3 layers, got n_layers={encoder['n_layers']}")
    return {
        "vocab": decoder["vocab_size"],
        "backbone": {"name": "features", "channels": channels},
        "image_size": encoder["h"],
        "dim": encoder["d_model"],
        "decoder_layers": decoder["n_layers"],
        "heads": encoder["n_head"],
        "decoder_heads": decoder["n_head"],
        "scale_heads": scale["n_head"],
        "dropout": decoder["dropout"],
        "scale_dropout": encoder["dropout"],
    }


def _chg2cap(theirs: Parts, channels: int) -> dict[str, Any]:
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    *feature_size, width = encoder["feature_size"]
    if not channels == width == decoder["encoder_dim"]:
        raise ValueError(
            f"backbone, encoder and decoder must agree on the width of the maps, got channels {channels}, "
            f"feature_size {encoder['feature_size']} and encoder_dim {decoder['encoder_dim']}"
        )
    return {
        "vocab": decoder["vocab_size"],
        "backbone": {"name": "features", "channels": channels},
        "dim": decoder["feature_dim"],
        "layers": encoder["n_layers"],
        "decoder_layers": decoder["n_layers"],
        "heads": encoder["heads"],
        "decoder_heads": decoder["n_head"],
        "dropout": encoder["dropout"],
        "attention_dim": encoder["attention_dim"],
        "hidden_dim": encoder["hidden_dim"],
        "max_words": decoder["max_lengths"],
        "feature_size": feature_size,
    }


def _twice(decoder: int, encoder: int) -> None:
    if decoder != 2 * encoder:
        raise ValueError(f"decoder width {decoder} is not twice the encoder's {encoder}")


def _tokens_first(x: Tensor) -> Tensor:
    """``(B, N, ...)`` as the authors lay it out, ``(N, B, ...)``."""
    return x.transpose(0, 1)


_PUBLISHED = {
    "chg2cap": Published(
        _CHG2CAP,
        _chg2cap,
        lambda memory: {},  # its order is theirs only inside: they leave the grid transposed, we turn it back
        {
            r"inside\.selftrans\.(\d+)\.1": (r"encoder.layers.\1.joint", lambda tokens: tokens),
            r"changed_a": ("encoder", lambda dates: dates[0].mT),
            r"changed_b": ("encoder", lambda dates: dates[1].mT),
            r"inside\.fuse_input": ("fusion.similarity", lambda x: x),
            r"memory": ("fusion", lambda x: _tokens_first(token_grid(x))),
        },
    ),
    "mmodalcc": Published(
        _MMODALCC,
        _mmodalcc,
        lambda memory: {"memory": _tokens_first(memory[0]), "memory_sem": _tokens_first(memory[1])},
    ),
    "psnet": Published(
        _PSNET,
        _psnet,
        lambda memory: {"memory": torch.stack([_tokens_first(scale) for scale in memory], dim=-1)},
        {
            r"inside\.pdp\.([0-2])\.output1": (r"layers.\1", lambda dates: _tokens_first(dates[0])),
            r"inside\.pdp\.([0-2])\.output2": (r"layers.\1", lambda dates: _tokens_first(dates[1])),
            r"inside\.scale_aware\.([0-2])": (r"scales.\1", _tokens_first),
        },
        _projection_of_width,
    ),
}
