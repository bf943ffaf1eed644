"""What the four captioners of the zoo survive, and how fast that is found out.

``python -m benchmarks.robustness [KEY=VALUE ...]``: the core grid on simulated pairs, rendered at 256 pixels, for the
captioners of images that ``python -m benchmarks.captioners`` trains into ``runs/benchmark``; its summary, pairs per
second of each corruption, and the time beside that of a loop which decodes and recomputes everything for every cell.
Keys: ``pairs=200 clean_pairs=1000 corruptions=all severities=1,2,3,4,5 variants=none,register+illuminate seeds=0,1,2
timed=16 out=runs/ablation results=robustness``; ``timed`` pairs at severity 3 are compared with the loop, 0 are not;
``results`` is the file in ``benchmarks/results``. Processor seconds, one thread.
"""

import json
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from omegaconf import OmegaConf
from PIL import Image

import changecap
import zoo
from benchmarks.report import keep
from changecap.data import ensure, load
from changecap.metrics import measure
from changecap.robustness import Ablation, bench
from changecap.robustness.grid import CLEAN, Condition, Grid, Setting, grid_of, steps
from changecap.robustness.measurements import meteor_there
from changecap.robustness.pairs import read
from changecap.robustness.run import Bench
from preprocess import Pair, build, corrupt

ROOT = Path("data/synth")
RUNS = Path("runs/benchmark")
DEFAULTS = {
    "pairs": "200",
    "clean_pairs": "1000",
    "corruptions": "all",
    "severities": "1,2,3,4,5",
    "variants": "none,register+illuminate",
    "seeds": "0,1,2",
    "timed": "16",
    "out": "runs/ablation",
    "results": "robustness",
}
BATCH = 64


def written(folder: Path, count: int) -> dict[str, object]:
    """``count`` simulated pairs of 256 pixels as files, so that both ways begin on the disk."""
    pairs = read({"name": "second_cc", "root": ROOT}, count, count)
    for date, images in (("A", pairs.images.a), ("B", pairs.images.b)):
        (folder / date).mkdir(parents=True)
        for i, image in zip(pairs.ids, images, strict=True):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / date / i)
    (folder / "captions.json").write_text(json.dumps({i: list(pairs.references[i]) for i in pairs.ids}))
    return {"name": "folder", "root": folder}


def plainly(captioners: Mapping[str, changecap.Captioner], data: Mapping[str, object], grid: Grid) -> dict:
    """Every cell by itself: decode, corrupt, cure, resize, encode both dates, search, score."""
    said = {}
    chains = {variant: build(steps(variant)).eval() for variant in grid.variants}
    for name, captioner in captioners.items():
        for setting in grid.settings:
            for variant, chain in chains.items():
                dataset = load(**data, split="test", maps=False)  # type: ignore[arg-type]
                references = {e.id: e.captions for e in dataset.examples}
                hypotheses: dict[str, str] = {}
                for start in range(0, len(dataset), BATCH):
                    places = range(start, min(start + BATCH, len(dataset)))
                    pair, ids = dataset.batch(places), [dataset.examples[n].id for n in places]
                    if setting != CLEAN:
                        pair = corrupt(pair, str(setting.corruption), setting.severity, ids, "folder", grid.seed)
                    seen: Pair = chain(pair).resize(captioner.size)
                    hypotheses |= zip(ids, (c.text for c in captioner.caption(seen)), strict=True)
                measure(references, hypotheses, documents=list(references.values()), others=(meteor_there(),))
                said[name, Condition(setting, variant)] = hypotheses
    return said


def race(folders: Sequence[Path], count: int, asked: Grid) -> list[str]:
    """Seconds of the cells of ``asked`` on ``count`` pairs, both ways, and whether both say the same."""
    captioners = {folder.name: changecap.load(folder) for folder in folders}
    with TemporaryDirectory() as folder:
        data = written(Path(folder) / "pairs", count)
        start = time.process_time()
        plain = plainly(captioners, data, asked)
        slow = time.process_time() - start
        start = time.process_time()
        words = {key: getattr(asked, key) for key in ("corruptions", "severities", "variants", "side", "seed")}
        made = bench(captioners, data, Path(folder) / "cells", pairs=None, clean_pairs=None, progress=False, **words)
        made.fill(progress=False)
        fast = time.process_time() - start
        cells = {(s.name, c): said for s in made.speakers for c, (_, said) in made.outcomes(s).items()}
    alike = sum(cells[key][i] == sentence for key, said in plain.items() for i, sentence in said.items())
    total = sum(map(len, plain.values()))
    return [
        f"{len(captioners)} captioners, {len(plain)} cells of {count} pairs: {slow:.1f} s by the plain loop "
        f"({total / slow:.1f} pairs/s), {fast:.1f} s here ({total / fast:.1f} pairs/s): {slow / fast:.1f} times",
        f"the same sentence in {alike} of {total} cases",
    ]


