"""What a captioner said of the pairs of a cell, measured so that every figure is a function of how often pairs count.

Document frequencies of CIDEr-D are those of every pair of the split, in clean and in corrupted cells, on all pairs and
on the changed ones: a figure of one cell can be divided by that of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..language.no_change import says_no_change
from ..metrics import Statistics, measure, meteor
from ..metrics.statistics import MEANS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FIGURES = {
    "sm4": "S*m of 4 over all pairs",
    "cider_change": "CIDEr-D over changed pairs",
    "false_alarm": "share of unchanged pairs of which a change is said",
    "miss": "share of changed pairs of which none is said",
}


@dataclass(frozen=True)
class Outcome:
    """One captioner's sentences about P pairs."""

    statistics: Statistics
    changed: Bools  # (P,) whether the pair changed
    claimed: Bools  # (P,) whether the sentence says so

    def figures(self, times: Floats | None = None) -> dict[str, Floats]:
        """`FIGURES` where each pair counts as often as ``times`` ``(..., P)`` says, by default once.

        NaN where there is no pair of the kind. ``sm4`` takes the METEOR that was counted, see `meteor_there`.
        """
        times = np.ones(len(self.changed)) if times is None else times
        values = self.statistics.totals(times)
        counted = next(iter(self.statistics.meteor))
        parts = [counted if name == "METEOR" else name for name in MEANS["sm4"]]
        change, same = times * self.changed, times * ~self.changed
        none = np.full(times.shape[:-1], np.nan)
        cider = self.statistics.means["CIDEr"]
        return {
            "sm4": sum((values[name] for name in parts), start=np.zeros(())) / len(parts),
            "cider_change": change @ cider / change.sum(-1) if self.changed.any() else none,
            "false_alarm": same @ self.claimed / same.sum(-1) if not self.changed.all() else none,
            "miss": 1 - change @ self.claimed / change.sum(-1) if self.changed.any() else none,
        }

    def card(self) -> dict[str, dict[str, float | None]]:
        """The parts ``overall``, ``description`` and ``flag`` of the score card, see `systems.System.totals`.

        And ``relative``, what is divided by clean figures; None is what is not defined.
        """
        found = {"overall": self.statistics.totals()}
        if self.changed.any():
            found["description"] = self.statistics.totals(self.changed)
        figures = self.figures()
        flag = {name: figures[name] for name in ("false_alarm", "miss")}
        flag["balanced_accuracy"] = 1 - (flag["false_alarm"] + flag["miss"]) / 2
        found["flag"] = flag
        found["relative"] = {name: figures[name] for name in ("sm4", "cider_change")}
        return {part: {name: _plain(value) for name, value in values.items()} for part, values in found.items()}

    def first(self, count: int) -> "Outcome":
        """Of the first ``count`` pairs alone."""
        return Outcome(_rows(self.statistics, slice(count)), self.changed[:count], self.claimed[:count])

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {
            "changed": self.changed.tolist(),
            "claimed": self.claimed.tolist(),
            "bleu": self.statistics.bleu.tolist(),
            "meteor": {name: lines.tolist() for name, lines in self.statistics.meteor.items()},
            "means": {name: values.tolist() for name, values in self.statistics.means.items()},
        }

    @staticmethod
    def from_json(ids: Sequence[str], stored: Mapping[str, Any]) -> "Outcome":
        """The outcome that `to_json` was called on, of pairs ``ids``."""
        return Outcome(
            Statistics(
                tuple(ids),
                np.array(stored["bleu"], dtype=np.int64),
                {name: np.array(lines, dtype=np.float64) for name, lines in stored["meteor"].items()},
                {name: np.array(values, dtype=np.float64) for name, values in stored["means"].items()},
                {},
            ),
            np.array(stored["changed"], dtype=np.bool_),
            np.array(stored["claimed"], dtype=np.bool_),
        )


class Scorer:
    """Measures sentences; what was once said of a pair is not measured again.

    Args:
        references: Captions of every pair of the split.
        changed: Whether each changed.
    """

    def __init__(self, references: Mapping[str, Sequence[str]], changed: Mapping[str, bool]) -> None:
        self.references, self.changed, self.meteor = references, changed, meteor_there()
        self._documents = list(references.values())
        self._rows: dict[tuple[str, str], int] = {}
        self._known: Statistics | None = None

    def __call__(self, said: Mapping[str, str]) -> Outcome:
        """Measure the sentences ``said`` of some pairs."""
        new = [row for row in said.items() if row not in self._rows]
        if new:
            keys = [str(n) for n in range(len(new))]
            found = measure(
                {key: self.references[i] for key, (i, _) in zip(keys, new, strict=True)},
                {key: sentence for key, (_, sentence) in zip(keys, new, strict=True)},
                documents=self._documents,
                others=(self.meteor,),
            )
            for row in new:
                self._rows[row] = len(self._rows)
            self._known = found if self._known is None else _joined(self._known, found)
        assert self._known is not None
        rows = _rows(self._known, [self._rows[row] for row in said.items()])
        return Outcome(
            replace(rows, ids=tuple(said)),
            np.array([self.changed[i] for i in said]),
            np.array([not says_no_change(sentence) for sentence in said.values()]),
        )


def meteor_there() -> str:
    """The METEOR that can be counted here: the whole one, or without its tables that of exact words and stems."""
    try:
        meteor.load_tables()
    except UserError:
        return "METEOR_exact_stem"
    return "METEOR"


def _plain(value: Floats) -> float | None:
    """As JSON holds it: None for what is not defined."""
    return float(value) if np.isfinite(value) else None


def _rows(statistics: Statistics, chosen: Any) -> Statistics:
    return replace(
        statistics,
        ids=statistics.ids[chosen] if isinstance(chosen, slice) else (),
        bleu=statistics.bleu[chosen],
        meteor={name: lines[chosen] for name, lines in statistics.meteor.items()},
        means={name: values[chosen] for name, values in statistics.means.items()},
    )


def _joined(known: Statistics, found: Statistics) -> Statistics:
    def both(ours: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> dict[str, Floats]:
        return {name: np.concatenate([ours[name], theirs[name]]) for name in ours}

    return replace(
        known,
        bleu=np.concatenate([known.bleu, found.bleu]),
        meteor=both(known.meteor, found.meteor),
        means=both(known.means, found.means),
    )
