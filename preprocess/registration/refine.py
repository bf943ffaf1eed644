"""The fine motion: Gauss-Newton steps on feature maps, weighted so that what changed between the dates has no say."""

from functools import cache

import torch
from torch import Tensor

from . import motion


@cache
def _polynomials() -> tuple[Tensor, Tensor]:
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
    return first.float(), second.float()


class Moments:
    """Sums of maps ``(..., H, W)`` times powers of the coordinates: all that a normal equation needs of them."""

    def __init__(self, height: int, width: int, like: Tensor) -> None:
        exponents = torch.arange(5, dtype=like.dtype, device=like.device)
        self.x, self.y = (t[:, None] ** exponents for t in motion.axes(height, width, like))  # (W, 5), (H, 5)
        self.first, self.second = (t.to(like) for t in _polynomials())

    def normal(self, maps: Tensor) -> Tensor:
        """The matrix ``(B, 8, 8)`` of the xx, xy and yy parts ``(B, 3, H, W)`` of a structure tensor."""
        m = (maps @ self.x).mT @ self.y  # (B, 3, 5, 5): power of x, power of y
        return torch.einsum("bsk,skp->bp", m.flatten(2), self.second).unflatten(1, (8, 8))

    def right(self, maps: Tensor) -> Tensor:
        """The right-hand side ``(B, 8)`` of the x and y parts ``(B, 2, H, W)`` of slope times residual."""
        m = (maps @ self.x[:, :3]).mT @ self.y[:, :3]
        return torch.einsum("bsk,skp->bp", m.flatten(2), self.first)


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of ``x`` ``(B, C, H, W)`` in centred units, along x and along y; 0 at the border."""
    unit = max(x.shape[-2:]) / 4  # half the pixels of a unit, for the difference spans two
    gx, gy = torch.zeros_like(x), torch.zeros_like(x)
    torch.sub(x[..., 2:], x[..., :-2], out=gx[..., 1:-1]).mul_(unit)
    torch.sub(x[..., 2:, :], x[..., :-2, :], out=gy[..., 1:-1, :]).mul_(unit)
    return gx, gy


def refine(start: Tensor, a: Tensor, b: Tensor, free: Tensor, prior: Tensor, steps: int, tune: float = 1.0) -> Tensor:
    """``start`` after ``steps`` Gauss-Newton steps that bring ``b`` onto ``a``.

    Both slopes count half (ESM), which doubles the order of convergence; residuals are weighted by Geman and McClure.

    Args:
        start: motions ``(B, 3, 3)``.
        a: feature maps ``(B, C + 1, H, W)``, the last of them 1 where the others are to be trusted, else 0.
        b: the same of the other date.
        free: 1 for the parameters ``(B, 8)`` that may move, else 0.
        prior: precision ``(8,)`` of a step in units of the residual's variance.
        steps: how many.
        tune: the residual, in units of its mean square, at which a pixel loses three quarters of its weight.
    """
    size = a.shape[-2:]
    moments = Moments(*size, a)
    target, seen_a = a[:, :-1], a[:, -1]
    ax, ay = slopes(target)
    h = start
    for _ in range(steps):
        moved = motion.sample(b, h, size)
        now, seen = moved[:, :-1], seen_a * (moved[:, -1] > 0.99)
        bx, by = slopes(now)
        gx, gy, r = (ax + bx) / 2, (ay + by) / 2, target - now
        e = r.square().sum(1)
        scale = (e * seen).sum((-2, -1), keepdim=True) / seen.sum((-2, -1), keepdim=True).clamp_min(1) * tune + 1e-9
        w = seen / (1 + e / scale).square()
        normal = moments.normal(torch.stack([(gx * gx).sum(1) * w, (gx * gy).sum(1) * w, (gy * gy).sum(1) * w], 1))
        right = moments.right(torch.stack([(gx * r).sum(1) * w, (gy * r).sum(1) * w], 1))
        noise = (w * e).sum((-2, -1)) / w.sum((-2, -1)).clamp_min(1)
        h = h @ motion.step(_solve(normal, right, free, prior * noise[:, None]))
        h = h / h[:, 2:, 2:]
    return h


def _solve(normal: Tensor, right: Tensor, free: Tensor, ridge: Tensor) -> Tensor:
    """The step ``(B, 8)`` over the parameters that are ``free``."""
    mask = free[:, :, None] * free[:, None, :]
    d = torch.linalg.solve_ex(normal * mask + torch.diag_embed((1 - free) + ridge + 1e-6), right * free)[0]
    return d.clamp(-0.2, 0.2)  # nan stays nan
