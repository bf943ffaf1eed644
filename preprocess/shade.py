"""A shadow with an edge that lies on one of two dates, which no smooth field follows.

A cast shadow takes the same share of the light wherever it lies. So two levels of light explain the pair, the change
apart, where otherwise one does. Their step is a gain per channel of much the same height in all (the sky that still
lights a shadow is bluish, but what changes colour is not so restrained), and what lies on either side keeps its
texture. All of this is found on the logarithms of cells of a few pixels, ``(B, 3, h, w)``, weights ``(B, 1, h, w)``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 0.12  # of a step: what is fainter is left to the smooth field and to noise
REACH, SPACING = 2.4, 0.06  # of the levels that are tried
TINT = 0.3  # of a step, by which a channel may depart from the others
# Sides in cells of the squares whose majority a cell follows; a larger one counts where a smaller one knows nothing.
SQUARES = ((7, 1.0), (21, 0.05), (63, 1e-3))
MAJORITY = 0.8


def contrast(a: Tensor, b: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The power ``(B,)`` that takes the contrast of neighbouring cells of ``b`` to that of ``a``, and its likeness.

    No shadow touches it but at its edge, which Tukey's weight leaves out. The likeness is a correlation ``(B,)``.
    """
    x, y = (_detail(v, seen) for v in (a, b))
    p = x.new_ones(len(x), 1, 1, 1)
    for _ in range(3):
        r = x - p * y
        width = 4 * _mean(r.abs(), seen) + 1e-3
        weight = seen * (1 - (r / width).square()).clamp_min(0).square()
        p = ((_mean(x.square(), weight) + 1e-4) / (_mean(y.square(), weight) + 1e-4)).sqrt().clamp(0.4, 2.5)
    return p.flatten(), _correlation(x, y, weight)


def levels(ratio: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The two commonest levels of the log ratio: the commoner one, and the step to the other, both ``(B, 3)``."""
    r, seen = ratio.flatten(2), seen.flatten(1)
    middle = r.masked_fill(seen[:, None] < 0.5, torch.nan).nanmedian(-1, keepdim=True).values.nan_to_num(0)
    r = r - middle
    grey = r.mean(1)
    tint = (r - grey[:, None]).abs().amax(1)
    weight = seen * (1 - tint / (0.08 + TINT * grey.abs())).clamp_min(0)  # (B, N)
    tried = torch.arange(-REACH, REACH + SPACING, SPACING, device=r.device)
    near = (1 - (grey[..., None] - tried).abs() / (2 * SPACING)).clamp_min(0)
    density = (weight[:, None] @ near)[:, 0]  # (B, L)
    common = tried[density.argmax(1, keepdim=True)]
    peak = (density >= F.max_pool1d(density[:, None], 3, 1, 1)[:, 0]) & ((tried - common).abs() > LEAST)
    both = torch.cat([common, tried[(density * peak).argmax(1, keepdim=True)]], 1)
    weight = weight[:, None] * (1 - (grey[:, None] - both[..., None]).abs() / (2 * SPACING)).clamp_min(0)  # (B, 2, N)
    low, high = ((weight @ r.mT) / weight.sum(-1, keepdim=True).clamp_min(1e-6)).unbind(1)
    return low + middle[..., 0], high - low


def depth(ratio: Tensor, step: Tensor, seen: Tensor) -> Tensor:
    """How much of ``step`` ``(B, 3)`` is in each cell, ``(B, 1, h, w)`` in [0, 1].

    A cell follows the majority around it, for it may have changed; where there is none, at the edge, the cells next
    to it.

    Args:
        ratio: the log ratio, nought at the commoner level.
        step: to the other.
        seen: weights.
    """
    step = step[..., None, None]
    square = step.square().sum(1, keepdim=True).clamp_min(1e-6)
    own = ((ratio * step).sum(1, keepdim=True) / square).clamp(0, 1)
    off = (ratio - own * step).square().sum(1, keepdim=True) / (0.06 + 0.06 * square)
    weight = seen * (1 - off).clamp_min(0).square() + 1e-6
    sums = [_sums(own, weight, size) * share for size, share in SQUARES]
    total = torch.stack(sums).sum(0)
    majority = total[:, :1] / total[:, 1:]
    edge = ((_around(own, weight, 3) - 0.5) * 1.6 + 0.5).clamp(0, 1)  # steeper: the mean of three cells is blurred
    return torch.where((majority - 0.5).abs() < MAJORITY - 0.5, edge, majority.round())


def measure(ratio: Tensor, step: Tensor, depth: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The commoner level and the step from it, both ``(B, 3)``, as the cells on either side of the edge have them."""
    off = (ratio - depth * step[..., None, None]).square().mean(1, keepdim=True).sqrt()
    width = 0.15 + 0.2 * step.abs().mean(1)[:, None, None, None]
    weight = seen * (1 - (off / width).square()).clamp_min(0).square()
    low, high = ((ratio * w).sum((2, 3)) / w.sum((2, 3)).clamp_min(1e-6) for w in _sides(weight, depth))
    return low, high - low


def likeness(a: Tensor, b: Tensor, depth: Tensor, seen: Tensor) -> Tensor:
    """Correlation ``(B,)`` of the contrasts of neighbouring cells, on that side of the edge where it is less."""
    x, y = (_detail(v, seen) for v in (a, b))
    return torch.minimum(*(_correlation(x, y, weight) for weight in _sides(seen, depth)))


def _sides(weight: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    return weight * (depth < 0.1), weight * (depth > 0.9)


def _detail(x: Tensor, seen: Tensor) -> Tensor:
    x = x.mean(1, keepdim=True)
    return x - _around(x, seen, 3)


def _around(x: Tensor, weight: Tensor, size: int) -> Tensor:
    """Weighted means of ``x`` ``(B, 1, h, w)`` over squares of ``size`` cells."""
    total = _sums(x, weight, size)
    return total[:, :1] / total[:, 1:].clamp_min(1e-9)


def _sums(x: Tensor, weight: Tensor, size: int) -> Tensor:
    """Of ``x`` and ``weight`` over squares of ``size`` cells, up to a common factor, ``(B, 2, h, w)``."""
    x = torch.cat([x * weight, weight], 1)
    x = F.avg_pool2d(x, (1, size), 1, (0, size // 2))
    return F.avg_pool2d(x, (size, 1), 1, (size // 2, 0))


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum((1, 2, 3), keepdim=True) / weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-6)


def _correlation(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Weighted, of details ``(B, 1, h, w)``; nought where there are none."""
    xx, yy, xy = (_mean(v, weight) for v in (x * x, y * y, x * y))
    return (xy / (xx * yy).sqrt().clamp_min(1e-6)).flatten()
