"""Robust against plain training: same captioner, same data, same steps, three seeds; corruptions held out stand apart.

``python -m benchmarks.robust [smoke]``: trains ``experiment=MODEL_robust``, and the same without its augmentations,
into ``runs/benchmark``, then asks ``changecap.ablate`` what they survive, into ``runs/robust``; a call that was
interrupted goes on where it stopped. ``smoke`` trains for 60 steps and asks about a few pairs, to see that it works.
"""

import statistics
import sys
import textwrap

import torch

import changecap
from benchmarks.demo import SEEDS, card, run_all
from benchmarks.report import keep
from benchmarks.robustness import ROOT, table
from preprocess.corrupt import SEVERITIES

MODELS = ("mmodalcc", "rsiccformer")
WAYS: dict[str, tuple[str, ...]] = {"plain": ("preprocess.steps=[]",), "robust": ()}  # beside experiment=MODEL_robust


def main() -> None:
    """Train what is not trained, fill the grid, print what it comes to."""
    torch.set_num_threads(1)
    smoke = sys.argv[1:] == ["smoke"]
    seeds, pairs, severities = ((0,), 24, (3,)) if smoke else (SEEDS, 200, SEVERITIES)
    more = ("steps=60", "validate_every=60") if smoke else ()
    prefix = "robust-smoke" if smoke else "robust"
    captioners, seconds = {}, []
    for model in MODELS:
        names = {way: f"{prefix}-{model}-{way}" for way in WAYS}
        asked = {names[way]: (*more, *settings) for way, settings in WAYS.items()}
        done = run_all(asked, ("baselines=false", "report=false"), seeds, f"{model}_robust")
        for way, name in names.items():
            captioners[f"{model} {way}"] = [card(name, seed).parent.parent for seed in seeds]
            took = statistics.mean(seconds for _, seconds in done[name])
            seconds.append(f"{model} {way}: {took:.0f} processor seconds to train")
    data = {"name": "second_cc", "root": ROOT}
    made = changecap.ablate(
        captioners, data, f"runs/{prefix}", severities=severities, variants=("none",), pairs=pairs, clean_pairs=pairs
    )
    lines = [
        f"experiment=MODEL_robust {' '.join(more)}: {', '.join(map(str, seeds))} are the seeds",
        *seconds,
        "",
        *(line for said in (*made.said, *made.notes) for line in textwrap.wrap(said, 118, subsequent_indent="  ")),
        "",
        *table(made),
        "",
        f"report: {made.page}",
    ]
    if smoke:
        print("\n".join(lines))
    else:
        keep("\n".join(lines), "robust")


if __name__ == "__main__":
    main()
