"""MModalCC, as its authors publish it; the two parts are ``encoder_feat`` and ``decoder``."""

from typing import Any

from .table import (
    Parts,
    Published,
    Table,
    attention,
    infer_shared,
    projected,
    shared_arguments,
    tokens_first,
    word_decoder,
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
    pool = theirs["change_encoder"]["h"]
    return shared_arguments(theirs) | {"backbone": {"name": "features", "channels": channels, "pool": pool}}


PUBLISHED = Published(
    KEYS,
    arguments,
    lambda memory: {"memory": tokens_first(memory[0]), "memory_sem": tokens_first(memory[1])},
    trunks={"encoder_image": "backbones.rgb", "encoder_image2": "backbones.sem"},
    maps=projected,
    infer=infer_shared,
    heads={"heads": r"encoder_feat\b.*", "decoder_heads": r"decoder\b.*"},
)
