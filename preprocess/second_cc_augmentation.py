"""The augmentations of the SECOND-CC group (Karimli et al., UBMK 2024, doi 10.1109/UBMK63289.2024.10773445).

Each of :data:`VARIANTS` makes one copy of a pair: blurred, brightened, mirrored, turned, or by one or two of these
drawn at random. Both dates are treated alike but for the two that brighten one of them.
"""

from typing import NamedTuple

import kornia
import torch
from torch import Tensor

from .corruption import as_float
from .operators import brightness
from .pair import Pair
from .symmetry import turned, turns

KERNEL, SIGMA = 5, 1.1  # of the blur, pixels
SHIFT = 80 / 255  # of the brightening
# transposed, mirrored left to right, mirrored top to bottom
_TURNS = {
    "mirror_horizontal": (False, True, False),
    "mirror_vertical": (False, False, True),
    "mirror_diagonal": (True, False, False),
    "rotate90": (True, True, False),
    "rotate180": (False, True, True),
    "rotate270": (True, False, True),
}
_BRIGHTER = {"brighten": (1.0, 1.0), "brighten_before": (1.0, 0.0), "brighten_after": (0.0, 1.0)}
_RANDOM = ("mirror_horizontal", "mirror_vertical", "rotate90", "brighten")  # one or two of these
VARIANTS = ("blur", *_BRIGHTER, *_TURNS, "random")
DRAWS = 3  # uniform numbers that a variant takes


class Plan(NamedTuple):
    """What happens to each sample: ``turn`` ``(B, 2, 2)``, ``blurred`` ``(B,)`` and ``shift`` ``(B, 2)`` of a and b."""

    turn: Tensor
    blurred: Tensor
    shift: Tensor


def plan(variants: list[str], u: Tensor) -> Plan:
    """What ``variants``, one for each sample or ``"none"``, do by numbers ``u`` ``(B, 3)`` in [0, 1)."""
    each = [_one(name, row) for name, row in zip(variants, u.tolist(), strict=True)]
    turn = torch.stack([one[0] for one in each])
    blurred = torch.tensor([name == "blur" for name in variants])
    return Plan(turn, blurred, SHIFT * torch.tensor([one[1] for one in each]))


def _one(name: str, u: list[float]) -> tuple[Tensor, tuple[float, float]]:
    """Turn and brightening of one sample."""
    if name == "random":
        first = int(4 * u[1])
        drawn = [first] if u[0] < 0.5 else [first, (first + 1 + int(3 * u[2])) % 4]  # two different ones
        turn, shift = torch.eye(2, dtype=torch.long), (0.0, 0.0)
        for i in drawn:
            next_turn, next_shift = _one(_RANDOM[i], u)
            turn, shift = next_turn @ turn, (shift[0] + next_shift[0], shift[1] + next_shift[1])
        return turn, shift
    flags = [torch.tensor([flag]) for flag in _TURNS.get(name, (False, False, False))]
    return turns(*flags)[0], _BRIGHTER.get(name, (0.0, 0.0))


def apply(pair: Pair, plan: Plan) -> Pair:
    """The batched ``pair`` as ``plan`` says.

    Raises:
        ValueError: images are not square, and one is to be transposed or turned by a quarter.
    """
    there = turned(pair, plan.turn)
    a, b = (_light(x, plan.blurred, shift) for x, shift in zip(there[:2], plan.shift.unbind(1), strict=True))
    return Pair(a, b, there.sem_a, there.sem_b)


def _light(x: Tensor, blurred: Tensor, shift: Tensor) -> Tensor:
    where = blurred.to(x.device)[:, None, None, None]

    def change(x: Tensor) -> Tensor:
        soft = kornia.filters.gaussian_blur2d(x, KERNEL, (SIGMA, SIGMA), border_type="replicate")
        return brightness(torch.where(where, soft, x), shift)

    return as_float(change, x)
