"""Training: encode once and decode five, against one backbone pass per caption; same model, same captions.

Each side runs in a process of its own, so that its peak memory is its own.
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
from changecap.vocabulary import Vocabulary

PAIRS, SIZE, STEPS, THREADS = 16, 64, 8, 2


def measure(once: bool) -> dict[str, float]:
    """Captions/s (median step) and peak memory in MiB of one side."""
    import yaml

    with open("configs/experiment/demo.yaml", encoding="utf-8") as file:
        demo = yaml.safe_load(file)
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    sentences = [captions(draw_scene(draw).facts, draw) for _ in range(PAIRS * STEPS)]
    vocabulary = Vocabulary.build(s for some in sentences for s in some)
    backbone = {k: v for k, v in demo["backbone"].items() if k != "weights"}
    model = zoo.create_model("mmodalcc", vocab=len(vocabulary), image_size=SIZE, backbone=backbone, **demo["model"])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    a, b = torch.rand(2, PAIRS, 3, SIZE, SIZE)
    maps = torch.randint(0, 7, (2, PAIRS, SIZE, SIZE))
    pair = [a, b, *maps] if once else [x.repeat_interleave(5, dim=0) for x in (a, b, *maps)]
    times = []
    for step in range(STEPS):
        ids = [vocabulary.encode(s) for some in sentences[step * PAIRS : (step + 1) * PAIRS] for s in some]
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
    return {"rate": PAIRS * 5 / sorted(times)[STEPS // 2], "peak": peak}


def main() -> None:
    """Print both sides and their ratio."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1] == "once")))
        return
    sides = {}
    for side in ("once", "per_caption"):
        command = [sys.executable, "-m", "benchmarks.training", side]
        sides[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    once, each = sides["once"], sides["per_caption"]
    keep(
        f"the demo's MModalCC, {PAIRS} pairs of {SIZE} px and 5 captions each in a step, {THREADS} threads\n"
        f"{'':28} {'captions/s':>10} {'peak MiB':>9}\n"
        f"{'one encoding per pair':28} {once['rate']:10.1f} {once['peak']:9.0f}\n"
        f"{'one encoding per caption':28} {each['rate']:10.1f} {each['peak']:9.0f}\n"
        f"ratio {once['rate'] / each['rate']:.2f}; the process alone, torch imported, takes most of the memory\n"
        f"measured matrix-product rate: {matmul_rate(THREADS):.0f} GFLOP/s",
        "training",
    )


if __name__ == "__main__":
    main()
