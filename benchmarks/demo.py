"""The demo's MModalCC over seeds, with maps and without: scores on 1,000 test pairs beside the degenerate baselines.

``python -m benchmarks.demo [inputs ...]``: ``both`` and ``rgb`` unless named; runs go to ``runs/benchmark``, as many at
a time as there are cores, a thread each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from omegaconf import OmegaConf

from benchmarks.report import keep
from changecap.data import ensure

SEEDS = (0, 1, 2)
# beside experiment=demo; from images alone it takes more steps to find the place, and smaller ones
SETTINGS: dict[str, tuple[str, ...]] = {
    "both": (),
    "rgb": (
        "inputs=rgb",
        "lr=1e-3",
        "steps=3200",
        "validate_every=1600",
        "unchanged=0.3",
        "model.decoder_layers=2",
    ),
}
FACTS = ("facts", "roles", "place", "count")


def figures(row: dict) -> dict[str, float]:
    """The figures that are reported of one row of the score card."""
    facts = row["facts"] or dict.fromkeys(FACTS, float("nan"))
    return {"flag": row["flag"]["accuracy"], **{k: facts[k] for k in FACTS}, "CIDEr change": row["change"]["CIDEr"]}


def card(name: str, seed: int) -> Path:
    """Where the score card of run ``name`` lies once it is done."""
    return Path(f"runs/benchmark/{name}-{seed}/test/card.json")


def run(
    name: str, settings: Sequence[str], evaluation: Sequence[str], seed: int, experiment: str = "demo"
) -> tuple[dict, float]:
    """Train and evaluate one captioner; its score card and the processor seconds that training took.

    Training that was cut short goes on from its last checkpoint.
    """
    found = card(name, seed)
    out, kept = found.parent.parent, found.parent.parent / "seconds.json"
    if not found.exists():
        changecap = [sys.executable, "-m", "changecap"]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        fresh = [f"experiment={experiment}", f"seed={seed}", f"out={out}", *settings]
        train = [*changecap, "train", *([f"resume={out}"] if (out / "last").exists() else fresh)]
        # of this process alone, whatever else the machine does meanwhile
        _, status, usage = os.wait4(subprocess.Popen(train, env=one_thread).pid, 0)
        before = json.loads(kept.read_text()) if kept.exists() else 0.0
        out.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(before + usage.ru_utime + usage.ru_stime))
        if status:
            raise SystemExit(os.waitstatus_to_exitcode(status))
        subprocess.run([*changecap, "evaluate", f"checkpoint={out}", *evaluation], check=True, env=one_thread)
    return json.loads(found.read_text()), json.loads(kept.read_text())


def run_all(
    asked: Mapping[str, Sequence[str]],
    evaluation: Sequence[str] = (),
    seeds: Sequence[int] = SEEDS,
    experiment: str = "demo",
) -> dict[str, list[tuple[dict, float]]]:
    """The cards and seconds of each of ``asked``, name -> settings, over ``seeds``; a run and a thread per core."""
    ensure(OmegaConf.load("configs/data/synth.yaml"))  # before the runs would all write it
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {(n, seed): pool.submit(run, n, asked[n], evaluation, seed, experiment) for seed in seeds for n in asked}
        return {name: [runs[name, seed].result() for seed in seeds] for name in asked}


def main() -> None:
    """Print a table per kind of input: each seed, their mean, and the baselines."""
    lines = []
    asked = sys.argv[1:] or list(SETTINGS)
    for inputs, done in run_all({inputs: SETTINGS[inputs] for inputs in asked}).items():
        rows: dict[str, dict[str, float]] = {}
        for seed, (scored, took) in zip(SEEDS, done, strict=True):
            model, *baselines = scored["rows"]
            rows[f"seed {seed} ({took:.0f} s to train)"] = figures(model)
        names = list(next(iter(rows.values())))
        mean = {name: sum(row[name] for row in rows.values()) / len(SEEDS) for name in names}
        rows["mean of the seeds"] = mean
        rows |= {row["name"]: figures(row) for row in baselines}
        lines += [
            f"inputs: {model['inputs']}; {', '.join(('experiment=demo', *SETTINGS[inputs]))}",
            " " * 32 + " ".join(f"{name:>12}" for name in names),
        ]
        lines += [f"{label:32}" + " ".join(f"{row[name]:12.3f}" for name in names) for label, row in rows.items()]
        if template := rows["template"]["CIDEr change"]:
            lines.append(f"CIDEr on changed pairs, model / template: {mean['CIDEr change'] / template:.2f}")
        lines.append("")
    keep("\n".join(lines), "demo")


if __name__ == "__main__":
    main()