def rates(made: Bench) -> list[str]:
    """Pairs per second of each corruption, of its images and of all; by what the cells remember."""
    images: dict[Setting, float] = {}
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for speaker in made.speakers:
        for condition in made.conditions(speaker):
            cell, setting = made.store.read(made.key(speaker, condition)), condition.setting
            row = spent[setting.corruption or "clean"]
            row[0] += len(cell["hypotheses"])
            row[1] += cell["seconds"]["captions"]
            images[setting] = max(images.get(setting, 0.0), cell["seconds"]["images"])
    for setting, seconds in images.items():
        spent[setting.corruption or "clean"][2] += seconds
    lines = [f"{'corruption':20}{'captions':>10}{'images s':>10}{'captions s':>12}{'pairs/s':>9}"]
    for name, (count, captions, seconds) in spent.items():
        rate = count / max(captions + seconds, 1e-9)
        lines.append(f"{name:20}{count:10,.0f}{seconds:10.1f}{captions:12.1f}{rate:9.1f}")
    return lines


def table(made: Ablation) -> list[str]:
    """What the conditions come to, over all severities and at severity 3."""
    figures = {"relative_sm4": "left", "mce": "mCE", "false_alarm": "alarms", "miss": "missed", "gain": "gain"}
    figures |= {"won_back": "won back", "cost": "cost"}
    head = f"{'captioner':20}{'variant':22}{'scope':12}{'severities':>10}"
    lines = [head + "".join(f"{title:>24}" for title in figures.values())]
    scopes = {"core", "light", "sharpness", "geometry", "held_out"}
    for row in (r for r in made.summary if r["scope"] in scopes):
        cells = "".join(f"{_cell(row, name):>24}" for name in figures)
        lines.append(f"{row['captioner']:20}{row['variant']:22}{row['scope']:12}{row['severities']:>10}{cells}")
    return lines


def _cell(row: Mapping[str, object], name: str) -> str:
    if row[name] is None:
        return "-"
    value, low, high = (100 * float(str(row[f"{name}{end}"])) for end in ("", "_low", "_high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Fill the grid, print and keep what it shows and how long it took."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if unknown := given.keys() - DEFAULTS.keys():
        raise SystemExit(f"unknown keys {', '.join(sorted(unknown))}; they are {', '.join(DEFAULTS)}")
    asked = {**DEFAULTS, **given}
    torch.set_num_threads(1)
    ensure(OmegaConf.load("configs/data/synth.yaml"))  # type: ignore[arg-type]
    folders = [RUNS / f"{model}-rgb-{seed}" for model in zoo.list_models() for seed in asked["seeds"].split(",")]
    words = {
        "corruptions": asked["corruptions"],
        "severities": tuple(map(int, asked["severities"].split(","))),
        "variants": asked["variants"].split(","),
    }
    numbers = {key: int(asked[key]) for key in ("pairs", "clean_pairs")}
    data, out = {"name": "second_cc", "root": ROOT}, Path(asked["out"])
    start = time.process_time()
    made = changecap.ablate(folders, data, out, device="cpu", **words, **numbers)
    took = time.process_time() - start
    found = bench(folders, data, out, device="cpu", progress=False, **words, **numbers)
    timed, severe = int(asked["timed"]), {**words, "severities": (3,)}
    lines = [
        *(line for said in (*made.said, *made.notes) for line in textwrap.wrap(said, 118, subsequent_indent="  ")),
        "",
        *table(made),
        "",
        *rates(found),
        f"this call: {took:.0f} s; cells that were there are not made again",
        "",
        *([*race(folders, timed, grid_of(**severe)), ""] if timed else []),  # type: ignore[arg-type]
        f"report: {made.page}",
    ]
    keep("\n".join(lines), asked["results"])


if __name__ == "__main__":
    main()
