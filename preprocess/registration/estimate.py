"""The motion between two dates, coarse to fine, and what speaks for it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import motion
from .blur import blur_gap, shares
from .features import Spectrum, smoothed, window_max
from .refine import refine
from .search import search
from .select import Agreement, clearly, select

SIGMA, FLOOR = 1.0, 0.1  # of the orientation maps: pixels of their level, share of the mean energy
COARSEST = 80  # pixels, the longest side of the level that the search runs on
WINDOW = 6.0  # pixels, of the local normalisation of brightness
REACH = 3  # pixels over which a hole or a border reaches into the maps of its level
TUNE = 0.4  # of the mean square residual: what changed loses its weight soon in the last steps
SPREAD = 0.05  # how far a step's turn, scale, shear or perspective is expected to go, in centred units


class Profile(NamedTuple):
    """How much is spent on a pair: Gauss-Newton steps of each stage."""

    rough: int  # all models as similarities, on strongly smoothed maps
    coarse: int
    middle: int  # on hardly smoothed ones
    settle: int  # on those of the level that the models are compared on
    fine: int  # the chosen model, at each finer level


PROFILES = {"accurate": Profile(3, 3, 2, 2, 4), "fast": Profile(2, 3, 2, 0, 0)}


class Estimate(NamedTuple):
    """Motions ``(B, 3, 3)`` in centred coordinates, and evidence ``(B, E)`` of which :data:`EVIDENCE` has the names."""

    motion: Tensor
    evidence: Tensor
    agreement: Tensor  # (B,)


EVIDENCE = ("peak", "agreement", "gain", "over identity", "over shift", "seen", "freedom", "moved")


def estimate(a: Tensor, b: Tensor, valid_a: Tensor, valid_b: Tensor, model: str, profile: str) -> Estimate:
    """The motion from ``a`` to ``b``.

    Args:
        a: grey images ``(B, H, W)``, both sides multiples of 4.
        b: the same.
        valid_a: 1 where ``a`` shows something, else 0.
        valid_b: the same of ``b``.
        model: a name of :data:`motion.MODELS`, or ``auto``.
        profile: a name of :data:`PROFILES`.
    """
    steps = PROFILES[profile]
    batch, size = len(a), (a.shape[-2], a.shape[-1])
    levels = [_Level(a, b, valid_a, valid_b).halved()]
    while max(levels[-1].a.shape[-2:]) > COARSEST * 2:
        levels.append(levels[-1].halved())
    maps = _maps(levels[-1])
    small = maps.halved()
    found = search(small.a * small.seen_a, small.b * small.seen_b, smooth=0.8)

    free = _freedom(model, a)  # (M, 8)
    count = len(free)
    prior = a.new_tensor([0, 0] + [SPREAD**-2] * 6)
    motions = torch.stack([found.similarity if m else found.shift for m in free[:, 2]], 1).flatten(0, 1)
    free = free.repeat(batch, 1)
    stiff = free * (torch.arange(8, device=a.device) < motion.MODELS["similarity"])
    fa, fb = (x.repeat_interleave(count, 0) for x in small.stacked(1.5))
    motions = refine(motions, fa, fb, stiff, prior, steps.rough)
    motions = refine(motions, fa, fb, free, prior, steps.coarse)
    fa, fb = (x.repeat_interleave(count, 0) for x in small.stacked(0.7))
    motions = refine(motions, fa, fb, free, prior, steps.middle)
    # judged on the sharper maps, where a motion that is a little off has lost all agreement
    fa, fb = (x.repeat_interleave(count, 0) for x in maps.stacked(1.0))
    motions = refine(motions, fa, fb, free, prior, steps.settle)
    parts = Agreement(motions, fa, fb).parts.unflatten(0, (batch, count))
    chosen = select(parts) if count > 1 else torch.zeros(batch, dtype=torch.long, device=a.device)
    pick = torch.arange(batch, device=a.device) * count + chosen
    motions, free, fa, fb = motions[pick], free[pick], fa[pick], fb[pick]

    if steps.fine:
        for level in reversed(levels):
            maps = maps if level is levels[-1] else _maps(level)
            fa, fb = maps.stacked(0.7, brightness=0.5)
            motions = refine(motions, fa, fb, free, prior, steps.fine, TUNE)
    here, still = Agreement(motions, fa, fb), Agreement(motion.identity(batch, a), fa, fb)
    evidence = [
        found.peak,
        here.ratio,
        here.ratio - still.ratio,
        clearly(here.parts, still.parts),
        clearly(here.parts, torch.zeros_like(here.parts)),
        here.seen,
        free.sum(1),
        motion.corner_distance(motions, motion.identity(batch, a), size) / max(size),
    ]
    return Estimate(motions, torch.stack(evidence, 1), here.ratio)


def _freedom(model: str, like: Tensor) -> Tensor:
    """1 for the parameters ``(M, 8)`` that the models in question may move."""
    counts = list(motion.MODELS.values()) if model == "auto" else [motion.MODELS[model]]
    return (torch.arange(8, device=like.device) < torch.tensor(counts, device=like.device)[:, None]).to(like.dtype)


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x[:, None], 2)[:, 0]


class _Level(NamedTuple):
    """Grey images of both dates ``(B, H, W)`` and where they show something (1, else 0), at one scale."""

    a: Tensor
    b: Tensor
    valid_a: Tensor
    valid_b: Tensor

    def halved(self) -> "_Level":
        return _Level(*(_halved(x) for x in self))


class _Maps(NamedTuple):
    """Orientation maps of both dates ``(B, H, W)``, where to trust them (1, else 0), and the spectra they are from."""

    a: Tensor
    b: Tensor
    seen_a: Tensor
    seen_b: Tensor
    spectra: tuple[Spectrum, Spectrum]

    def halved(self) -> "_Maps":
        a, b = (torch.complex(_halved(q.real), _halved(q.imag)) for q in (self.a, self.b))
        seen_a, seen_b = ((_halved(v) == 1).to(v.dtype) for v in (self.seen_a, self.seen_b))
        return _Maps(a, b, seen_a, seen_b, self.spectra)

    def stacked(self, smooth: float, brightness: float = 0.0) -> tuple[Tensor, Tensor]:
        """Smoothed feature maps ``(B, C + 1, H, W)`` for :func:`refine`; with local brightness if it has a weight."""
        stacks = []
        for q, seen, spectrum in zip((self.a, self.b), (self.seen_a, self.seen_b), self.spectra, strict=True):
            q = smoothed(q, smooth)
            planes = [q.real, q.imag]
            if brightness:
                planes.append(brightness * spectrum.normalised(SIGMA, WINDOW, FLOOR))
            stacks.append(torch.stack([*planes, seen], 1))
        return stacks[0], stacks[1]


def _maps(level: _Level) -> _Maps:
    """The orientation maps of two dates, the sharper one blurred like the other."""
    spectra = Spectrum(level.a), Spectrum(level.b)
    for spectrum, share in zip(spectra, shares(blur_gap(level.a, level.b)), strict=True):
        spectrum.soften(share)
    a, b = (s.orientation(SIGMA, FLOOR) for s in spectra)
    seen_a, seen_b = (_inner(v) for v in (level.valid_a, level.valid_b))
    return _Maps(a, b, seen_a, seen_b, spectra)


def _inner(valid: Tensor) -> Tensor:
    """Where ``valid`` ``(B, H, W)`` is 1 all around, as far as a hole or the border reaches into the maps."""
    holes = F.pad((valid < 1).to(valid.dtype), (REACH,) * 4, value=1)
    return 1 - window_max(holes, 2 * REACH + 1)
