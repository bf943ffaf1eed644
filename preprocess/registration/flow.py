"""What a plane motion leaves: a smooth field of small shifts, as relief seen from two sides makes it."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import motion
from .features import ANGLE
from .refine import equations
from .select import Agreement, clearly

WINDOWS = (16.0, 12.0, 10.0, 10.0)  # pixels of the maps: sigma of the window of each step
TUNE = 0.4  # see refine: what changed loses its weight soon
RIDGE = 0.15  # of the mean structure: where a window shows less than that, the field stays near 0
# The logistic of the standard errors by which parts of the image agree better, fitted on real pairs with smooth fields
# of 0 to 4 pixels put in: what changed draws a field after it too, so little gain is little evidence
MIDDLE, SLOPE = 1.0, 0.31
ENOUGH = 0.7  # confidence below which there is no field


def dense(motions: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The field of shifts that motions leave, by windowed least squares (Lucas and Kanade 1981) with robust weights.

    Args:
        motions: ``(B, 3, 3)``.
        a: feature maps ``(B, C + 1, H, W)``, the last of them 1 where the others are to be trusted, else 0.
        b: the same of the other date.

    Returns:
        The field ``(B, 2, H, W)`` in centred units: p of ``a`` lies where the motion takes p plus the field at p; and
        the probability ``(B,)`` that it is nearer to the truth than no field.
    """
    size = (a.shape[-2], a.shape[-1])
    motions = motions[:, None]
    field = a.new_zeros(len(a), 2, *size)
    for sigma in WINDOWS:
        moved = motion.sample(b, motions, size, field)
        terms, _ = equations(a[:, :-1, None], moved[:, :-1], a[:, -1:] * motion.inside(moved[:, -1]), TUNE)
        terms = F.pad(terms[:, 0], (1, 1, 1, 1))  # at the border there is no slope
        xx, xy, yy, xr, yr = _smooth(terms, sigma).unbind(1)  # (B, H, W) each
        ridge = RIDGE * (xx + yy).mean((-2, -1), keepdim=True) / 2 + 1e-6
        xx, yy = xx + ridge, yy + ridge
        step = torch.stack([yy * xr - xy * yr, xx * yr - xy * xr], 1) / (xx * yy - xy * xy).clamp_min(1e-9)[:, None]
        field = _smooth(field + step, sigma / 2)
    # in units of the energy, for a field between the pixels blurs what it samples
    both = (Agreement(motions, a, b, ANGLE, f) for f in (field, None))
    with_it, without = (x.parts[:, 0] / x.energy for x in both)
    return field, (SLOPE * (clearly(with_it, without) - MIDDLE)).sigmoid()


@lru_cache(maxsize=64)
def _window(sigma: float, side: int, device: torch.device) -> Tensor:
    """The rows ``(N, N)`` of a Gaussian at each place of a line; those of the borders are cut and sum to one too."""
    at = torch.arange(side, dtype=torch.float32, device=device)
    rows = torch.exp(-(at - at[:, None]).square() / (2 * sigma**2))
    return rows / rows.sum(1, keepdim=True)


def _smooth(x: Tensor, sigma: float) -> Tensor:
    """``x`` ``(..., H, W)`` under a Gaussian."""
    rows, columns = (_window(sigma, n, x.device) for n in x.shape[-2:])
    return rows @ x @ columns.mT


def inverse(matrix: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix ``(B, 3, 3)`` and field ``(B, 2, H, W)``, in pixels, that lead from ``b`` back to ``a``.

    The point p of ``a`` that lies at q of ``b`` is found by the fixed point of p = matrix^-1 q - field(p).
    """
    size = (field.shape[-2], field.shape[-1])
    back = torch.linalg.inv(matrix)
    q = motion.grid(size, matrix.device)  # (H * W, 2)
    start = motion.apply(back, q)
    p = start
    for _ in range(6):
        where = (2 * p + 1) / p.new_tensor([size[1], size[0]]) - 1
        shifts = F.grid_sample(field, where[:, None], padding_mode="border", align_corners=False)
        p = start - shifts[:, :, 0].mT
    return back, (motion.apply(matrix, p) - q).mT.unflatten(-1, size)
