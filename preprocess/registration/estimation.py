"""The motion between two dates, coarse to fine, and what speaks for it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import flow, motion
from .blur import blur_gap, shares
from .features import ANGLE, EDGES, Spectrum, edges, smoothed, window_max
from .refine import refine
from .search import Effort, search
from .select import Agreement, clearly, freer, second, select

SIGMA, FLOOR = 1.0, 0.1  # of the orientation maps: pixels of the level they are read on, share of the mean energy
COARSEST = 80  # pixels, the longest side of the level that the search runs on,
SHORTEST = 24  # unless its shorter side would come below this
WINDOW = 6.0  # pixels, of the local normalisation of brightness
REACH = 3  # pixels over which a hole or a border reaches into the maps of its level
TUNE = 0.2  # of the mean square residual: what changed loses its weight soon in the last steps
# How much a turn, scale, shear or perspective of 1 costs, in pixels' mean residuals: pixels that changed are many, and
# far from independent. And by how much it is divided once a model is chosen
PRIOR, RELAXED = 4800.0, 20.0
LIGHT = 0.2  # weight of local brightness beside edges in the search
SMALL, EARNED = 0.03, 1.5  # share of the side below which a motion must gain so many standard errors on the identity


class Profile(NamedTuple):
    """How much is spent on a pair: Gauss-Newton steps of each stage."""

    effort: Effort  # of the search
    coarse: int  # all models
    settle: int  # on maps of twice the size, where the models are then compared; if 0, they are on the small ones
    close: int  # the chosen model on them, and a freer one if careful,
    last: int  # and the one of both that is kept
    fine: int  # what then remains, at each finer level
    brightness: float  # weight of local brightness beside orientation in the fine steps
    careful: bool  # whether both dates are made equally sharp, edges also read at full size, models judged twice


PROFILES = {
    "accurate": Profile(Effort(6, 32, 16, 64, 4), 1, 2, 3, 4, 2, 0.5, True),
    "fast": Profile(Effort(4, 16, 8, 32, 3), 2, 0, 3, 0, 2, 0, False),
}


class Estimate(NamedTuple):
    """Motions ``(B, 3, 3)`` in centred coordinates, and evidence ``(B, E)`` of which :data:`EVIDENCE` has the names."""

    motion: Tensor
    evidence: Tensor
    agreement: Tensor  # (B,)
    flow: tuple[Tensor, Tensor] | None = None  # of flow.dense: field and its confidence


EVIDENCE = ("peak", "margin", "breadth", "agreement", "gain", "over identity", "over shift", "seen", "freedom", "moved")


def estimate(grey: Tensor, valid: Tensor, model: str, profile: str, dense: bool = False) -> Estimate:
    """The motions from the first half of a batch to its second half.

    Args:
        grey: images ``(2B, H, W)``, the first dates, then the second ones; both sides multiples of :func:`granularity`.
        valid: 1 where they show something, else 0.
        model: a name of :data:`motion.MODELS`, or ``auto``.
        profile: a name of :data:`PROFILES`.
        dense: whether to look for what the motions leave.
    """
    steps = PROFILES[profile]
    batch, size, device = len(grey) // 2, (grey.shape[-2], grey.shape[-1]), grey.device
    levels = [_Level(grey, valid)]
    for _ in range(granularity(size).bit_length() - 3):  # 4 has none
        levels.append(levels[-1].halved())
    maps = _maps(levels[-1], steps.careful)
    small, seen = maps.small()
    counts = tuple(motion.MODELS.values()) if model == "auto" else (motion.MODELS[model],)
    a, b = (small * seen[:, None]).chunk(2)
    found = search(a, b, counts, steps.effort)
    free, prior = motion.freedom(counts, device)[None], grey.new_tensor([0, 0] + [PRIOR] * 6)
    planes = smoothed(small[:, :EDGES])
    motions = refine(found.starts, *_dates(planes[:, :ANGLE], seen), free, prior, steps.coarse)
    if steps.settle:  # judged on the sharper maps, where a motion that is a little off has lost all agreement
        planes, seen = smoothed(edges(maps.orientation, maps.seen), 2), maps.seen
        motions = refine(motions, *_dates(planes[:, :ANGLE], seen), free, prior, steps.settle)
    rows = torch.arange(batch, device=device)
    chosen = grey.new_zeros(batch).long()
    if free.shape[1] > 1:
        chosen = select(Agreement(motions, *_dates(planes, seen), EDGES).parts, found.votes)
    candidates = chosen[:, None]
    if steps.careful and model == "auto":  # a freer model goes on too, for a second look
        candidates = torch.stack([chosen, freer(chosen)], 1)
    motions, free = motions[rows[:, None], candidates], free[0, candidates]

    prior = prior / RELAXED
    for level in reversed(levels):
        maps = maps if level is levels[-1] else _maps(level, steps.careful)
        fa, fb = maps.stacked(steps.brightness)
        coarsest = level is levels[-1]
        motions = refine(motions, fa, fb, free, prior, steps.close if coarsest else steps.fine, TUNE)
        if motions.shape[1] > 1:
            better = second(chosen, Agreement(motions, fa, fb, ANGLE))
            motions, free = motions[rows, better][:, None], free[rows, better][:, None]
        if coarsest:
            motions = refine(motions, fa, fb, free, prior, steps.last, TUNE)
    still = motion.identity(batch, grey)
    both = torch.stack([motions[:, 0], still], 1)
    agreement = Agreement(both, fa, fb, ANGLE)
    over_identity = clearly(agreement.parts[:, 0], agreement.parts[:, 1])
    # nothing is gained by moving; sampling between the pixels costs some agreement, so a small motion has to earn it
    slight = motion.corner_distance(both[:, 0], still, size) < SMALL * max(size)
    rest = rows, (over_identity <= slight.to(grey.dtype) * EARNED).long()
    motions, parts, ratio = both[rest], agreement.parts[rest], agreement.ratio[rest]
    evidence = [
        found.votes.amax(1),
        found.margin,
        found.breadth,
        ratio,
        ratio - agreement.ratio[:, 1],
        over_identity.clamp_min(0),
        clearly(parts, torch.zeros_like(parts)),
        agreement.seen[rest],
        free.sum((1, 2)),
        motion.corner_distance(motions, still, size) / max(size),
    ]
    return Estimate(motions, torch.stack(evidence, 1), ratio, flow.dense(motions, fa, fb) if dense else None)


def granularity(size: tuple[int, int]) -> int:
    """What the sides of images of about ``size`` must be multiples of, so that every level halves the one before."""
    unit = 4  # two levels at least
    while max(size) > COARSEST * unit and min(size) > SHORTEST * unit:
        unit *= 2
    return unit


def _halved(x: Tensor) -> Tensor:
    """``x`` ``(..., H, W)`` at half resolution."""
    rows = x[..., ::2, :] + x[..., 1::2, :]  # thrice as fast as a pooling
    return (rows[..., ::2] + rows[..., 1::2]) / 4


class _Level(NamedTuple):
    """Grey images of both dates ``(2B, H, W)``, first ``a`` then ``b``, where they show something (1, else 0)."""

    grey: Tensor
    valid: Tensor

    def halved(self) -> "_Level":
        return _Level(_halved(self.grey), _halved(self.valid))


class _Maps(NamedTuple):
    """What two dates show, each map ``(2B, ..., H, W)``."""

    orientation: Tensor  # of their edges
    finer: Tensor  # the same read at twice the size and averaged
    seen: Tensor  # 1 where to trust the others, else 0
    brightness: Tensor | None  # local

    def small(self) -> tuple[Tensor, Tensor]:
        """Maps ``(2B, C, h, w)`` of half the size for the search, and where to trust them: ``(2B, h, w)``."""
        planes = edges(self.finer, self.seen)
        if self.brightness is not None:
            planes = torch.cat([planes, LIGHT * (self.brightness * self.seen)[:, None]], 1)
        return _halved(planes), (_halved(self.seen) == 1).to(planes.dtype)

    def stacked(self, brightness: float) -> tuple[Tensor, Tensor]:
        """Feature maps ``(B, C + 1, H, W)`` of both dates for :func:`refine`; with brightness if it has a weight."""
        planes = smoothed(self.orientation)
        if brightness and self.brightness is not None:
            planes = torch.cat([planes, brightness * self.brightness[:, None]], 1)
        return _dates(planes, self.seen)


def _dates(planes: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """``planes`` ``(2B, C, H, W)`` with where they are ``seen`` ``(2B, H, W)``, of each date: ``(B, C + 1, H, W)``."""
    a, b = torch.cat([planes, seen[:, None]], 1).chunk(2)
    return a, b


def _maps(level: _Level, careful: bool) -> _Maps:
    """The maps of two dates at half the size of their ``level``; see :class:`Profile` for ``careful``."""
    half = level.halved()
    spectrum, seen = Spectrum(half.grey), _inner(half.valid)
    if not careful:
        orientation = spectrum.orientation(SIGMA, FLOOR)
        return _Maps(orientation, orientation, seen, None)
    share, full = torch.cat(shares(blur_gap(*half.grey.chunk(2)))), Spectrum(level.grey)
    spectrum.soften(share)
    full.soften(4 * share)
    finer = _halved(full.orientation(SIGMA, FLOOR))
    return _Maps(spectrum.orientation(SIGMA, FLOOR), finer, seen, spectrum.normalised(SIGMA, WINDOW, FLOOR))


def _inner(valid: Tensor) -> Tensor:
    """Where ``valid`` ``(B, H, W)`` is 1 all around, as far as a hole or the border reaches into the maps."""
    holes = F.pad((valid < 1).to(valid.dtype), (REACH,) * 4, value=1)
    return 1 - window_max(holes, 2 * REACH + 1)
