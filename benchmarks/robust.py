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
from changecap.robustness import Ablation
from changecap.robustness.grid import HELD_OUT
from preprocess.corruption import SEVERITIES

MODELS = ("mmodalcc", "rsiccformer")
WAYS: dict[str, tuple[str, ...]] = {"plain": ("preprocess.steps=[]",), "robust": ()}  # beside experiment=MODEL_robust


def absolute(made: Ablation) -> list[str]:
    """The scores that the relative ones are shares of: what robustness costs where nothing is wrong."""
    lines = [f"{'':20}{'S*m, clean':>28}{'core':>8}{'held out':>10}{'CIDEr-D of changed, clean':>30}"]
    for name in dict.fromkeys(row["captioner"] for row in made.rows):
        rows = [row for row in made.rows if row["captioner"] == name]
        (clean,) = (row for row in rows if row["corruption"] == "clean")
        held_out = statistics.mean(row["sm4"] for row in rows if row["group"] == HELD_OUT)
        core = statistics.mean(row["sm4"] for row in rows if row["group"] not in ("clean", HELD_OUT))
        sm4, cider = (
            f"{clean[k]:.3f} [{clean[f'{k}_low']:.3f}, {clean[f'{k}_high']:.3f}] ±{clean[f'{k}_sd']:.3f}"
            for k in ("sm4", "cider_change")
        )
        lines.append(f"{name:20}{sm4:>28}{core:8.3f}{held_out:10.3f}{cider:>30}")
    return lines


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
        f"{' '.join(('experiment=MODEL_robust', *more))}: {', '.join(map(str, seeds))} are the seeds",
        *seconds,
        "",
        *(line for said in (*made.said, *made.notes) for line in textwrap.wrap(said, 118, subsequent_indent="  ")),
        "",
        *table(made),
        "",
        *absolute(made),
        "",
        f"report: {made.page}",
    ]
    if smoke:
        print("\n".join(lines))
    else:
        keep("\n".join(lines), "robust")


if __name__ == "__main__":
    main()
