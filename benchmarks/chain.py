"""What preprocessing is worth to a captioner that was trained without: degraded pairs, and what it costs clean ones.

``python -m benchmarks.chain [CHECKPOINT [PAIRS]]``: a captioner of images alone, by default the demo's in
``runs/benchmark/rgb-0``, and how many pairs, by default 1,000. Simulated pairs of 256 pixels that no captioner was
trained on are degraded in their second date, at severity 3, and captioned as they are and after the whole chain; the
first 100 also after each step alone. Sentences are kept in ``runs/chain`` as they come: a call that was stopped goes
on, and other code of the steps begins anew.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import changecap
import preprocess
from benchmarks.report import keep
from changecap.data import load
from changecap.data.dataset import PairDataset
from changecap.data.synthetic import write
from changecap.inference.captioner import Captioner
from changecap.io.json_file import read_lines
from changecap.language.no_change import says_no_change
from changecap.metrics import measure
from changecap.metrics.intervals import Difference, Totals, differences, intervals
from preprocess import Pair, build, corrupt

OUT, DATA = Path("runs/chain"), Path("runs/chain/synth256")
SEED, SIZE, SEVERITY, BATCH = 1, 256, 3, 20  # the demo's data have seed 0
DEGRADED = ("translation", "gamma", "cast_shadow", "gaussian_blur")
CONDITIONS = {"clean": (), "all four": DEGRADED, **{name: (name,) for name in reversed(DEGRADED)}}
STEPS = ("register", "illuminate", "equalise")
CHAINS = {"none": [], "whole chain": [*STEPS], **{step: [step] for step in STEPS}}
FEW = 100  # pairs for a step alone
FIGURES = ("false alarms", "missed changes", "CIDEr-D of changed")


def fingerprint(captioner: Captioner) -> str:
    """Of what the sentences depend on: weights, and the code that degrades and prepares."""
    sources = sorted(Path(preprocess.__file__).parent.rglob("*.py"))
    known = [captioner.config["sha256"].encode(), *(file.read_bytes() for file in sources)]
    return hashlib.sha256(b"".join(known)).hexdigest()[:12]


def sentences(captioner: Captioner, data: PairDataset, count: int, condition: str, chain: str) -> Iterator[dict]:
    """A row for each pair: what was said, and the processor seconds of the chain."""
    file = OUT / fingerprint(captioner) / f"{condition}, {chain}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {row["id"]: row for row in read_lines(file)} if file.is_file() else {}
    steps = build(CHAINS[chain]).eval()
    for first in range(0, count, BATCH):
        ids = [example.id for example in data.examples[first : min(first + BATCH, count)]]
        if not all(i in known for i in ids):
            pair = degraded(data.batch(range(first, first + len(ids))), condition, ids)
            started = time.process_time()
            pair = steps(pair)
            took = (time.process_time() - started) / len(ids)
            said = captioner.caption(pair.resize(captioner.size).float())
            rows = [{"id": i, "text": c.text, "seconds": took} for i, c in zip(ids, said, strict=True)]
            with file.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in rows)
            known |= {row["id"]: row for row in rows}
        yield from (known[i] for i in ids)


def degraded(pair: Pair, condition: str, ids: list[str]) -> Pair:
    """The pairs with their second dates after everything that ``condition`` names."""
    for name in CONDITIONS[condition]:
        pair = corrupt(pair, name, SEVERITY, ids, "simulated")
    return pair


def figures(references: Mapping[str, tuple[str, ...]], said: Mapping[str, str], changed: NDArray[np.bool_]) -> Totals:
    """False alarms, missed changes and CIDEr-D of the changed pairs, of any multiplicities."""
    silent = np.array([says_no_change(said[i]) for i in references])
    cider = measure(references, said, others=()).per_pair()["CIDEr"]

    def totals(times: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        on_changed, on_same = times @ changed, times @ ~changed
        false, missed = times @ (~silent & ~changed) / on_same, times @ (silent & changed) / on_changed
        return dict(zip(FIGURES, (false, missed, times @ (cider * changed) / on_changed), strict=True))

    return totals


def line(
    chain: str, rows: list[dict], own: Totals, apart: Mapping[str, Difference | None], changed: NDArray[np.bool_]
) -> str:
    """The row of a chain: its figures, and how they differ from those without one."""
    took = 1000 * np.mean([row["seconds"] for row in rows])
    cells = []
    for name, between in intervals(own, changed).items():
        cell = f"{float(own(np.ones(len(changed)))[name]):.3f} [{between.low:.3f},{between.high:.3f}]"
        if (d := apart.get(name)) is not None:
            cell += f" {d.value:+.3f} [{d.low:+.3f},{d.high:+.3f}]{'*' if d.p < 0.05 else ' '}"
        cells.append(f"{cell:>48}")
    return f"  {chain:18}{len(rows):6}{took:7.0f}" + "".join(cells)


def main() -> None:
    """Print and keep the table: each condition without and with each chain, and the paired differences."""
    torch.set_num_threads(1)
    captioner = changecap.load(sys.argv[1] if len(sys.argv) > 1 else "runs/benchmark/rgb-0")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    if not DATA.exists():
        write(DATA, pairs=1001, size=SIZE, seed=SEED, val=0, test=1000)
    data = load("second_cc", DATA, "test", maps=False)
    examples = data.examples[:count]
    changed = np.array([bool(example.changed) for example in examples])
    lines = [
        f"{len(examples)} pairs, {changed.sum()} changed; severity {SEVERITY}; figure [95 % interval]; then by how",
        "much it exceeds that of the same pairs without any step [95 % interval, paired], * where p < 0.05",
    ]
    for condition in CONDITIONS:
        lines += ["", f"{condition:20}{'pairs':>6}{'CPU ms':>7}" + "".join(f"{name:>48}" for name in FIGURES)]
        bare: dict[str, str] = {}
        for chain in CHAINS:
            some = examples[:FEW] if chain in STEPS else examples
            rows = list(sentences(captioner, data, len(some), condition, chain))
            said, strata = {row["id"]: row["text"] for row in rows}, changed[: len(some)]
            bare = bare or said
            references = {example.id: example.captions for example in some}
            own, without = (figures(references, {i: x[i] for i in references}, strata) for x in (said, bare))
            apart = {} if chain == "none" else differences(own, without, strata)
            lines.append(line(chain, rows, own, apart, strata))
            print(lines[-1], flush=True)
    keep("\n".join(lines), "chain")


if __name__ == "__main__":
    main()
