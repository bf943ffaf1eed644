"""The fine motion: Gauss-Newton steps on feature maps, weighted so that what changed between the dates has no say."""

from functools import lru_cache

import torch
from torch import Tensor

from . import motion


@lru_cache(maxsize=8)
def _polynomials(device: torch.device) -> tuple[Tensor, Tensor]:
    """The generators as polynomials, and their products.

    Returns:
        ``(2, 9, 8)``: the coefficient of x^i y^j, row 3 i + j, in what each parameter adds to x and to y.
        ``(3, 25, 64)``: that of x^i y^j, row 5 i + j, in the products of two generators: the xx, xy and yy parts of the
        normal matrix.
    """
    grid = torch.linspace(-1, 1, 7, dtype=torch.float64)
    p = torch.cartesian_prod(grid, grid)
    powers = [torch.stack([p[:, 0] ** i * p[:, 1] ** j for i in range(n) for j in range(n)], -1) for n in (3, 5)]
    x, y = motion.generators(p)
    pairs = [u[:, :, None] * v[:, None, :] for u, v in ((x, x), (x, y), (y, y))]
    pairs[1] = pairs[1] + pairs[1].mT
    first = torch.linalg.pinv(powers[0]) @ torch.stack([x, y])
    second = torch.linalg.pinv(powers[1]) @ torch.stack(pairs).flatten(2)
    return first.float().to(device), second.float().to(device)


@lru_cache(maxsize=64)
def _powers(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Powers 0 to 4 of the coordinates of the inner columns ``(W - 2, 5)`` and of the inner rows ``(H - 2, 5)``."""
    x, y = (t[1:-1, None] ** torch.arange(5, device=device) for t in motion.axes(height, width, device))
    return x, y


def _moments(maps: Tensor) -> Tensor:
    """Sums of inner maps ``(B, M, K, H - 2, W - 2)`` times x^i y^j: all that a normal equation needs of them.

    ``(B, M, K, 5, 5)``.
    """
    x, y = _powers(maps.shape[-2] + 2, maps.shape[-1] + 2, maps.device)
    return (maps @ x).mT @ y


def inner(x: Tensor) -> Tensor:
    """``x`` ``(..., H, W)`` but for its border of one pixel, where it has no slope."""
    return x[..., 1:-1, 1:-1]


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes along x and y, in centred units, of the mean of two maps, by their sum ``x``: of its inner pixels."""
    unit = max(x.shape[-2:]) / 8  # half for the mean, half for the difference that spans two pixels
    along_x = x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    along_y = x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    return along_x.mul_(unit), along_y.mul_(unit)


def dot(u: Tensor, v: Tensor) -> Tensor:
    """``(u * v).sum(1)`` of maps ``(B, C, ...)``, in a fraction of its time."""
    total = u[:, 0] * v[:, 0]
    for i in range(1, u.shape[1]):
        total.addcmul_(u[:, i], v[:, i])
    return total


def robust(r: Tensor, seen: Tensor, tune: float) -> tuple[Tensor, Tensor]:
    """Weights of Geman and McClure ``(B, M, H, W)`` of residuals ``(B, C, M, H, W)``, and their mean square ``(B, M)``.

    ``seen`` ``(B, M, H, W)`` is 1 where a residual counts, else 0; for ``tune`` see :func:`refine`.
    """
    e = dot(r, r)
    scale = (e * seen).sum((-2, -1)) / seen.sum((-2, -1)).clamp_min(1) * tune + 1e-9
    w = seen / (e / scale[..., None, None]).add_(1).square_()
    return w, e.mul_(w).sum((-2, -1)) / w.sum((-2, -1)).clamp_min(1)


def equations(target: Tensor, now: Tensor, seen: Tensor, tune: float) -> tuple[Tensor, Tensor]:
    """What each pixel adds to the normal equations of the shift from ``now`` to ``target``, weighted, and the noise.

    Args:
        target: feature maps ``(B, C, 1, H, W)``.
        now: what is to become like them, ``(B, C, M, H, W)``.
        seen: ``(B, M, H, W)``, 1 where both are to be trusted, else 0.
        tune: see :func:`refine`.

    Returns:
        ``(B, M, 5, H - 2, W - 2)``: products of the slopes, xx, xy, yy, and of them with the residual, x, y; and the
        residual's mean square ``(B, M)``.
    """
    gx, gy = slopes(target + now)
    r = inner(target) - inner(now)
    w, noise = robust(r, inner(seen), tune)
    products = torch.stack([dot(u, v) for u, v in ((gx, gx), (gx, gy), (gy, gy), (gx, r), (gy, r))], 2)
    return products.mul_(w[:, :, None]), noise


def refine(start: Tensor, a: Tensor, b: Tensor, free: Tensor, prior: Tensor, steps: int, tune: float = 1.0) -> Tensor:
    """``start`` after ``steps`` Gauss-Newton steps that bring ``b`` onto ``a``.

    Both slopes count half (ESM), which doubles the order of convergence; residuals are weighted by Geman and McClure.

    Args:
        start: motions ``(B, M, 3, 3)``.
        a: feature maps ``(B, C + 1, H, W)``, the last of them 1 where the others are to be trusted, else 0.
        b: the same of the other date.
        free: 1 for the parameters ``(B or 1, M, 8)`` that may move, else 0.
        prior: precision ``(8,)``, in units of the residual's variance, of the parameters of a motion, expected at 0.
        steps: how many.
        tune: the residual, in units of its mean square, at which a pixel loses three quarters of its weight.
    """
    may = free[..., :, None] * free[..., None, :]
    h = start
    for _ in range(steps):
        h = advance(h, a, b, may, prior, tune)
    return h


def advance(h: Tensor, a: Tensor, b: Tensor, may: Tensor, prior: Tensor, tune: float) -> Tensor:
    """One step of :func:`refine`; ``may`` ``(B or 1, M, 8, 8)`` is 1 where both parameters are free."""
    first, second = _polynomials(b.device)
    moved = motion.sample(b, h, (b.shape[-2], b.shape[-1]))  # (B, C + 1, M, H, W)
    seen = a[:, -1:] * motion.inside(moved[:, -1])  # (B, M, H, W)
    terms, noise = equations(a[:, :-1, None], moved[:, :-1], seen, tune)
    sums = _moments(terms)
    normal = (sums[:, :, :3].flatten(2) @ second.flatten(0, 1)).unflatten(-1, (8, 8)) * may
    right = sums[:, :, 3:, :3, :3].flatten(2) @ first.flatten(0, 1)
    free = may.diagonal(dim1=-2, dim2=-1)
    hold = prior * noise[..., None]
    ridge = (1 - free) + hold + 1e-6
    right = right - hold * motion.parameters(h)
    d = torch.linalg.solve_ex(normal + torch.diag_embed(ridge), right * free)[0]
    h = h @ motion.step(d.clamp(-0.2, 0.2))  # nan stays nan
    return h / h[..., 2:, 2:]
