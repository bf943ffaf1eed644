"""The motion between two dates, coarse to fine, and what speaks for it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blur import blur_gap, shares
from . import motion
from .features import Spectrum, smoothed
from .refine import refine
from .search import search
from .select import Agreement, clearly, select

SIGMA, FLOOR = 1.0, 0.1  # of the orientation maps: pixels of their level, share of the mean energy
COARSEST = 80  # pixels, the longest side of the level that the search runs on
WINDOW = 6.0  # pixels, of the local normalisation of brightness
SPREAD = 0.05  # how far a step's turn, scale, shear or perspective is expected to go, in centred units


class Profile(NamedTuple):
    """How much is spent on a pair: Gauss-Newton steps of each stage."""

    rough: int  # all models as similarities, on strongly smoothed maps
    coarse: int
    middle: int  # on hardly smoothed ones
    fine: int  # the chosen model, at each finer level


PROFILES = {"accurate": Profile(4, 4, 4, 5), "fast": Profile(2, 3, 3, 0)}


class Estimate(NamedTuple):
    """Motions ``(B, 3, 3)`` in centred coordinates, and evidence ``(B, E)`` of which :data:`EVIDENCE` has the names."""

    motion: Tensor
    evidence: Tensor
    agreement: Tensor  # (B,)


EVIDENCE = ("peak", "agreement", "gain", "over identity", "over shift", "seen", "freedom", "spread")


def estimate(a: Tensor, b: Tensor, valid_a: Tensor, valid_b: Tensor, model: str, profile: str) -> Estimate:
    """The motion from ``a`` to ``b``.

    Args:
        a, b: grey images ``(B, H, W)``, both sides multiples of 4.
        valid_a, valid_b: 1 where they show something, else 0.
        model: a name of :data:`motion.MODELS`, or ``auto``.
        profile: a name of :data:`PROFILES`.
    """
    steps = PROFILES[profile]
    batch, size = len(a), a.shape[-2:]
    levels = [tuple(_halved(x) for x in (a, b, valid_a, valid_b))]
    while max(levels[-1][0].shape[-2:]) > COARSEST * 2:
        levels.append(tuple(_halved(x) for x in levels[-1]))
    spectra, maps, seen = _maps(*levels[-1])
    small = [torch.complex(_halved(q.real), _halved(q.imag)) for q in maps]
    small_seen = [(_halved(v) == 1).to(v.dtype) for v in seen]
    found = search(small[0] * small_seen[0], small[1] * small_seen[1], smooth=0.8)

    free = _freedom(model, a)  # (M, 8)
    count = len(free)
    prior = a.new_tensor([0, 0] + [SPREAD**-2] * 6)
    starts = [found.shift if row[2] == 0 else found.similarity for row in free]
    motions = torch.stack(starts, 1).flatten(0, 1)
    free = free.repeat(batch, 1)
    stiff = free * (torch.arange(8, device=a.device) < motion.MODELS["similarity"])
    pair = [_stack(smoothed(q, 1.5), v).repeat_interleave(count, 0) for q, v in zip(small, small_seen, strict=True)]
    motions = refine(motions, *pair, stiff, prior, steps.rough)
    motions = refine(motions, *pair, free, prior, steps.coarse)
    pair = [_stack(smoothed(q, 0.7), v).repeat_interleave(count, 0) for q, v in zip(small, small_seen, strict=True)]
    motions = refine(motions, *pair, free, prior, steps.middle)
    parts = Agreement(motions, *pair).parts.unflatten(0, (batch, count))
    chosen = select(parts) if model == "auto" else torch.zeros(batch, dtype=torch.long, device=a.device)
    pick = torch.arange(batch, device=a.device) * count + chosen
    motions, free = motions[pick], free[pick]
    pair = [x[pick] for x in pair]

    for level in reversed(levels):
        if steps.fine:
            if level is not levels[-1]:
                spectra, maps, seen = _maps(*level)
            pair = [
                _stack(smoothed(q, 0.7), v, 0.5 * s.normalised(SIGMA, WINDOW, FLOOR))
                for s, q, v in zip(spectra, maps, seen, strict=True)
            ]
            motions = refine(motions, *pair, free, prior, steps.fine)
    here, still = Agreement(motions, *pair), Agreement(motion.identity(batch, a), *pair)
    evidence = [
        found.peak,
        here.ratio,
        here.ratio - still.ratio,
        clearly(here.parts, still.parts),
        clearly(here.parts, torch.zeros_like(here.parts)),
        here.seen,
        free.sum(1),
        motion.corner_distance(motions, found.similarity, size) / max(size),
    ]
    return Estimate(motions, torch.stack(evidence, 1), here.ratio)


def _freedom(model: str, like: Tensor) -> Tensor:
    counts = list(motion.MODELS.values()) if model == "auto" else [motion.MODELS[model]]
    return (torch.arange(8, device=like.device) < torch.tensor(counts, device=like.device)[:, None]).to(like.dtype)


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x[:, None], 2)[:, 0]


def _maps(a: Tensor, b: Tensor, valid_a: Tensor, valid_b: Tensor) -> tuple[list[Spectrum], list[Tensor], list[Tensor]]:
    """Spectra of two equally blurred dates, their orientation maps, and where those can be trusted."""
    spectra = [Spectrum(a), Spectrum(b)]
    for spectrum, share in zip(spectra, shares(blur_gap(a, b)), strict=True):
        spectrum.soften(share)
    reach = 3  # pixels over which a hole or a border reaches into the maps
    seen = []
    for valid in (valid_a, valid_b):
        holes = F.pad((valid < 1).to(a.dtype), (1, 1, 1, 1), value=1)[:, None]
        holes = F.max_pool2d(F.max_pool2d(holes, (2 * reach + 1, 1), 1, (reach, 0)), (1, 2 * reach + 1), 1, (0, reach))
        seen.append(1 - holes[:, 0, 1:-1, 1:-1])
    return spectra, [s.orientation(SIGMA, FLOOR) for s in spectra], seen


def _stack(orientation: Tensor, seen: Tensor, brightness: Tensor | None = None) -> Tensor:
    planes = [orientation.real, orientation.imag, *([] if brightness is None else [brightness]), seen]
    return torch.stack(planes, 1)
