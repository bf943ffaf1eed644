"""Which of the four models a pair needs: the simplest that none beats clearly, in most parts of the image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import motion

BLOCKS = 8  # the image is judged in BLOCKS x BLOCKS parts
# What similarity, affine motion and homography must gain over each simpler model: standard errors over the parts; and
# share of the agreement times standard errors, so that a small gain counts where it is the same everywhere
CLEARLY, WORTH = (1.4, 2.0, 2.0), (0.03, 0.06, 0.08)
AGAIN = 2.0  # standard errors that the most general model must gain over the chosen one when both are refined


class Agreement:
    """How far two dates agree, part by part, under motions ``(B, M, 3, 3)`` and a field, see :func:`motion.sample`.

    Attributes:
        parts: mean agreement of their orientation maps ``(B, M, BLOCKS^2)``, in units of the maps' own energy.
        energy: what an overlap of the same edges would have, ``(B, M)``.
        ratio: the same over the whole overlap, from 1 (the same edges) over 0 (nothing in common), ``(B, M)``.
        seen: share of the image that both dates show, ``(B, M)``.
    """

    def __init__(self, motions: Tensor, a: Tensor, b: Tensor, field: Tensor | None = None) -> None:
        moved = motion.sample(b, motions, (a.shape[-2], a.shape[-1]), field)
        seen = a[:, -1, None] * motion.inside(moved[:, -1])
        a, b = a[:, :2, None], moved[:, :2]
        common = (a * b).sum(1) * seen
        one, two = ((x.square().sum(1) * seen).mean((-2, -1)) for x in (a, b))
        self.energy = (one * two).sqrt().clamp_min(1e-9)
        self.parts = F.adaptive_avg_pool2d(common, BLOCKS).flatten(2)
        self.ratio = self.parts.mean(-1) / self.energy
        self.seen = seen.mean((-2, -1))


def clearly(more: Tensor, less: Tensor) -> Tensor:
    """By how many standard errors the parts ``(..., P)`` of one agreement exceed those of another."""
    gain = more - less
    return gain.mean(-1) / (gain.std(-1, correction=0) / gain.shape[-1] ** 0.5 + 1e-6)


def select(parts: Tensor) -> Tensor:
    """The index ``(B,)`` of the model to trust, of parts ``(B, 4, P)`` in the order of :data:`motion.MODELS`.

    A model must beat each simpler one :data:`CLEARLY` and be :data:`WORTH` it; a homography must only not lose to an
    affine motion, for where it is needed the affine one is a halfway house that takes most of the gain.
    """
    mean = parts.mean(-1)
    chosen = torch.zeros_like(mean[:, 0], dtype=torch.long)
    for j in (1, 2, 3):
        good = torch.ones_like(chosen, dtype=torch.bool)
        for i in range(j):
            surely, worth = (0.0, 0.0) if (i, j) == (2, 3) else (CLEARLY[j - 1], WORTH[j - 1])
            errors = clearly(parts[:, j], parts[:, i])
            gain = (mean[:, j] - mean[:, i]) / mean[:, i].clamp_min(1e-6)
            good &= (errors > surely) & (gain * errors > worth)
        chosen = torch.where(good, j, chosen)
    return chosen


def second(parts: Tensor) -> Tensor:
    """1 ``(B,)`` where the second of two models, the more general one, is :data:`AGAIN` better after all, else 0.

    Of two motions that are refined to the end a small gain tells more than of two on their way: a homography that was
    not chosen had sometimes not arrived yet.

    Args:
        parts: of both, ``(B, 2, P)``.
    """
    return (clearly(parts[:, 1], parts[:, 0]) > AGAIN).long()
