"""The authors' names and ours, one table per model; dictionaries in, dictionaries out, no file is opened."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .captioner import Memory

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


_RSICCFORMER: Table = (
    (r"encoder_feat\.w_embedding\.weight", "position.columns"),
    (r"encoder_feat\.h_embedding\.weight", "position.rows"),
    (r"encoder_feat\.embedding_1D\..*", None),
    (r"encoder_feat\.projection\.(weight|bias)", r"projection.\1"),
    (r"encoder_feat\.projection[234]\..*", None),  # unless the maps are of another width, see _projection
    (r"encoder_feat\.transformer\.(\d+)\.attention\.in_proj_(\w+)", r"layers.\1.attention.project.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.attention\.out_proj\.(\w+)", r"layers.\1.attention.out.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.(norm[12])\.(\w+)", r"layers.\1.\2.\3"),
    (r"encoder_feat\.transformer\.(\d+)\.linear1\.(\w+)", r"layers.\1.feed.0.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.linear2\.(\w+)", r"layers.\1.feed.3.\2"),
    (r"encoder_feat\.resblock\.(\d+)\.left\.(\d+)\.(\w+)", r"fusions.\1.left.\2.\3"),
    (r"encoder_feat\.LN\.(\d+)\.(\w+)", r"fusions.\1.norm.\2"),
    (r"decoder\.vocab_embedding\.weight", "words.embedding.weight"),
    (r"decoder\.transformer\.layers\.(\d+)\.self_attn\.in_proj_(\w+)", r"words.layers.\1.self_attention.project.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)", r"words.layers.\1.self_attention.out.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.multihead_attn2\.in_proj_(\w+)", r"words.layers.\1.cross.project.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.multihead_attn2\.out_proj\.(\w+)", r"words.layers.\1.cross.out.\2"),
    (r"decoder\.transformer\.layers\.\d+\.(self_attn2|multihead_attn3?|fc_alpha[123])\..*", None),
    (r"decoder\.transformer\.layers\.(\d+)\.linear1\.(\w+)", r"words.layers.\1.feed.0.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.linear2\.(\w+)", r"words.layers.\1.feed.3.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.(norm[123])\.(\w+)", r"words.layers.\1.\2.\3"),
    (r"decoder\.position_encoding\.pe", None),  # the sinusoid, computed
    (r"decoder\.position_encoding\.embedding_1D\.weight", None),
    (r"decoder\.wdc\.(weight|bias)", r"words.head.\1"),
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
    table = special + published.keys
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
        raise ValueError(f"{len(unknown)} keys are not of a published {model}: {', '.join(unknown[:5])}")
    return ours


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


def _rsiccformer(theirs: Parts, channels: int) -> dict[str, Any]:
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    _twice(decoder["feature_dim"], encoder["d_model"])
    if encoder["h"] != encoder["w"]:
        raise ValueError(f"position tables of h={encoder['h']} rows and w={encoder['w']} columns; ours are square")
    return {
        "vocab": decoder["vocab_size"],
        "backbone": {"name": "features", "channels": channels, "pool": None},
        "image_size": encoder["h"],
        "dim": encoder["d_model"],
        "layers": encoder["n_layers"],
        "decoder_layers": decoder["n_layers"],
        "heads": encoder["n_head"],
        "decoder_heads": decoder["n_head"],
        "dropout": encoder["dropout"],
        "project": _projection(theirs, channels) is not None,
    }


def _projection(theirs: Parts, channels: int) -> str | None:
    """Which of RSICCformer's projections takes maps of this width: four know one each, others go unprojected."""
    widths = {256: "projection4", 512: "projection3", 768: "projection2"}
    return (widths | {theirs["change_encoder"]["feature_dim"]: "projection"}).get(channels)


def _other_projection(theirs: Parts, channels: int) -> Table:
    used = _projection(theirs, channels)
    here = () if used is None else ((rf"encoder_feat\.{used}\.(weight|bias)", r"projection.\1"),)
    return (*here, (r"encoder_feat\.projection\..*", None))


def _twice(decoder: int, encoder: int) -> None:
    if decoder != 2 * encoder:
        raise ValueError(f"decoder width {decoder} is not twice the encoder's {encoder}")


def _tokens_first(x: Tensor) -> Tensor:
    """``(B, N, ...)`` as the authors lay it out, ``(N, B, ...)``."""
    return x.transpose(0, 1)


_PUBLISHED = {
    "mmodalcc": Published(
        _MMODALCC,
        _mmodalcc,
        lambda memory: {"memory": _tokens_first(memory[0]), "memory_sem": _tokens_first(memory[1])},
    ),
    "rsiccformer": Published(
        _RSICCFORMER,
        _rsiccformer,
        lambda memory: {"memory": _tokens_first(memory[0])},
        special=_other_projection,
    ),
}
