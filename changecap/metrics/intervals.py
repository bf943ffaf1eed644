"""How far figures can be trusted: bootstrap intervals over pairs, a paired test, the spread over seeds.

Every figure of a set of pairs is a function of how often each pair is counted, so a resample is one row of such
multiplicities, and all resamples of all figures are a few matrix products. Changed and unchanged pairs are drawn apart,
as many of each as there are: a data set fixes their shares, and no resample is left without either. What belongs to the
set of references and not to a pair, CIDEr's document frequencies, stays as it is on the full set.

Knows arrays, no sentence. Trap: the intervals tell how the pairs happened to be drawn, not how training happened to go;
that is what `Spread` is for. With fewer than some 50 pairs percentile intervals are too narrow.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
# Multiplicities (..., P) -> each figure (...); NaN where a figure is undefined
Totals = Callable[[NDArray[np.float64]], Mapping[Key, Floats]]

RESAMPLES = 1000
LEVEL = 0.95
_CELLS = 1 << 22  # multiplicities held at a time


class Interval(NamedTuple):
    """Where a figure lies with a confidence of 95 %."""

    low: float
    high: float


class Difference(NamedTuple):
    """By how much one system's figure exceeds another's on the same pairs."""

    value: float
    low: float
    high: float
    p: float  # two-sided, of both being equal


class Spread(NamedTuple):
    """The runs of one configuration."""

    mean: float
    deviation: float  # of the runs, n - 1 in the divisor; 0 for one run
    runs: int


def resample(strata: NDArray[np.bool_], count: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """Draw pairs with replacement, changed and unchanged ones apart.

    Args:
        strata: ``(P,)`` which pairs changed.
        count: How many resamples.
        seed: Of the draws; the same seed draws the same pairs.

    Yields:
        Blocks ``(b, P)`` of multiplicities, ``count`` rows altogether.
    """
    generator = np.random.default_rng(seed)
    places = [np.flatnonzero(strata == kind) for kind in np.unique(strata)]
    block = max(1, _CELLS // max(len(strata), 1))
    for start in range(0, count, block):
        rows = min(block, count - start)
        times = np.zeros((rows, len(strata)))
        for place in places:
            drawn = generator.integers(len(place), size=(rows, len(place))) + np.arange(rows)[:, None] * len(place)
            times[:, place] = np.bincount(drawn.ravel(), minlength=rows * len(place)).reshape(rows, -1)
        yield times


def intervals(
    totals: Totals[Key], strata: NDArray[np.bool_], count: int = RESAMPLES, seed: int = 0
) -> dict[Key, Interval | None]:
    """Bootstrap interval of each figure: the percentiles 2.5 and 97.5 of its resamples (Efron 1979).

    Args:
        totals: The figures of given multiplicities. Resamples where a figure is undefined have no say in it; None where
            it is undefined in all.
        strata: ``(P,)`` which pairs changed.
        count: How many resamples.
        seed: Of the draws.
    """
    return {key: percentiles(values) for key, values in _sampled(totals, strata, count, seed).items()}


def differences(
    ours: Totals[Key], theirs: Totals[Key], strata: NDArray[np.bool_], count: int = RESAMPLES, seed: int = 0
) -> dict[Key, Difference | None]:
    """Paired bootstrap test of each figure that both systems have: ``ours`` less ``theirs`` on the same pairs.

    Both are resampled together, so what is hard for both says nothing. p is the share of resamples whose difference
    lies at least as far from the observed one as that lies from 0 (the resamples moved to the null hypothesis; Efron
    and Tibshirani 1993, chapter 16), the observed one counted in: two-sided, at least ``1 / (count + 1)``. It does not
    depend on which system comes first. Where the systems differ on few pairs it is a little lenient: five right against
    none give 0.04, where a sign test gives 0.06.

    Args:
        ours: Figures of one system.
        theirs: Figures of the other, of the same pairs in the same order.
        strata: ``(P,)`` which pairs changed.
        count: How many resamples.
        seed: Of the draws.

    Returns:
        Value, interval and p of each figure; None where it is undefined for one of them.
    """

    def less(times: Floats) -> dict[Key, Floats]:
        a, b = ours(times), theirs(times)
        return {key: a[key] - b[key] for key in a if key in b}

    observed = less(np.ones(len(strata)))
    found: dict[Key, Difference | None] = {}
    for key, values in _sampled(less, strata, count, seed).items():
        value, between = float(observed[key]), percentiles(values)
        if np.isnan(value) or between is None:
            found[key] = None
            continue
        away = np.abs(values[np.isfinite(values)] - value)
        # equal figures may differ in the last bit, which is no difference
        beyond = int((away >= abs(value) - 1e-12).sum())
        found[key] = Difference(value, *between, (beyond + 1) / (len(away) + 1))
    return found


def mean(several: Sequence[Totals[Key]]) -> Totals[Key]:
    """The mean of several runs as the figures of one system, of what all of them have."""

    def totals(times: Floats) -> dict[Key, Floats]:
        runs = [run(times) for run in several]
        return {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0] if all(key in run for run in runs)}

    return totals


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one figure over runs that differ in their seed."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(np.mean(values)), deviation, len(values))


def _sampled(totals: Totals[Key], strata: NDArray[np.bool_], count: int, seed: int) -> dict[Key, Floats]:
    """Each figure in each resample, ``(count,)``."""
    blocks = [totals(times) for times in resample(strata, count, seed)]
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def percentiles(values: Floats) -> Interval | None:
    """Where the resamples ``values`` of a figure lie; those that are not a number have no say, None where all are."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
