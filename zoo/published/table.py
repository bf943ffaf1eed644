"""What a table of the authors' names is, and the parts that the tables of several models share."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..captioner import Memory

Parts = Mapping[str, Mapping[str, Any]]  # constructor arguments of the authors' two parts
Shapes = Mapping[str, tuple[int, ...]]  # the authors' keys and the shapes of their weights
Table = tuple[tuple[str, str | None], ...]  # pattern of the authors' key -> our key; None: dead, never used by them


@dataclass(frozen=True)
class Published:
    """What is to be known of one model's published code: names of its weights, arguments, and tensors.

    ``inside`` says where intermediate tensors are: pattern of the authors' name -> path of our module, and what makes
    the tensor of what that module returns. ``special`` gives entries that go before ``keys`` where the authors'
    arguments are not the published ones. ``trunks`` holds, for each of their image encoders, the path of our module,
    ``maps`` the width of the maps for which the other parts were made. ``infer`` says the authors' arguments of a
    checkpoint by the shapes in it and its head counts; those are found at the modules ``heads``, ours -> pattern of
    their path. ``backbone`` holds arguments of our backbone that the weights depend on, ``assumed`` what no file says.
    """

    keys: Table
    arguments: Callable[[Parts, int], dict[str, Any]]
    memory: Callable[[Memory], dict[str, Tensor]]
    trunks: Mapping[str, str]
    maps: Callable[[Shapes], int]
    infer: Callable[[Shapes, Mapping[str, int]], Parts]
    heads: Mapping[str, str]
    backbone: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    inside: Mapping[str, tuple[str, Callable[[Any], Tensor]]] = field(default_factory=dict)
    special: Callable[[Parts, int], Table] = lambda theirs, channels: ()

    @property
    def parts(self) -> set[str]:
        """Names of the parts that the keys begin with; the image encoders are in ``trunks``."""
        return {pattern.split("\\")[0] for pattern, _ in self.keys}


def renamed(table: Table, keys: list[str], what: str) -> dict[str, str | None]:
    """What ``table`` makes of ``keys``, which should be of ``what``.

    Raises:
        ValueError: keys are not in the table; the message names them.
    """
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


def shape(shapes: Shapes, key: str) -> tuple[int, ...]:
    """The shape of the authors' weight ``key``.

    Raises:
        ValueError: there is none of that name.
    """
    if key not in shapes:
        raise ValueError(f"it has no {key}")
    return shapes[key]


def layers(shapes: Shapes, pattern: str) -> int:
    """How many layers there are, whose numbers are the first group of ``pattern`` at the beginning of the keys."""
    return len({match[1] for key in shapes if (match := re.match(pattern, key))})


def words(shapes: Shapes, layer: str, heads: int) -> dict[str, int | float]:
    """The authors' arguments of the word decoder that :func:`word_decoder` is the table of.

    Args:
        shapes: of all weights of the checkpoint.
        layer: pattern of a layer's keys behind ``decoder.``, its number in parentheses.
        heads: of its attentions.
    """
    vocab, width = shape(shapes, "decoder.vocab_embedding.weight")
    count = layers(shapes, rf"decoder\.{layer}\.")
    return {"vocab_size": vocab, "feature_dim": width, "n_head": heads, "n_layers": count, "dropout": 0.5}


def grid(shapes: Shapes) -> dict[str, int]:
    """The authors' arguments of the position tables of ``encoder_feat``."""
    (w, half), (h, _) = (shape(shapes, f"encoder_feat.{side}_embedding.weight") for side in "wh")
    return {"h": h, "w": w, "d_model": 2 * half}


def attention(theirs: str, ours: str) -> Table:
    """Rows for an ``nn.MultiheadAttention`` that they and we have under these names, its layer numbered in theirs."""
    return (
        (rf"{theirs}\.in_proj_(\w+)", rf"{ours}.project.\2"),
        (rf"{theirs}\.out_proj\.(\w+)", rf"{ours}.out.\2"),
    )


def word_decoder(part: str, layer: str, cross: str, ours: str = "cross") -> Table:
    """Rows for the word decoder that all of the authors took from one another.

    Args:
        part: prefix of its keys.
        layer: pattern of a layer's keys behind it, its number in parentheses.
        cross: what they call the attention to the memory that is used.
        ours: what we call it.
    """
    theirs, mine = rf"{part}\.{layer}", r"words.layers.\1"
    return (
        (rf"{part}\.vocab_embedding\.weight", "words.embedding.weight"),
        *attention(rf"{theirs}\.self_attn", rf"{mine}.self_attention"),
        *attention(rf"{theirs}\.{cross}", rf"{mine}.{ours}"),
        (rf"{theirs}\.linear1\.(\w+)", rf"{mine}.feed.0.\2"),
        (rf"{theirs}\.linear2\.(\w+)", rf"{mine}.feed.3.\2"),
        (rf"{theirs}\.norm([123])\.(\w+)", rf"{mine}.norm\2.\3"),
        (rf"{part}\.position_encoding\.(pe|embedding_1D\.weight)", None),  # pe is the sinusoid, computed
        (rf"{part}\.wdc\.(weight|bias)", r"words.head.\1"),
    )


def shared_arguments(theirs: Parts) -> dict[str, Any]:
    """Ours for what RSICCformer's authors call as those do who took up their code.

    Raises:
        ValueError: the decoder is not as wide as both dates together.
    """
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    twice(decoder["feature_dim"], encoder["d_model"])
    return {
        "vocab": decoder["vocab_size"],
        "dim": encoder["d_model"],
        "layers": encoder["n_layers"],
        "decoder_layers": decoder["n_layers"],
        "heads": encoder["n_head"],
        "decoder_heads": decoder["n_head"],
        "dropout": encoder["dropout"],
    }


def infer_shared(shapes: Shapes, heads: Mapping[str, int]) -> Parts:
    """Theirs, of the shapes in a checkpoint, for :func:`shared_arguments`."""
    return {
        "change_encoder": {
            **grid(shapes),
            "feature_dim": projected(shapes),
            "n_head": heads["heads"],
            "n_layers": layers(shapes, r"encoder_feat\.transformer\.(\d+)\."),
            "dropout": 0.5,
        },
        "decoder": words(shapes, r"transformer\.layers\.(\d+)", heads["decoder_heads"]),
    }


def projected(shapes: Shapes) -> int:
    """Width of the maps that the first projection takes."""
    return shape(shapes, "encoder_feat.projection.weight")[1]


def twice(decoder: int, encoder: int) -> None:
    """Refuse a decoder that is not as wide as the two dates together.

    Raises:
        ValueError: it is not.
    """
    if decoder != 2 * encoder:
        raise ValueError(f"decoder width {decoder} is not twice the encoder's {encoder}")


def square(encoder: Mapping[str, Any]) -> int:
    """The side of the grid that ``encoder`` was built for.

    Raises:
        ValueError: it is not square, as the published code needs it.
    """
    if encoder["h"] != encoder["w"]:
        raise ValueError(f"the published code takes square maps only, got h={encoder['h']}, w={encoder['w']}")
    return int(encoder["h"])


def tokens_first(x: Tensor) -> Tensor:
    """``(B, N, ...)`` as the authors lay it out, ``(N, B, ...)``."""
    return x.transpose(0, 1)
