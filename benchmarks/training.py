"""Training: encode once and decode five, against one backbone pass per caption; same model, same captions.

Twice: the demo's small model, whose decoder takes most of a step, and MModalCC as published (ResNet-101, 256 pixels,
width 512). Each side runs in a process of its own, so that its peak memory is its own.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import zoo
from benchmarks.report import keep, matmul_rate
from changecap.data.synthetic.grammar import captions
from changecap.data.synthetic.scene import draw_scene
from changecap.language.vocabulary import Vocabulary

THREADS = 2
# name: pairs in a step, side of the images in pixels, steps
SIZES = {"demo": (16, 64, 8), "published": (1, 256, 3)}


def measure(name: str, once: bool) -> dict[str, float]:
    """Captions/s (median step) and peak memory in MiB of one side."""
    import yaml

    pairs, size, steps = SIZES[name]
    arguments = {}
    if name == "demo":
        with open("configs/experiment/demo.yaml", encoding="utf-8") as file:
            demo = yaml.safe_load(file)
        arguments = {"backbone": demo["backbone"], **demo["model"]}
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    sentences = [captions(draw_scene(draw).facts, draw) for _ in range(pairs * steps)]
    vocabulary = Vocabulary.build(s for some in sentences for s in some)
    model = zoo.create_model("mmodalcc", vocab=len(vocabulary), image_size=size, **arguments)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    a, b = torch.rand(2, pairs, 3, size, size)
    maps = torch.randint(0, 7, (2, pairs, size, size))
    pair = [a, b, *maps] if once else [x.repeat_interleave(5, dim=0) for x in (a, b, *maps)]
    times = []
    for step in range(steps):
        ids = [vocabulary.encode(s) for some in sentences[step * pairs : (step + 1) * pairs] for s in some]
        words = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
        for row, caption in zip(words, ids, strict=True):
            row[: len(caption)] = torch.tensor(caption)
        start = time.perf_counter()
        logits = model(words[:, :-1], *pair)
        loss = F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": pairs * 5 / sorted(times)[steps // 2], "peak": peak}


def main() -> None:
    """Print both sides and their ratio, at both sizes."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], sys.argv[2] == "once")))
        return
    lines = [f"MModalCC with maps, 5 captions a pair, {THREADS} threads", f"{'':42} {'captions/s':>10} {'peak MiB':>9}"]
    for name, (pairs, size, _) in SIZES.items():
        sides = {}
        for side in ("once", "per_caption"):
            command = [sys.executable, "-m", "benchmarks.training", name, side]
            sides[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        once, each = sides["once"], sides["per_caption"]
        title = f"{name}, {pairs} pairs of {size} px in a step:"
        lines += [
            f"{title:42}",
            f"{'  one encoding per pair':42} {once['rate']:10.2f} {once['peak']:9.0f}",
            f"{'  one encoding per caption':42} {each['rate']:10.2f} {each['peak']:9.0f}",
            f"{'  ratio':42} {once['rate'] / each['rate']:10.2f} {each['peak'] / once['peak']:9.2f}",
        ]
    lines.append(f"measured matrix-product rate: {matmul_rate(THREADS):.0f} GFLOP/s")
    keep("\n".join(lines), "training")


if __name__ == "__main__":
    main()
