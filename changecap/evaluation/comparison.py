"""Several evaluated runs side by side on the same pairs, each tested against the first.

Scores are computed anew from the sentences that the evaluations wrote, so runs of different versions compare. Several
seeds of one configuration are one system: the mean of their figures, with its spread over the seeds; a test between two
such means resamples the pairs, not the seeds.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..io.json_file import read_json
from ..metrics import truth
from ..metrics.classes import Change
from ..metrics.intervals import Totals, differences, intervals, mean, spread
from .card import nested
from .measurements import Figure, System, measure_all

_FILES = ("hypotheses.json", "card.json")
_SPLITS = ("train", "val", "test")
NOTES = (
    "Differences are to the first system, p by paired bootstrap over the pairs, two-sided; * where it is below 0.05. "
    "Many figures are tested: some of 20 are below 0.05 by chance.",
    "[a, b]: 95 % bootstrap interval over the pairs. ±: standard deviation over the seeds, of which the test knows "
    "nothing.",
)


@dataclass(frozen=True)
class Run:
    """What an evaluation wrote."""

    folder: Path
    name: str
    references: dict[str, list[str]]
    hypotheses: dict[str, str]
    changed: dict[str, bool]
    changes: dict[str, list[Change]]  # of the pairs of which they are known
    card: Mapping[str, Any]  # empty where there is none


def compare(runs: Sequence[str], split: str = "test") -> dict[str, Any]:
    """Compare runs, each a folder of a run or of an evaluation, or one of the evaluation's files.

    Args:
        runs: Two or more; paths with commas between them are seeds of one configuration.
        split: Which evaluation of a run's folder.

    Returns:
        JSON values: ``pairs``, ``changed``, ``notes`` and ``systems``, each with ``name``, ``runs`` and ``figures``:
        part of the card, name -> ``value``, ``deviation`` over the seeds, ``interval`` and, but for the first system,
        ``difference``, ``difference_interval`` and ``p``.

    Raises:
        UsageError: Fewer than two systems.
        DataError: A run was not evaluated, or on other pairs or references than the first.
    """
    if len(runs) < 2:
        raise UsageError(
            f"compare needs two runs or more, got {len(runs)}; for example: changecap compare runs/a runs/b, or with "
            "seeds of one configuration: changecap compare runs/a-0,runs/a-1 runs/b-0,runs/b-1"
        )
    systems = [[read(path, split) for path in paths_of(text)] for text in runs]
    everyone = [run for several in systems for run in several]
    first = everyone[0]
    for other in everyone[1:]:
        _same_pairs(first, other)
    sentences = {str(n): run.hypotheses for n, run in enumerate(everyone)}
    changes = next((run.changes for run in everyone if run.changes), None)  # one that saw maps knows them for all
    measured = measure_all(first.references, sentences, first.changed, changes)
    each = iter(measured.values())
    members = [[next(each) for _ in several] for several in systems]
    names = _names(systems)
    return {
        "pairs": len(first.references),
        "changed": sum(first.changed.values()),
        "notes": list(NOTES),
        "systems": [
            {
                "name": name,
                "runs": [str(run.folder) for run in several],
                "inputs": several[0].card.get("inputs"),
                "figures": _figures(group, members[0] if n else None),
            }
            for n, (name, several, group) in enumerate(zip(names, systems, members, strict=True))
        ],
    }


def paths_of(text: str) -> list[Path]:
    """The paths that commas in ``text`` separate; a comma may also be part of a path that is there.

    Raises:
        DataError: One is not there.
    """
    parts = text.split(",")
    for taken in range(len(parts), 0, -1):  # the longest first: a sweep's folders have commas in their names
        path = Path(",".join(parts[:taken]))
        if path.exists():
            rest = ",".join(parts[taken:])
            return [path, *(paths_of(rest) if rest else [])]
    raise DataError(f"there is no {parts[0]}; give the folder of a run, or of its evaluation")


def read(path: Path, split: str) -> Run:
    """The evaluation meant by ``path``.

    Raises:
        DataError: There is none, or a file of it cannot be read.
    """
    inside = path.parent if path.name in _FILES and path.is_file() else path
    folder = next((f for f in (inside, inside / split) if (f / "hypotheses.json").is_file()), None)
    if folder is None:
        how = f"changecap evaluate checkpoint={shlex.quote(str(path))}" + (f" split={split}" if split != "test" else "")
        raise DataError(f"{path} is not evaluated on the split {split}: no hypotheses.json in it or below; run {how}")
    references, hypotheses = (_read(folder / f"{name}.json") for name in ("references", "hypotheses"))
    card = _read(folder / "card.json") if (folder / "card.json").is_file() else {}
    pairs = card.get("per_pair", {})
    changed = {i: pair["changed"] for i, pair in pairs.items()} if pairs else truth(references)
    name = folder.parent.name if folder.name in _SPLITS else folder.name
    changes = {i: [(a, b) for a, b in pair["changes"]] for i, pair in pairs.items() if "changes" in pair}
    return Run(folder, name or str(folder), references, hypotheses, changed, changes, card)


def _read(path: Path) -> dict[str, Any]:
    value = read_json(path, f"no {path.name} in {path.parent}; run changecap evaluate once more")
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(value).__name__}; run changecap evaluate once more")
    return value


def _same_pairs(first: Run, other: Run) -> None:
    """Refuse what cannot be compared pair by pair."""
    for less, more in ((first, other), (other, first)):
        if extra := [i for i in more.references if i not in less.references]:
            raise DataError(
                f"{first.folder} and {other.folder} are evaluations of different pairs: {len(extra)} only in "
                f"{more.folder}, such as {extra[0]!r}; evaluate both on the same split of the same data"
            )
    stated: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("references", first.references, other.references),
        ("changed", first.changed, other.changed),
    )
    for what, ours, theirs in stated:
        if odd := [i for i in first.references if ours.get(i) != theirs.get(i)]:
            raise DataError(
                f"{first.folder} and {other.folder} do not have the same {what} for {len(odd)} pairs, such as "
                f"{odd[0]!r}; evaluate both on the same data"
            )


def _figures(group: Sequence[System], first: Sequence[System] | None) -> dict[str, dict[str, Any]]:
    """Every figure of a system, the mean of its runs, and its difference to the first system."""
    strata = group[0].changed
    ours, theirs = _mean(group), None if first is None else _mean(first)
    runs = [system.totals() for system in group]
    between = intervals(ours, strata)
    tested = {} if theirs is None else differences(ours, theirs, strata)
    found: dict[Figure, Any] = {}
    for key in between:
        values = [float(run[key]) for run in runs if key in run]
        if np.isnan(values).any():
            continue
        limits, over = between[key], spread(values)
        found[key] = {"value": over.mean, "deviation": over.deviation, "interval": limits and list(limits)}
        if (less := tested.get(key)) is not None:
            found[key] |= {"difference": less.value, "difference_interval": [less.low, less.high], "p": less.p}
    return nested(found)


def _mean(group: Sequence[System]) -> Totals[Figure]:
    return mean([system.totals for system in group])


def _names(systems: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each system: its folder's, or what its seeds' have in common; the whole path where two are alike."""
    names = []
    for several in systems:
        letters = zip(*(run.name for run in several), strict=False)  # up to the end of the shortest
        common = "".join(letter[0] for letter in takewhile(lambda letter: len(set(letter)) == 1, letters))
        short = re.sub(r"[\W_]*(seed)?[\W_]*\d*$", "", common) if len(several) > 1 else common
        names.append(f"{short or several[0].name} ({len(several)} runs)" if len(several) > 1 else short)
    return [
        name if names.count(name) == 1 else ",".join(str(run.folder) for run in several)
        for name, several in zip(names, systems, strict=True)
    ]
