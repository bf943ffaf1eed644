"""PSNet, as its authors publish it; the two parts are ``encoder_feat`` and ``decoder``."""

from collections.abc import Mapping
from typing import Any

import torch

from .table import (
    Parts,
    Published,
    Shapes,
    Table,
    attention,
    grid,
    layers,
    shape,
    square,
    tokens_first,
    twice,
    word_decoder,
    words,
)

# of the layers made beyond the third nothing reaches the decoder
KEYS: Table = (
    (r"encoder_feat\.w_embedding\.weight", "position.columns"),
    (r"encoder_feat\.h_embedding\.weight", "position.rows"),
    (r"encoder_feat\.(embedding_1D|transformer_cross\.\d+)\..*", None),
    (r"encoder_feat\.projection2\.(weight|bias)", r"projection.\1"),  # of a ViT-B; see projection_of_width
    (r"encoder_feat\.projection[34]?\..*", None),
    *attention(r"encoder_feat\.transformer_concatlength\.([0-2])\.self_attn", r"layers.\1.attention"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.linear1\.(\w+)", r"layers.\1.feed.0.\2"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.linear2\.(\w+)", r"layers.\1.feed.3.\2"),
    (r"encoder_feat\.transformer_concatlength\.([0-2])\.norm([12])\.(\w+)", r"layers.\1.norm\2.\3"),
    (r"encoder_feat\.linear_list\.([0-2])\.(\w+)", r"layers.\1.project.\2"),
    *attention(r"encoder_feat\.Scale_aware_list\.([0-2])\.attention_1", r"scales.\1.attention"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.norm([12])\.(\w+)", r"scales.\1.norm\2.\3"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.linear1\.(\w+)", r"scales.\1.feed.0.\2"),
    (r"encoder_feat\.Scale_aware_list\.([0-2])\.linear2\.(\w+)", r"scales.\1.feed.3.\2"),
    (r"encoder_feat\.Scale_aware_list\.\d+\.(attention_2|norm3|linear3|linear4)\..*", None),
    (r"encoder_feat\.(transformer_concatlength|linear_list|Scale_aware_list)\.(?![0-2]\.)\d+\..*", None),
    (r"decoder\.transformer\.\d+\.(self_attn2|multihead_attn3?|norm[45]|fc|fc_alpha\d|init_[hc])\..*", None),
    (r"decoder\.transformer\.\d+\.(lstm|decode_step)\..*", None),
    *word_decoder("decoder", r"transformer\.(\d+)", "multihead_attn2"),
)


# PSNet has four projections, each for maps of one width, and uses that which fits
PROJECTIONS = {1024: "projection", 768: "projection2", 512: "projection3", 256: "projection4"}


def projection_of_width(theirs: Parts, channels: int) -> Table:
    """Which of the four is used."""
    if channels not in PROJECTIONS:
        known = ", ".join(map(str, PROJECTIONS))
        raise ValueError(f"the published code takes maps of {known} channels, got {channels}")
    return (
        (rf"encoder_feat\.{PROJECTIONS[channels]}\.(weight|bias)", r"projection.\1"),
        (r"encoder_feat\.projection\d?\..*", None),
    )


def maps(shapes: Shapes) -> int:
    """Width of the maps a file without image encoder takes: that of its only projection, else a published ViT's.

    The authors' files hold all four projections, trained or not, and nothing but the image encoder tells which was.
    """
    widths = [width for width, name in PROJECTIONS.items() if f"encoder_feat.{name}.weight" in shapes]
    return widths[0] if len(widths) == 1 else 768


def arguments(theirs: Parts, channels: int) -> dict[str, Any]:
    """Ours for theirs."""
    encoder, decoder = theirs["change_encoder"], theirs["decoder"]
    scale = theirs.get("scale_aware", {"d_model": 1024, "n_head": 8})  # as their code has it, out of reach
    twice(decoder["feature_dim"], encoder["d_model"])
    if scale["d_model"] != decoder["feature_dim"]:
        raise ValueError(f"scale-aware width {scale['d_model']} is not the decoder's {decoder['feature_dim']}")
    if encoder["n_layers"] < 3:
        raise ValueError(f"the published code has at least 3 layers, got n_layers={encoder['n_layers']}")
    return {
        "vocab": decoder["vocab_size"],
        "backbone": {"name": "features", "channels": channels},
        "image_size": square(encoder),
        "dim": encoder["d_model"],
        "decoder_layers": decoder["n_layers"],
        "heads": encoder["n_head"],
        "decoder_heads": decoder["n_head"],
        "scale_heads": scale["n_head"],
        "dropout": decoder["dropout"],
        "scale_dropout": encoder["dropout"],
    }


def infer(shapes: Shapes, heads: Mapping[str, int]) -> Parts:
    """Theirs, of the shapes in a checkpoint."""
    return {
        "change_encoder": {
            **grid(shapes),
            "feature_dim": 1024,
            "n_head": heads["heads"],
            "n_layers": layers(shapes, r"encoder_feat\.transformer_concatlength\.(\d+)\."),
            "dropout": 0.8,
        },
        "scale_aware": {
            "d_model": shape(shapes, "encoder_feat.Scale_aware_list.0.norm1.weight")[0],
            "n_head": heads["scale_heads"],
        },
        "decoder": words(shapes, r"transformer\.(\d+)", heads["decoder_heads"]),
    }


PUBLISHED = Published(
    KEYS,
    arguments,
    lambda memory: {"memory": torch.stack([tokens_first(scale) for scale in memory], dim=-1)},
    trunks={"encoder_image": "backbone.trunks.rgb"},
    maps=maps,
    infer=infer,
    heads={
        "heads": r"encoder_feat(?!\.Scale_aware_list)\b.*",
        "scale_heads": r"encoder_feat\.Scale_aware_list\b.*",
        "decoder_heads": r"decoder\b.*",
    },
    assumed=("a vision transformer sees images resized without smoothing, as torchvision did before 0.17",),
    inside={
        r"inside\.pdp\.([0-2])\.output1": (r"layers.\1", lambda dates: tokens_first(dates[0])),
        r"inside\.pdp\.([0-2])\.output2": (r"layers.\1", lambda dates: tokens_first(dates[1])),
        r"inside\.scale_aware\.([0-2])": (r"scales.\1", tokens_first),
    },
    special=projection_of_width,
)
