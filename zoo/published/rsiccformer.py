"""RSICCformer, as its authors publish it; the two parts are ``encoder_feat`` and ``decoder``."""

from typing import Any

from .table import (
    Parts,
    Published,
    Table,
    attention,
    infer_shared,
    projected,
    shared_arguments,
    square,
    tokens_first,
    word_decoder,
)

KEYS: Table = (
    (r"encoder_feat\.w_embedding\.weight", "position.columns"),
    (r"encoder_feat\.h_embedding\.weight", "position.rows"),
    (r"encoder_feat\.embedding_1D\..*", None),
    (r"encoder_feat\.projection\.(weight|bias)", r"projection.\1"),
    (r"encoder_feat\.projection[234]\..*", None),  # unless the maps are of another width, see other_projection
    *attention(r"encoder_feat\.transformer\.(\d+)\.attention", r"layers.\1.attention"),
    (r"encoder_feat\.transformer\.(\d+)\.(norm[12])\.(\w+)", r"layers.\1.\2.\3"),
    (r"encoder_feat\.transformer\.(\d+)\.linear1\.(\w+)", r"layers.\1.feed.0.\2"),
    (r"encoder_feat\.transformer\.(\d+)\.linear2\.(\w+)", r"layers.\1.feed.3.\2"),
    (r"encoder_feat\.resblock\.(\d+)\.left\.(\d+)\.(\w+)", r"fusions.\1.left.\2.\3"),
    (r"encoder_feat\.LN\.(\d+)\.(\w+)", r"fusions.\1.norm.\2"),
    (r"decoder\.transformer\.layers\.\d+\.(self_attn2|multihead_attn3?|fc_alpha[123])\..*", None),
    *word_decoder("decoder", r"transformer\.layers\.(\d+)", "multihead_attn2"),
)


def arguments(theirs: Parts, channels: int) -> dict[str, Any]:
    """Ours for theirs."""
    return shared_arguments(theirs) | {
        "backbone": {"name": "features", "channels": channels, "pool": None},
        "image_size": square(theirs["change_encoder"]),
        "project": projection(theirs, channels) is not None,
    }


def projection(theirs: Parts, channels: int) -> str | None:
    """Which of RSICCformer's projections takes maps of this width: four know one each, others go unprojected."""
    widths = {256: "projection4", 512: "projection3", 768: "projection2"}
    return (widths | {theirs["change_encoder"]["feature_dim"]: "projection"}).get(channels)


def other_projection(theirs: Parts, channels: int) -> Table:
    """Which of the four is used where the maps are of another width, and that the published one then is not."""
    used = projection(theirs, channels)
    here = () if used is None else ((rf"encoder_feat\.{used}\.(weight|bias)", r"projection.\1"),)
    return (*here, (r"encoder_feat\.projection\..*", None))


PUBLISHED = Published(
    KEYS,
    arguments,
    lambda memory: {"memory": tokens_first(memory[0])},
    trunks={"encoder_image": "backbone.trunks.rgb"},
    maps=projected,
    infer=infer_shared,
    heads={"heads": r"encoder_feat\b.*", "decoder_heads": r"decoder\b.*"},
    backbone={"normalise": "imagenet"},
    special=other_projection,
)
