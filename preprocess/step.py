"""What a chain is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from .pair import Pair

Parameters = dict[str, Tensor]


class Step(nn.Module, ABC):
    """What a chain is made of.

    ``draws`` is how many uniform numbers a sample the step wants; a step that wants none always acts. ``turns`` says
    whether it mirrors, transposes or turns images, so that captions have to follow.
    """

    draws = 0
    turns = False
    words: Mapping[str, Sequence[str]] = {}  # of parameters that count in a list of words: the list

    @abstractmethod
    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """The changed batched ``pair`` and what was done to it, by numbers ``u`` ``(B, draws)`` in [0, 1) on the CPU.

        Parameters are on the CPU too; of a step that turns images one is called ``turn``, ``(B, 2, 2)``.
        """


def probability(name: str, value: float) -> float:
    """``value``, if it is a probability.

    Raises:
        ValueError: it is none; the message says of which argument ``name``.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability in [0, 1], got {value!r}")
    return value
