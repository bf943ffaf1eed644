"""Seconds and memory of importing a published checkpoint of full size: a Chg2Cap of 1.3 GB, of random numbers."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torchvision.models import resnet101

from benchmarks.report import keep

C, FEATURES, HIDDEN, WORDS, LENGTH = 2048, 2048, 512, 500, 41  # widths, words and longest sentence as published


def linear(name, inside, outside, bias=True):
    """Shapes of a linear layer."""
    return {f"{name}.weight": (outside, inside)} | ({f"{name}.bias": (outside,)} if bias else {})


def norm(name, width):
    """Shapes of a LayerNorm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder():
    """Shapes of the authors' change encoder."""
    shapes = {"h_embedding.weight": (16, C // 2), "w_embedding.weight": (16, C // 2)}
    for layer in range(3):
        for i, width in enumerate((C, 2 * C)):
            name = f"selftrans.{layer}.{i}"
            for part in ("to_q", "to_k", "to_v"):
                shapes |= linear(f"{name}.att.{part}", width, C, bias=False)
            shapes |= linear(f"{name}.att.to_out.0", C, width)
            shapes |= linear(f"{name}.feedforward.net.0", width, HIDDEN) | linear(
                f"{name}.feedforward.net.3", HIDDEN, width
            )
            shapes |= norm(f"{name}.norm1", width) | norm(f"{name}.norm2", width)
    return shapes


def decoder():
    """Shapes of the authors' decoder."""
    half, name = FEATURES // 2, "transformer.layers.0"
    shapes = {"Conv1.weight": (FEATURES, 2 * C, 1, 1), "Conv1.bias": (FEATURES,)}
    for i, (outside, inside, side) in {0: (half, FEATURES, 1), 3: (half, half, 3), 6: (FEATURES, half, 1)}.items():
        shapes |= {f"LN.left.{i}.weight": (outside, inside, side, side), f"LN.left.{i}.bias": (outside,)}
        shapes |= norm(f"LN.left.{i + 1}", outside) | {f"LN.left.{i + 1}.num_batches_tracked": ()}
        shapes |= {f"LN.left.{i + 1}.running_{kind}": (outside,) for kind in ("mean", "var")}
    shapes |= {"vocab_embedding.weight": (WORDS, FEATURES)} | linear("wdc", FEATURES, WORDS)
    for part in ("self_attn", "multihead_attn"):
        shapes |= {
            f"{name}.{part}.in_proj_weight": (3 * FEATURES, FEATURES),
            f"{name}.{part}.in_proj_bias": (3 * FEATURES,),
        }
        shapes |= linear(f"{name}.{part}.out_proj", FEATURES, FEATURES)
    shapes |= linear(f"{name}.linear1", FEATURES, 4 * FEATURES) | linear(f"{name}.linear2", 4 * FEATURES, FEATURES)
    for i in (1, 2, 3):
        shapes |= norm(f"{name}.norm{i}", FEATURES) | linear(f"{name}.fc_alpha{i}", 2 * FEATURES, FEATURES)
    return shapes | {
        "position_encoding.pe": (LENGTH, 1, FEATURES),
        "position_encoding.embedding_1D.weight": (52, FEATURES),
    }


def tensors(shapes):
    """Small random numbers of these ``shapes``."""
    return {
        name: 0.02 * torch.rand(shape) if shape else torch.zeros((), dtype=torch.int64)
        for name, shape in shapes.items()
    }


def write(folder):
    """The checkpoint and its map of words in ``folder``."""
    cnn = nn.ModuleDict({"cnn": nn.Sequential(*list(resnet101().children())[:-2])})
    parts = {"encoder_trans_dict": tensors(encoder()), "decoder_dict": tensors(decoder())}
    torch.save({"encoder_dict": cnn.state_dict(), **parts}, folder / "theirs.pth")
    words = ["<NULL>", "<UNK>", "<START>", "<END>", *(f"w{i}" for i in range(4, WORDS))]
    (folder / "words.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))


PROGRAM = """
import sys
from changecap.cli import main
status = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # since this program began
print(peak.split()[1], file=sys.stderr)
sys.exit(status)
"""


def main():
    """Write, import in a process of its own, and print."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        call = ["import", "model=chg2cap", f"checkpoint={folder / 'theirs.pth'}", f"vocabulary={folder / 'words.json'}"]
        start = time.perf_counter()
        command = [sys.executable, "-c", PROGRAM, *call, f"out={folder / 'out'}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size, peak = (folder / "theirs.pth").stat().st_size, int(done.stderr.split()[-1]) * 1024
        cpu = used.ru_utime + used.ru_stime
        keep(
            f"{'file, GB':>12} {'seconds':>12} {'CPU seconds':>12} {'peak, GB':>12} {'peak / file':>12}\n"
            f"{size / 1e9:12.2f} {seconds:12.1f} {cpu:12.1f} {peak / 1e9:12.2f} {peak / size:12.2f}",
            "importing",
        )


if __name__ == "__main__":
    main()
