"""What several systems said of the same pairs, measured so that every figure of the score card is a weighted sum.

A part of the card is a way to look at the same sentences: the flag, the description of what changed, all pairs as they
were said, and all pairs after every no-change sentence took one form. What a pair's sentence scores is counted once,
whoever said it: the systems agree on many.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..language.no_change import canonical, says_no_change
from ..metrics import cider, ngrams
from ..metrics.classes import Change, tallies
from ..metrics.statistics import METRICS, Statistics, measure, with_means

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Figure = tuple[str, str]  # part of the card, name


@dataclass(frozen=True)
class System:
    """One system's sentences about P pairs."""

    said: Statistics  # document frequencies are those of all pairs
    canonical: Statistics  # of the sentences after `no_change.canonical`
    own: Mapping[str, Floats]  # CIDEr (P,) by the document frequencies of the pair's own subset
    changed: Bools  # (P,) whether the pair changed
    claimed: Bools  # (P,) whether the sentence says so
    tallies: Floats | None = None  # (P, 3) classes lost and gained: right, claimed, true; None where nobody knows

    def totals(self, times: Floats | None = None) -> dict[Figure, Floats]:
        """Every figure where each pair counts as often as ``times`` ``(..., P)`` says, by default once.

        - ``flag``: ``false_alarm``, the share of unchanged pairs of which a change is said; ``miss``, the share of
          changed pairs of which none is; ``balanced_accuracy``, one less the mean of both;
        - ``description``: the metrics over changed pairs, by the document frequencies of all pairs;
        - ``overall``: the metrics over all pairs, as published;
        - ``canonical``: the same after every no-change sentence took one form;
        - ``classes``: ``precision``, ``recall`` and ``f1`` of the classes said to be lost and gained, as
          `metrics.classes.class_scores` has them; NaN where none is claimed, or true.

        What the set has no pairs for is absent.
        """
        times = np.ones(len(self.changed)) if times is None else times
        found = {("overall", name): value for name, value in self.said.totals(times).items()}
        found |= {("canonical", name): value for name, value in self.canonical.totals(times).items()}
        change, same = times * self.changed, times * ~self.changed
        if self.changed.any():
            found |= {("description", name): value for name, value in self.said.totals(change).items()}
            found["flag", "miss"] = 1 - change @ self.claimed / change.sum(-1)
        if not self.changed.all():
            found["flag", "false_alarm"] = same @ self.claimed / same.sum(-1)
        if ("flag", "miss") in found and ("flag", "false_alarm") in found:
            found["flag", "balanced_accuracy"] = 1 - (found["flag", "miss"] + found["flag", "false_alarm"]) / 2
        if self.tallies is not None:
            right, claimed, true = np.moveaxis(times @ self.tallies, -1, 0)
            found["classes", "precision"] = _share(right, claimed)
            found["classes", "recall"] = _share(right, true)
            found["classes", "f1"] = _share(2 * right, claimed + true)
        return found

    def subset(self, changed: bool) -> dict[str, float | None] | None:
        """The metrics over changed or unchanged pairs alone as they are published, None where there are none.

        Document frequencies are those of the subset; ``CIDEr_full_df`` is CIDEr by those of all pairs.
        """
        times = self.changed == changed
        if not times.any():
            return None
        values = self.said.totals(times.astype(np.float64))
        own = {name: each[times].mean() for name, each in self.own.items()}
        return plain(with_means(values | own)) | {"CIDEr_full_df": float(values["CIDEr"])}


def plain(values: Mapping[str, Floats | float]) -> dict[str, float | None]:
    """All `METRICS` as JSON holds them, None where one is not there."""
    return {name: float(values[name]) if name in values else None for name in METRICS}


def measure_all(
    references: Mapping[str, Sequence[str]],
    sentences: Mapping[str, Mapping[str, str]],
    changed: Mapping[str, bool],
    changes: Mapping[str, Collection[Change]] | None = None,
) -> dict[str, System]:
    """Measure all systems, each sentence of a pair once.

    Args:
        references: Sentences of each pair.
        sentences: What each system says of each of these pairs, by the system's name.
        changed: Whether each pair changed.
        changes: True changes of class, of the pairs of which they are known.

    Raises:
        DataError: A system has other pairs than the references, or there are none.
    """
    ids = list(references)
    for name, said in sentences.items():
        if said.keys() != references.keys() or not references:
            raise DataError(f"{name} must say one sentence of each of {len(ids)} pairs, got {len(said)}; at least one")
    rows: dict[tuple[str, str], int] = {}

    def row_of(said: Mapping[str, str]) -> list[int]:
        return [rows.setdefault((i, said[i]), len(rows)) for i in ids]

    spoken = {name: (row_of(said), row_of({i: canonical(said[i]) for i in ids})) for name, said in sentences.items()}
    theirs, ours = [references[i] for i, _ in rows], [sentence for _, sentence in rows]
    keys = [str(row) for row in range(len(rows))]
    o = ngrams.overlap(theirs, ours)
    once = np.arange(len(rows)) < len(ids)  # the first system's rows: each pair is a document once
    counted = measure(dict(zip(keys, theirs, strict=True)), dict(zip(keys, ours, strict=True)), counted=o)
    whole = replace(counted, means={**counted.means, **cider.both(o, cider.idf(o, once))})
    flags = np.array([bool(changed[i]) for i, _ in rows])
    halves = [cider.both(o, cider.idf(o, once & (flags == kind))) for kind in (True, False)]
    own = {name: np.where(flags, halves[0][name], halves[1][name]) for name in halves[0]}
    claimed = np.array([not says_no_change(sentence) for sentence in ours])
    return {
        name: System(
            _rows(whole, said, ids),
            _rows(whole, same, ids),
            {metric: values[said] for metric, values in own.items()},
            flags[said],
            claimed[said],
            _tallied(sentences[name], changes, ids) if changes else None,
        )
        for name, (said, same) in spoken.items()
    }


def _tallied(said: Mapping[str, str], changes: Mapping[str, Collection[Change]], ids: Sequence[str]) -> Floats:
    """`System.tallies`; a pair of which the true changes are not known has no say."""
    found = tallies(said, changes)
    return np.array([found.get(i, (0, 0, 0)) for i in ids], dtype=np.float64)


def _rows(statistics: Statistics, rows: Sequence[int], ids: Sequence[str]) -> Statistics:
    """The statistics of chosen pairs, under their names."""
    return replace(
        statistics,
        ids=tuple(ids),
        bleu=statistics.bleu[rows],
        meteor={name: lines[rows] for name, lines in statistics.meteor.items()},
        means={name: values[rows] for name, values in statistics.means.items()},
    )


def _share(part: Floats, whole: Floats) -> Floats:
    """Divide, with NaN where there is nothing to divide."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
