"""Where a place lies on the second date: the motion between two images, with a confidence, or a refusal."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import estimation, motion
from .calibration import judged
from .features import window_max
from .flow import ENOUGH as FLOW_ENOUGH

__all__ = ["Registration", "register"]

SMALLEST = 48  # pixels of the shorter side, below which there is nothing to go by
FLAT = 7  # pixels of half resolution: a square without any difference in value is no picture of a place


class Registration(NamedTuple):
    """How the second dates of a batch lie on the first.

    Attributes:
        matrix: ``(B, 3, 3)``, float32: takes pixel coordinates (x, y, 1) of ``a`` to those of ``b``; (0, 0) is the
            centre of the upper left pixel. The identity where ``ok`` is false.
        confidence: ``(B,)``: the probability that the mean error of the four corners is at most 1.5 pixels.
        ok: ``(B,)``, bool: whether the motion is to be used, since it is probably nearer to the truth than none. On
            dates that differ much it may be so without being exact: ask the confidence.
        overlap: ``(B, H, W)``, bool: pixels of ``a`` that ``b`` shows too, both of them valid.
        residual: ``(B,)``: how much of the two dates' edges still differs in orientation, 0 (nothing) to 1 (all) or,
            where they contradict each other, above.
    """

    matrix: Tensor
    confidence: Tensor
    ok: Tensor
    overlap: Tensor
    residual: Tensor
    flow: Tensor | None = None
    flow_confidence: Tensor | None = None


@torch.no_grad()
def register(
    a: Tensor,
    b: Tensor,
    model: str = "auto",
    profile: str = "accurate",
    mask_a: Tensor | None = None,
    mask_b: Tensor | None = None,
    refine: str | None = None,
) -> Registration:
    """Estimate where each pixel of ``a`` lies in ``b``, whatever the light and whatever changed.

    Orientations of edges are correlated block by block, and the blocks vote for whole motions; the best of each model
    is refined by robust Gauss-Newton steps, and the simplest model that explains the pair is kept. A pair without
    evidence (flat, unrelated, too small) is refused: identity, confidence near 0, ``ok`` false.

    Args:
        a: images ``(B, 3, H, W)``, float in [0, 1]; pixels that are not finite count as masked.
        b: the same of the other date.
        model: ``translation``, ``similarity``, ``affine``, ``homography``, or ``auto`` to choose for each pair.
        profile: ``accurate`` or ``fast``.
        mask_a: ``(B, H, W)``, true (not 0) where a pixel of ``a`` shows something.
        mask_b: the same of ``b``.
        refine: ``flow`` to look for a smooth field of shifts that the motion leaves, as relief does.

    Raises:
        ValueError: shapes, types, ranges or names that are not these; the message says what came.
    """
    if model not in ("auto", *motion.MODELS):
        raise ValueError(f"unknown model {model!r}, expected one of: auto, {', '.join(motion.MODELS)}")
    if profile not in estimation.PROFILES:
        raise ValueError(f"unknown profile {profile!r}, expected one of: {', '.join(estimation.PROFILES)}")
    if refine not in (None, "flow"):
        raise ValueError(f"unknown refine {refine!r}, expected flow or None")
    if a.ndim != 4 or a.shape[1] != 3 or a.shape != b.shape:
        raise ValueError(
            "images to register are (B, 3, H, W), both of one size, without alpha (which goes into mask_a and mask_b); "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    size = (a.shape[-2], a.shape[-1])
    if not len(a):
        raise ValueError(f"there is nothing to register in a batch of none, got {tuple(a.shape)}")
    dates = zip(_grey(a, mask_a, "a"), _grey(b, mask_b, "b"), strict=True)
    grey, valid = _filled(*(torch.cat(both) for both in dates))
    still = motion.identity(len(a), grey)
    valid_a, valid_b = valid.chunk(2)
    if min(size) < SMALLEST:
        none = torch.zeros(len(a), device=a.device)
        flow = (torch.zeros(len(a), 2, *size, device=a.device), none) if refine else (None, None)
        return Registration(still, none, none > 0, valid_a & valid_b, torch.ones_like(none), *flow)
    # every level is to halve the one before; what is added shows nothing
    unit = estimation.granularity(size)
    padding = (0, -size[1] % unit, 0, -size[0] % unit)
    grey, shown = F.pad(grey[:, None], padding, mode="replicate")[:, 0], F.pad(valid.to(grey.dtype), padding)
    found = estimation.estimate(grey, shown, model, profile, refine == "flow")
    sure, ok = judged(found.evidence, profile)
    padded = (grey.shape[-2], grey.shape[-1])
    matrix = torch.where(ok[:, None, None], motion.to_pixels(found.motion, padded), still)
    field, flow_sure = None, None
    if found.flow is not None:
        field, flow_sure = found.flow
        flow_sure = torch.where(ok, flow_sure, 0.0).nan_to_num()
        field = F.interpolate(field * (max(padded) / 2), padded, mode="bilinear", align_corners=False)
        field = torch.where((flow_sure >= FLOW_ENOUGH)[:, None, None, None], field, 0.0)[..., : size[0], : size[1]]
    shown_b, centred = valid_b[:, None].to(matrix.dtype), motion.to_centred(matrix, size)[:, None]
    seen = motion.sample(shown_b, centred, size, None if field is None else field * (2 / max(size)))
    overlap = valid_a & (motion.inside(seen[:, 0, 0]) > 0)
    return Registration(matrix, sure, ok, overlap, 1 - found.agreement.nan_to_num(), field, flow_sure)


def _grey(x: Tensor, mask: Tensor | None, name: str) -> tuple[Tensor, Tensor]:
    """Mean of the channels ``(B, H, W)``, in float32, and where it can be trusted."""
    if not x.is_floating_point():
        raise ValueError(
            f"images to register are float in [0, 1], got {name} as {x.dtype}: divide by its largest value"
        )
    if mask is not None and mask.shape != (len(x), *x.shape[-2:]):
        raise ValueError(f"mask_{name} is (B, H, W) of its images {tuple(x.shape)}, got {tuple(mask.shape)}")
    x = x.float()
    valid = torch.ones(len(x), *x.shape[-2:], dtype=torch.bool, device=x.device) if mask is None else mask.bool()
    low, high = x.amin(), x.amax()
    grey = (x[:, 0] + x[:, 1] + x[:, 2]) / 3  # a mean over the channels is slow where they lie last in memory
    if not (low > -torch.inf and high < torch.inf):  # nan is neither
        known = grey.abs() < torch.inf
        valid, x = valid & known, torch.where(known[:, None], x, 0.0)
        low, high = x.amin(), x.amax()
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(f"images to register are in [0, 1], got {name} from {low:g} to {high:g}")
    return grey, valid


def _filled(grey: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Images ``(B, H, W)`` with their mean where they show nothing, and where they show something."""
    if min(grey.shape[-2:]) > 2 * FLAT:
        valid = valid & ~_flat(grey)
    if valid.all():
        return grey, valid
    weight = valid.to(grey.dtype)
    count = weight.sum((-2, -1), keepdim=True).clamp_min(1)
    mean = torch.where(valid, grey, 0.0).sum((-2, -1), keepdim=True) / count
    return torch.where(valid, grey, mean), valid


