"""The cells of a benchmark as tidy tables: a row for each condition, and what the conditions come to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocess.corruption import GROUPS

from .figures_of_merit import (
    Draws,
    Estimate,
    cost,
    estimate,
    first_severity,
    gain,
    is_accepted,
    mce,
    mean,
    relative,
    surely_loses,
    times,
    won_back,
)
from .grid import CLEAN, HELD_OUT, MAPS, NONE, ORACLE, Condition, Setting, described, group_of, same_as
from .inputs import is_undone
from .measurements import FIGURES
from .run import Bench

CORE = "core"  # all that was asked for but what is held out from training
RELATIVE = ("sm4", "cider_change")  # figures that are also told as a share of the clean one
REFERENCE = "rsiccformer"
Row = dict[str, Any]
Run = Mapping[Condition, Mapping[str, Draws]]  # of one captioner, on the pairs of the grid


@dataclass(frozen=True)
class Measured:
    """Every figure of every captioner, resampled.

    Attributes:
        bench: Where they are from, finished.
        runs: System -> its runs, which differ in their seed, on the pairs of the grid.
        clean: The same on all clean pairs, of the clean conditions alone.
        reference: The system that mCE is normalised by.
        changed: Of the pairs of the grid, how many changed.
    """

    bench: Bench
    runs: Mapping[str, Sequence[Run]]
    clean: Mapping[str, Sequence[Run]]
    reference: str | None
    changed: int


def measured(bench: Bench) -> Measured:
    """Read and resample all cells of a finished ``bench``.

    Raises:
        DataError: A cell is missing or broken.
    """
    pairs = bench.pairs
    changed = np.array([pairs.changed[i] for i in pairs.ids])
    few, many = times(changed[: pairs.count]), times(changed)
    runs: dict[str, list[Run]] = {}
    clean: dict[str, list[Run]] = {}
    reference = None
    for speaker in bench.speakers:
        cells = {condition: outcome for condition, (outcome, _) in bench.outcomes(speaker).items()}
        of_grid = {condition: outcome.first(pairs.count).figures(few) for condition, outcome in cells.items()}
        runs.setdefault(speaker.system, []).append(of_grid)
        of_all = {c: outcome.figures(many) for c, outcome in cells.items() if c.setting == CLEAN}
        clean.setdefault(speaker.system, []).append(of_all)
        if speaker.inputs == "rgb" and (reference is None or (speaker.is_of(REFERENCE) and reference[1] is False)):
            reference = speaker.system, speaker.is_of(REFERENCE)
    return Measured(bench, runs, clean, reference and reference[0], int(changed[: pairs.count].sum()))


def rows(found: Measured) -> list[Row]:
    """A row for each captioner and condition of the core grid: what it is, `FIGURES`, and what is left of them.

    ``sm4``, ``sm4_low``, ``sm4_high`` (95 % over pairs) and ``sm4_sd`` (over seeds), and so for each figure.
    ``relative_`` figures are shares of those on the same clean pairs without cure.
    """
    made = []
    for system, setting, variant, runs in _conditions(found):
        is_clean = setting == CLEAN
        bases = found.clean[system] if is_clean else found.runs[system]
        cells = [run[_place(setting, variant)] for run in (bases if is_clean else runs)]
        uncured = [run[Condition(CLEAN)] for run in bases]
        figures = {name: estimate([cell[name] for cell in cells]) for name in FIGURES}
        for name in RELATIVE:
            both = zip(cells, uncured, strict=True)
            figures[f"relative_{name}"] = estimate([relative(cell[name], base[name]) for cell, base in both])
        number = found.bench.number(setting)
        made.append({"captioner": system, **_named(setting), **_of(found, variant, number), **_flat(figures)})
    return made


def wide_scopes(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of a summary, those of several corruptions; the first stands for all that was asked.

    That is `CORE`, or what is held out from training where nothing else was asked for.
    """
    there = {r["scope"] for r in summary}
    return [scope for scope in (CORE, *GROUPS) if scope in there]


def summary(found: Measured) -> list[Row]:
    """A row for each captioner, variant and scope: what its conditions come to.

    Scopes are `CORE`, the groups and the corruptions asked for, over all severities and over severity 3 alone.
    ``gain`` is of relative sm4 against no cure, ``won_back`` its share of what is lost where something surely is,
    ``cost`` that on all clean pairs; ``mce`` divides by what the reference loses without cure. ``added_false_alarm`` is
    above the clean rate of the same pairs.
    """
    asked = found.bench.grid
    made = []
    for system, runs in _of_images(found):
        for scope, names in scopes(asked.corruptions).items():
            for told, severities in {"all": asked.severities, "3": (3,)}.items():
                if not set(severities) <= set(asked.severities):
                    continue
                for variant in asked.variants:
                    merits = _merits(found, system, runs, names, severities, variant)
                    made.append({"captioner": system, "scope": scope, "severities": told, "variant": variant, **merits})
    return made


def first_severities(found: Measured) -> list[Row]:
    """For each captioner, corruption and variant the first severity with too many false alarms, None where none has."""
    made = []
    for system, runs in _of_images(found):
        for name in found.bench.grid.corruptions:
            for variant in found.bench.grid.variants:
                rates = {
                    s: float(np.mean([run[_place(Setting(name, s), variant)]["false_alarm"][0] for run in runs]))
                    for s in found.bench.grid.severities
                }
                clean = float(np.mean([run[Condition(CLEAN)]["false_alarm"][0] for run in runs]))
                at = first_severity(clean, rates)
                made.append({"captioner": system, "corruption": name, "variant": variant, "first_severity": at})
    return made


