"""Which of the four models a pair needs: the simplest that none beats clearly, in most parts of the image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import motion
from .refine import dot

BLOCKS = 8  # the image is judged in BLOCKS x BLOCKS parts
# What similarity, affine motion and homography must gain over each simpler model: standard errors over the parts; and
# share of the agreement times standard errors, so that a small gain counts where it is the same everywhere
CLEARLY, WORTH = (1.0, 1.6, 1.4), (0.03, 0.05, 0.08)
# By how much each must gain in votes over a shift; or the freer two in agreement, as a share
VOTES, MUCH = (0.15, 0.1, 0.25), 0.1
FREER = (1, 3, 3, 3)  # for each model the one that is looked at beside it in the end
ARRIVED = (0.006, 0.03, 0.0, torch.inf)  # what that must be worth, at least


class Agreement:
    """How far two dates agree, part by part, under motions ``(B, M, 3, 3)`` and a field, see :func:`motion.sample`.

    Of the feature maps ``a`` and ``b``, see :func:`refine`, as many count as are said, from the first on.

    Attributes:
        parts: mean agreement of their edges ``(B, M, BLOCKS^2)``, in units of the maps' own energy.
        energy: what an overlap of the same edges would have, ``(B, M)``.
        ratio: the same over the whole overlap, from 1 (the same edges) over 0 (nothing in common), ``(B, M)``.
        seen: share of the image that both dates show, ``(B, M)``.
    """

    def __init__(self, motions: Tensor, a: Tensor, b: Tensor, planes: int, field: Tensor | None = None) -> None:
        moved = motion.sample(b, motions, (a.shape[-2], a.shape[-1]), field)
        seen = a[:, -1, None] * motion.inside(moved[:, -1])
        a, b = a[:, :planes, None], moved[:, :planes]
        common = dot(a, b) * seen
        one, two = ((dot(x, x) * seen).mean((-2, -1)) for x in (a, b))
        self.energy = (one * two).sqrt().clamp_min(1e-9)
        self.parts = F.adaptive_avg_pool2d(common, BLOCKS).flatten(2)
        self.ratio = self.parts.mean(-1) / self.energy
        self.seen = seen.mean((-2, -1))


def clearly(more: Tensor, less: Tensor) -> Tensor:
    """By how many standard errors the parts ``(..., P)`` of one agreement exceed those of another."""
    gain = more - less
    return gain.mean(-1) / (gain.std(-1, correction=0) / gain.shape[-1] ** 0.5 + 1e-6)


def gained(more: Tensor, less: Tensor) -> Tensor:
    """By which share the parts ``(..., P)`` of one agreement exceed those of another."""
    return (more.mean(-1) - less.mean(-1)) / less.mean(-1).clamp_min(1e-6)


def beats(more: Tensor, less: Tensor, surely: float, worth: float | Tensor) -> Tensor:
    """Whether parts ``(B, P)`` of one agreement exceed those of another so ``surely``, and are ``worth`` it."""
    errors = clearly(more, less)
    return (errors > surely) & (gained(more, less) * errors > worth)


def select(parts: Tensor, votes: Tensor) -> Tensor:
    """The index ``(B,)`` of the model to trust.

    A model must beat each simpler one :data:`CLEARLY` and be :data:`WORTH` it; a homography must only not lose to an
    affine motion, for where it is needed the affine one is a halfway house that takes most of the gain. What refines on
    maps that changed bends itself to what changed, so the votes of the search have a say too: a similarity that gains
    :data:`VOTES` on a shift is taken, an affine motion or a homography that does not is not.

    Args:
        parts: of motions of the models, ``(B, 4, P)``, in the order of :data:`motion.MODELS`.
        votes: for what they started from, ``(B, 4)``.
    """
    chosen = torch.zeros_like(parts[:, 0, 0], dtype=torch.long)
    for j in (1, 2, 3):
        more = votes[:, j] - votes[:, 0] > VOTES[j - 1]
        more |= gained(parts[:, j], parts[:, 0]) > MUCH
        good = torch.ones_like(chosen, dtype=torch.bool)
        for i in range(j):
            surely, worth = (0.0, 0.0) if (i, j) == (2, 3) else (CLEARLY[j - 1], WORTH[j - 1])
            good &= beats(parts[:, j], parts[:, i], surely, worth)
        chosen = torch.where(good | more if j == 1 else good & more, j, chosen)
    return chosen


def freer(chosen: Tensor) -> Tensor:
    """The model ``(B,)`` that goes on beside each of those that :func:`select` chose."""
    return chosen.new_tensor(FREER)[chosen]


def second(chosen: Tensor, agreement: Agreement) -> Tensor:
    """1 ``(B,)`` where the freer model beats the one that was chosen after all, else 0.

    Of two motions that are refined to the end a gain tells more than of two on their way, and a small one will do: it
    finds a small turn, a mild perspective. But where a similarity was enough so far, a homography bends itself to what
    changed, and gains by that: it must be worth the more, the less the dates agree.

    Args:
        chosen: what :func:`select` chose, ``(B,)``.
        agreement: of that model and of the :func:`freer` one.
    """
    changed = torch.where(chosen == 1, (1 - agreement.ratio[:, 0]) ** 3, 0.0)
    worth = agreement.ratio.new_tensor(ARRIVED)[chosen] + changed
    return beats(agreement.parts[:, 1], agreement.parts[:, 0], 0.0, worth).long()