def _flat(x: Tensor) -> Tensor:
    """Where ``x`` ``(B, H, W)`` lies in a square of one value ``(B, H, W)``: no data, or as good as none."""
    total = F.pad(x[:, None], (0, x.shape[-1] % 2, 0, x.shape[-2] % 2), mode="replicate")[:, 0]
    high, low = _largest_of_four(total), _largest_of_four(-total)  # low with the other sign
    if not (_even_squares(high) == -_even_squares(low)).any():  # of these every such square holds one: there is none
        return torch.zeros_like(x, dtype=torch.bool)
    high, low = window_max(high, FLAT), window_max(low, FLAT)
    corner = (high == -low).to(torch.uint8)  # where such a square begins
    inside = window_max(F.pad(corner, (FLAT - 1,) * 4), FLAT) > 0
    height, width = inside.shape[-2:]
    inside = inside[:, :, None, :, None].expand(-1, -1, 2, -1, 2).reshape(-1, 2 * height, 2 * width)
    return inside[:, : x.shape[-2], : x.shape[-1]]


def _even_squares(x: Tensor) -> Tensor:
    """The largest value of each square of 2 x 2 that begins at an even place; an odd row or column is left out."""
    return _largest_of_four(x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2])


def _largest_of_four(x: Tensor) -> Tensor:
    """``x`` ``(B, H, W)`` at half resolution: the largest value of each square of 2 x 2."""
    rows = torch.maximum(x[:, ::2], x[:, 1::2])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])
