"""Chg2Cap, as its authors publish it; the two parts are ``encoder_trans_dict`` and ``decoder_dict``."""

from collections.abc import Mapping
from typing import Any

from ..layers.backbone import token_grid
from .table import Parts, Published, Shapes, Table, layers, shape, tokens_first, word_decoder

KEYS: Table = (
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
    (r"decoder_dict\.transformer\.layers\.\d+\.fc_alpha\d\.\w+", None),
    *word_decoder("decoder_dict", r"transformer\.layers\.(\d+)", "multihead_attn"),
)


def arguments(theirs: Parts, channels: int) -> dict[str, Any]:
    """Ours for theirs."""
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


def infer(shapes: Shapes, heads: Mapping[str, int]) -> Parts:
    """Theirs, of the shapes in a checkpoint."""
    columns, half = shape(shapes, "encoder_trans_dict.h_embedding.weight")
    rows, _ = shape(shapes, "encoder_trans_dict.w_embedding.weight")
    vocab, width = shape(shapes, "decoder_dict.vocab_embedding.weight")
    return {
        "change_encoder": {
            "n_layers": layers(shapes, r"encoder_trans_dict\.selftrans\.(\d+)\."),
            "feature_size": [columns, rows, 2 * half],
            "heads": heads["heads"],
            "attention_dim": shape(shapes, "encoder_trans_dict.selftrans.0.0.att.to_q.weight")[0],
            "hidden_dim": shape(shapes, "encoder_trans_dict.selftrans.0.0.feedforward.net.0.weight")[0],
            "dropout": 0.1,
        },
        "decoder": {
            "encoder_dim": shape(shapes, "decoder_dict.Conv1.weight")[1] // 2,
            "feature_dim": width,
            "vocab_size": vocab,
            "max_lengths": shape(shapes, "decoder_dict.position_encoding.pe")[0],
            "n_head": heads["decoder_heads"],
            "n_layers": layers(shapes, r"decoder_dict\.transformer\.layers\.(\d+)\."),
            "dropout": 0.1,
        },
    }


PUBLISHED = Published(
    KEYS,
    arguments,
    lambda memory: {},  # its order is theirs only inside: they leave the grid transposed, we turn it back
    trunks={"encoder_dict": "backbone.trunks.rgb"},
    maps=lambda shapes: 2 * shape(shapes, "encoder_trans_dict.h_embedding.weight")[1],
    infer=infer,
    heads={"heads": r"encoder_trans_dict\b.*", "decoder_heads": r"decoder_dict\b.*"},
    assumed=("images are normalised by the statistics of LEVIR-CC",),
    inside={
        r"inside\.selftrans\.(\d+)\.1": (r"encoder.layers.\1.joint", lambda tokens: tokens),
        r"changed_a": ("encoder", lambda dates: dates[0].mT),
        r"changed_b": ("encoder", lambda dates: dates[1].mT),
        r"inside\.fuse_input": ("fusion.similarity", lambda x: x),
        r"memory": ("fusion", lambda x: tokens_first(token_grid(x))),
    },
)
