"""MModalCC, as its authors publish it; the two parts are ``encoder_feat`` and ``decoder``."""

from collections.abc import Mapping
from typing import Any

from .table import (
    Parts,
    Published,
    Shapes,
    Table,
    attention,
    grid,
    layers,
    shape,
    tokens_first,
    twice,
    word_decoder,
    words,
)

KEYS: Table = (
    (r"encoder_feat\.w_embedding\.weight", "position.columns"),
    (r"encoder_feat\.h_embedding\.weight", "position.rows"),
    (r"encoder_feat\.embedding_1D\..*", None),
    (r"encoder_feat\.projection\.(weight|bias)", r"projections.rgb.\1"),
    (r"encoder_feat\.projection2\.(weight|bias)", r"projections.sem.\1"),
    *attention(r"encoder_feat\.transformer\.(\d+)\.attention2", r"layers.\1.blocks.0.attention"),
    (r"encoder_feat\.transformer\.(\d+)\.norm3\.(\w+)", r"layers.\1.blocks.0.norm1.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.norm4\.(\w+)", r"layers.\1.blocks.0.norm2.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.linear3\.(\w+)", r"layers.\1.blocks.0.feed.0.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.linear4\.(\w+)", r"layers.\1.blocks.0.feed.3.\2"),
    (r"encoder_feat\.transformer\.\d+\.(attention|norm1|norm2|linear1|linear2)\..*", None),
    (r"encoder_feat\.resblock\.(\d+)\.left\.(\d+)\.(\w+)", r"fusions.0.\1.left.\2.\3"),
    (r"encoder_feat\.LN\.(\d+)\.(\w+)", r"fusions.0.\1.norm.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.gate\.0\.(\w+)", r"words.layers.\1.gate_rgb.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.gate2\.0\.(\w+)", r"words.layers.\1.gate_sem.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.gate3\.0\.(\w+)", r"words.layers.\1.gate_words.\2"),
    (r"decoder\.transformer\.layers\.\d+\.(multihead_attn2|norm2)\..*", None),
    (r"decoder\.transformer\.layers\.(\d+)\.norm3\.(\w+)", r"words.layers.\1.norm2.\2"),
    (r"decoder\.transformer\.layers\.(\d+)\.norm4\.(\w+)", r"words.layers.\1.norm3.\2"),
    *word_decoder("decoder", r"transformer\.layers\.(\d+)", "multihead_attn", "cross.0"),
)


def arguments(theirs: Parts, channels: int) -> dict[str, Any]:
    """Ours for theirs."""
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    twice(decoder["feature_dim"], encoder["d_model"])
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


def maps(shapes: Shapes) -> int:
    """Width of the maps that are projected."""
    return shape(shapes, "encoder_feat.projection.weight")[1]


def infer(shapes: Shapes, heads: Mapping[str, int]) -> Parts:
    """Theirs, of the shapes in a checkpoint."""
    return {
        "change_encoder": {
            **grid(shapes),
            "feature_dim": maps(shapes),
            "n_head": heads["heads"],
            "n_layers": layers(shapes, r"encoder_feat\.transformer\.(\d+)\."),
            "dropout": 0.5,
        },
        "decoder": words(shapes, r"transformer\.layers\.(\d+)", heads["decoder_heads"]),
    }


PUBLISHED = Published(
    KEYS,
    arguments,
    lambda memory: {"memory": tokens_first(memory[0]), "memory_sem": tokens_first(memory[1])},
    trunks={"encoder_image": "backbones.rgb", "encoder_image2": "backbones.sem"},
    maps=maps,
    infer=infer,
    heads={"heads": r"encoder_feat\b.*", "decoder_heads": r"decoder\b.*"},
)
