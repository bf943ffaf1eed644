"""Figures of merit of a robustness benchmark: arithmetic on figures and their resamples alone.

A figure is an array ``(1 + R,)``: its value first, then what it is in R resamples of the pairs, the same ones for every
figure. So a ratio, a difference or a mean of figures is one too, paired by construction, and its interval is that of
its resamples. NaN is what is not defined.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics.intervals import RESAMPLES, percentiles, resample, spread

Draws = NDArray[np.float64]  # (1 + R,)

COST = 0.005  # of relative sm4 on clean pairs, what a cure may cost at most
ENOUGH = 1000  # clean pairs that such a cost is to be measured on


class Estimate(NamedTuple):
    """A figure with its 95 % interval over the pairs and its standard deviation over the seeds."""

    value: float
    low: float
    high: float
    deviation: float
    runs: int


def times(changed: NDArray[np.bool_], count: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each of P pairs counts, ``(1 + count, P)``: once, then in each resample; see `intervals.resample`."""
    return np.concatenate([np.ones((1, len(changed))), *resample(changed, count)])


def estimate(runs: Sequence[Draws]) -> Estimate | None:
    """The mean of a figure over runs that differ in their seed; None where it is not defined."""
    values = [float(run[0]) for run in runs]
    if not np.isfinite(values).all():
        return None
    mean = np.mean(runs, axis=0)
    between = percentiles(mean[1:]) or (values[0], values[0])
    over = spread(values)
    return Estimate(over.mean, *between, over.deviation, over.runs)


def relative(worse: Draws, clean: Draws) -> Draws:
    """What is left of a score: R = worse / clean."""
    return np.divide(worse, clean, out=np.full(np.shape(worse), np.nan), where=clean > 0)


def mean(several: Sequence[Draws]) -> Draws:
    """Over corruptions and severities, each counting alike."""
    found: Draws = np.mean(several, axis=0)
    return found


def first_severity(clean: float, by_severity: Mapping[int, float]) -> int | None:
    """The first severity whose false-alarm rate is at least max(2 x clean, clean + 0.05); None where none is.

    Args:
        clean: False-alarm rate on clean pairs.
        by_severity: That of each severity.
    """
    limit = max(2 * clean, clean + 0.05)
    return next((s for s in sorted(by_severity) if by_severity[s] >= limit - 1e-12), None)


def corruption_error(ours: Sequence[Draws], reference: Sequence[Draws]) -> Draws:
    """CE of one corruption: what is lost over the severities, of what the reference loses; both relative scores R.

    ImageNet-C's CE (Hendrycks and Dietterich 2019, eq. 1) with 1 - R for the error of a classifier. NaN where the
    reference loses nothing.
    """
    lost, theirs = (np.sum([1 - r for r in several], axis=0) for several in (ours, reference))
    return np.divide(lost, theirs, out=np.full(np.shape(lost), np.nan), where=theirs > 0)


def mce(ours: Mapping[str, Sequence[Draws]], reference: Mapping[str, Sequence[Draws]]) -> tuple[Draws, list[str]]:
    """The mean of `corruption_error` over corruptions, and those left out, where the reference does not surely lose.

    Args:
        ours: Relative scores of each severity, by corruption.
        reference: The same of the reference.
    """
    errors = {name: corruption_error(several, reference[name]) for name, several in ours.items()}
    left_out = [name for name in ours if not surely_loses(reference[name])]
    kept = [error for name, error in errors.items() if name not in left_out]
    some = next(iter(errors.values()))
    return (mean(kept) if kept else np.full(np.shape(some), np.nan)), left_out


def surely_loses(several: Sequence[Draws]) -> bool:
    """Whether the mean of relative scores is below 1, with its interval: only then a share of the loss means much."""
    lost = estimate([1 - mean(several)])
    return lost is not None and lost.low > 0


def gain(cured: Sequence[Draws], uncured: Sequence[Draws]) -> Draws:
    """G: by how much a variant raises the mean relative score."""
    return mean(cured) - mean(uncured)


def won_back(cured: Sequence[Draws], uncured: Sequence[Draws]) -> Draws:
    """The share of what was lost that a variant wins back; NaN where nothing was."""
    lost, still = (1 - mean(several) for several in (uncured, cured))
    return 1 - np.divide(still, lost, out=np.full(np.shape(lost), np.nan), where=lost > 0)


def cost(cured: Draws, uncured: Draws) -> Draws:
    """The share of its score on clean pairs that a variant takes away."""
    return 1 - relative(cured, uncured)


def is_accepted(gained: Estimate | None, costs: Estimate | None) -> bool:
    """Whether a variant is accepted: its gain is positive with confidence, and it costs less than `COST`."""
    return gained is not None and costs is not None and gained.low > 0 and costs.value < COST
