"""Which pairs each step of training sees."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from ..data.example import Example
from ..errors import ConfigError
from ..evaluation.baselines import changed


class Epochs:
    """Batches of pairs in an order that is a function of seed and step alone, so that a resumed run sees the same.

    Args:
        examples: of the training split.
        batch: pairs of a step; the last one of an epoch may have fewer.
        unchanged: share of the unchanged pairs that an epoch sees, others in each.
        seed: of the order.

    Attributes:
        batches: steps of an epoch.

    Raises:
        ConfigError: there is no pair to see.
    """

    def __init__(self, examples: Sequence[Example], batch: int, unchanged: float, seed: int) -> None:
        self.pairs, self.batch, self.seed = len(examples), batch, seed
        self.unchanged = frozenset(i for i, e in enumerate(examples) if unchanged < 1 and not changed(e))
        self.left_aside = round((1 - unchanged) * len(self.unchanged))
        self.batches = -(-(self.pairs - self.left_aside) // batch)
        if not self.batches:
            raise ConfigError("there is no pair to train on: the training split is empty, or unchanged=0 left nothing")

    def at(self, step: int) -> list[int]:
        """The indices of the pairs of ``step``, which counts from 0."""
        epoch, index = divmod(step, self.batches)
        order = _order(self.pairs, self.unchanged, self.left_aside, self.seed, epoch)
        return order[index * self.batch : (index + 1) * self.batch]


@lru_cache(maxsize=1)
def _order(pairs: int, unchanged: frozenset[int], left_aside: int, seed: int, epoch: int) -> list[int]:
    """All pairs in a random order, without ``left_aside`` of the unchanged ones."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(pairs, generator=generator).tolist()
    aside = set([i for i in order if i in unchanged][:left_aside])
    return [i for i in order if i not in aside]
