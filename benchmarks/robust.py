"""Robust against plain training: same captioner, same data, same steps, three seeds; corruptions held out stand apart.

``python -m benchmarks.robust [smoke]``: runs go to ``runs/benchmark``, and what each captioner says in each cell of the
grid into the folder of its run, so that a call that was interrupted goes on where it stopped. Simulated test pairs are
rendered at 256 pixels, corrupted, and brought to the captioner's size last. ``smoke`` trains for 60 steps and asks
about a few pairs, to see that it works.
"""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import changecap
from benchmarks.demo import SEEDS, card, run_all
from benchmarks.report import keep
from changecap import data
from changecap.data.example import Example
from changecap.data.synthetic import render_pair
from changecap.flag import says_no_change
from changecap.metrics import score, write_whole
from preprocess import Pair, corrupt
from preprocess.corrupt import CORRUPTIONS, GROUPS, SEVERITIES

ROOT = Path("data/synth")
SIZE, BATCH = 256, 50
MODELS = ("mmodalcc", "rsiccformer")
WAYS: dict[str, tuple[str, ...]] = {"plain": ("preprocess.steps=[]",), "robust": ()}  # beside experiment=MODEL_robust
CLEAN = ("clean", 0)
FIGURES = ("CIDEr change", "false alarms", "misses")

Cell = tuple[str, int]


def rendered(examples: Sequence[Example]) -> Pair:
    """Images of simulated pairs; each is called by its number in the simulation."""
    seed = json.loads((ROOT / "SYNTH.json").read_text())["seed"]
    images = [render_pair(seed, int(Path(e.id).stem), SIZE)[:2] for e in examples]
    a, b = (torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in zip(*images, strict=True))
    return Pair(a, b)


def speak(runs: Sequence[Path], examples: Sequence[Example], cells: Sequence[Cell]) -> None:
    """Write what the captioners of ``runs`` say in each cell of the grid, where it is not there yet."""
    wanted = {cell: [run for run in runs if not said(run, cell, len(examples)).exists()] for cell in cells}
    wanted = {cell: missing for cell, missing in wanted.items() if missing}
    captioners = {run: changecap.load(run) for missing in wanted.values() for run in missing}
    pair, names = rendered(examples) if wanted else None, [e.id for e in examples]
    for cell, missing in tqdm(wanted.items(), "cells", file=sys.stderr):
        answers: dict[Path, dict[str, str]] = {run: {} for run in missing}
        for first in range(0, len(names), BATCH):
            some = slice(first, first + BATCH)
            there = Pair(pair.a[some], pair.b[some])
            there = there if cell == CLEAN else corrupt(there, *cell, names[some], "synth")
            for run in missing:
                found = captioners[run].caption(there.resize(captioners[run].size))
                answers[run] |= {name: caption.text for name, caption in zip(names[some], found, strict=True)}
        for run, sentences in answers.items():
            said(run, cell, len(examples)).parent.mkdir(exist_ok=True)
            write_whole(said(run, cell, len(examples)), json.dumps(sentences))


def said(run: Path, cell: Cell, pairs: int) -> Path:
    """The file of what the captioner of ``run`` says in a cell; at another level it is another file."""
    name, severity = cell
    level = "" if cell == CLEAN else f"-{CORRUPTIONS[name].levels[severity - 1]:g}"
    return run / "robust" / f"{name}{level}-{pairs}.json"


def figures(sentences: Mapping[str, str], examples: Sequence[Example], documents: Mapping) -> tuple[float, ...]:
    """The :data:`FIGURES` of one cell; document frequencies are those of all ``documents``."""
    changed = {e.id: bool(e.changed) for e in examples}
    scored = score({e.id: e.captions for e in examples}, sentences, changed, documents=documents, others=())
    claims = {True: [], False: []}
    for name, sentence in sentences.items():
        claims[changed[name]].append(not says_no_change(sentence))
    cider = scored["subsets"]["change"]["CIDEr_full_df"]
    return cider, statistics.mean(claims[False]), 1 - statistics.mean(claims[True])


def row(label: str, by_seed: Sequence[tuple[float, ...]]) -> str:
    """Mean over the seeds, and their standard deviation where there are several."""
    shown = ""
    for values in zip(*by_seed, strict=True):
        spread = f" ±{statistics.stdev(values):5.3f}" if len(values) > 1 else " " * 7
        shown += f"{statistics.mean(values):9.3f}{spread}"
    return f"{label:32}{shown}"


def main() -> None:
    """Train what is not trained, ask what was not asked, print a table per captioner."""
    torch.set_num_threads(1)
    smoke = sys.argv[1:] == ["smoke"]
    seeds, pairs, severities = ((0,), 24, (3,)) if smoke else (SEEDS, 200, SEVERITIES)
    more = ("steps=60", "validate_every=60") if smoke else ()
    prefix = "robust-smoke" if smoke else "robust"
    names = {(model, way): f"{prefix}-{model}-{way}" for model in MODELS for way in WAYS}
    took: dict[str, float] = {}
    for model in MODELS:
        asked = {names[model, way]: (*more, *settings) for way, settings in WAYS.items()}
        done = run_all(asked, ("baselines=false", "report=false"), seeds, f"{model}_robust")
        took |= {name: statistics.mean(seconds for _, seconds in of_seeds) for name, of_seeds in done.items()}

    tests = data.load("second_cc", ROOT, "test", maps=False).examples
    documents, examples = {e.id: e.captions for e in tests}, tests[:pairs]
    cells = [CLEAN, *((name, s) for group in GROUPS.values() for name in group for s in severities)]
    folders = {key: [card(name, seed).parent.parent for seed in seeds] for key, name in names.items()}
    speak([folder for several in folders.values() for folder in several], examples, cells)

    parts = {"clean": [CLEAN]}
    for group, corruptions in GROUPS.items():
        parts[group] = [(name, s) for name in corruptions for s in severities]
        parts |= {f"  {name}": [(name, s) for s in severities] for name in corruptions}
    lines = [
        f"experiment=MODEL_robust {' '.join(more)}; {pairs} test pairs, severities {', '.join(map(str, severities))}; "
        "mean of the seeds ± their standard deviation",
        "held_out is never trained on",
    ]
    for model in MODELS:
        seconds = ", ".join(f"{way} {took[names[model, way]]:.0f} s" for way in WAYS)
        lines += ["", f"{model:20} training: {seconds}", f"{'':32}" + "".join(f"{name:>16}" for name in FIGURES)]
        found = {
            way: [
                {
                    cell: figures(json.loads(said(folder, cell, pairs).read_text()), examples, documents)
                    for cell in cells
                }
                for folder in folders[model, way]
            ]
            for way in WAYS
        }
        for part, of_part in parts.items():
            for way in WAYS:
                means = [tuple(np.mean([one[cell] for cell in of_part], axis=0).tolist()) for one in found[way]]
                lines.append(row(f"{part:22}{way}", means))
    text = "\n".join(lines)
    if smoke:
        print(text)
    else:
        keep(text, "robust")


if __name__ == "__main__":
    main()
