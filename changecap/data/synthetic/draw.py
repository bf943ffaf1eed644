"""Random draws that are the same on every machine and with every version of numpy.

Only raw uniform numbers are taken from numpy; everything else follows from them here.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Draw:
    """A stream of random choices, set by ``keys`` (integers >= 0) alone."""

    def __init__(self, *keys: int) -> None:
        bits = np.random.PCG64(np.random.SeedSequence(keys))
        self._random = np.random.Generator(bits).random

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._random()

    def below(self, n: int) -> int:
        """A whole number in [0, n)."""
        return int(self._random() * n)

    def chance(self, p: float) -> bool:
        """True with probability ``p``."""
        return self._random() < p

    def choice(self, options: Sequence[T]) -> T:
        """One of ``options``, all equally likely."""
        return options[self.below(len(options))]

    def weighted(self, weights: Sequence[float]) -> int:
        """A place in ``weights``, each as likely as its weight."""
        left = self._random() * sum(weights)
        for i, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return i
        return len(weights) - 1

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All ``items`` in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(len(rest))]

    def array(self, *shape: int) -> np.ndarray:
        """Numbers in [0, 1), float64."""
        return self._random(shape)