def maps_rows(found: Measured) -> list[Row]:
    """A row for each captioner of maps and each kind of maps that it was given with clean images."""
    made = []
    for system, runs in found.runs.items():
        if all(condition.setting.maps is not None for condition in runs[0]):
            for kind in MAPS:
                cells = [run[Condition(Setting(maps=kind))] for run in runs]
                figures = {name: estimate([cell[name] for cell in cells]) for name in FIGURES}
                made.append({"captioner": system, "maps": kind, "pairs": found.bench.pairs.count, **_flat(figures)})
    return made


def scopes(corruptions: Sequence[str]) -> dict[str, list[str]]:
    """What figures are averaged over: `CORE`, each group and each corruption -> the corruptions asked for in it."""
    held_out = GROUPS.get(HELD_OUT, ())
    every = {CORE: [name for name in corruptions if name not in held_out]}
    every |= {group: [name for name in names if name in corruptions] for group, names in GROUPS.items()}
    return {scope: names for scope, names in (every | {name: [name] for name in corruptions}).items() if names}


def _merits(
    found: Measured, system: str, runs: Sequence[Run], names: Sequence[str], severities: Sequence[int], variant: str
) -> Row:
    def left(run: Run, name: str, which: str, figure: str = "sm4") -> list[Draws]:
        """Relative scores over the severities of corruption ``name``."""
        cells = [run[_place(Setting(name, s), which)] for s in severities]
        return [relative(cell[figure], run[Condition(CLEAN)][figure]) for cell in cells]

    def every(run: Run, which: str, figure: str = "sm4") -> list[Draws]:
        return [r for name in names for r in left(run, name, which, figure)]

    def rate(run: Run, figure: str) -> Draws:
        return mean([run[_place(Setting(name, s), variant)][figure] for name in names for s in severities])

    def seeds(several: Sequence[Sequence[Draws]]) -> list[Draws]:
        """The mean over the seeds, condition by condition."""
        return [mean(alike) for alike in zip(*several, strict=True)]

    assert found.reference is not None
    theirs = {name: seeds([left(run, name, NONE) for run in found.runs[found.reference]]) for name in names}
    errors = [mce({name: left(run, name, variant) for name in names}, theirs) for run in runs]
    uncured = [run[Condition(CLEAN)] for run in runs]
    figures = {f"relative_{name}": estimate([mean(every(run, variant, name)) for run in runs]) for name in RELATIVE}
    figures |= {name: estimate([rate(run, name) for run in runs]) for name in ("false_alarm", "miss")}
    added = [rate(run, "false_alarm") - base["false_alarm"] for run, base in zip(runs, uncured, strict=True)]
    figures["added_false_alarm"] = estimate(added)
    figures["mce"] = estimate([error for error, _ in errors])
    figures |= dict.fromkeys(("gain", "won_back", "cost"))
    if variant != NONE:
        on, off = ([every(run, which) for run in runs] for which in (variant, NONE))
        figures["gain"] = estimate([gain(*both) for both in zip(on, off, strict=True)])
        figures["won_back"] = estimate([won_back(seeds(on), seeds(off))]) if surely_loses(seeds(off)) else None
        clean = [(run[_place(CLEAN, variant)], run[Condition(CLEAN)]) for run in found.clean[system]]
        figures["cost"] = estimate([cost(cell["sm4"], base["sm4"]) for cell, base in clean])
    is_cure = variant not in (NONE, ORACLE)
    accepted = is_accepted(figures["gain"], figures["cost"]) if is_cure else None
    return {**_flat(figures), "mce_left_out": errors[0][1], "accepted": accepted}


def _of_images(found: Measured) -> list[tuple[str, Sequence[Run]]]:
    """The systems that ran through the core grid."""
    return [(system, runs) for system, runs in found.runs.items() if Condition(CLEAN) in runs[0]]


def _conditions(found: Measured) -> Iterator[tuple[str, Setting, str, Sequence[Run]]]:
    for system, runs in _of_images(found):
        for setting in found.bench.grid.settings:
            for variant in found.bench.grid.variants:
                yield system, setting, variant, runs


def _place(setting: Setting, variant: str) -> Condition:
    """Where the cell of a condition is."""
    return same_as(Condition(setting, variant), is_undone(setting))


def _named(setting: Setting) -> Row:
    if setting.corruption is None:
        return {"corruption": "clean", "group": "clean", "severity": 0, "level": None, "unit": None}
    what = described(setting.corruption, setting.severity)
    known = {"corruption": setting.corruption, "group": group_of(setting.corruption), "severity": setting.severity}
    return known | {"level": what["level"], "unit": what["unit"]}


def _of(found: Measured, variant: str, number: int) -> Row:
    return {"variant": variant, "side": found.bench.grid.side, "pairs": number}


def _flat(figures: Mapping[str, Estimate | None]) -> Row:
    """A column for each figure and for what is known of it."""
    made: Row = {}
    for name, found in figures.items():
        made[name] = None if found is None else found.value
        made[f"{name}_low"] = None if found is None else found.low
        made[f"{name}_high"] = None if found is None else found.high
        made[f"{name}_sd"] = None if found is None else found.deviation
    return made
