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
SQUARES = ((7, 1.0), (21, 6e-3), (63, 1e-5))
MAJORITY = 0.8
FLAT = 0.02  # deviation of details that are no texture


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


def levels(ratio: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two commonest levels of the log ratio: the commoner one, the step to the other ``(B, 3)``, their share.

    The share ``(B,)`` is nought where the step is none that a shadow makes.
    """
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
    share = weight.sum((1, 2)) / seen.sum(1).clamp_min(1e-6)
    return low + middle[..., 0], high - low, share * _is_shadow(high - low)


def _is_shadow(step: Tensor) -> Tensor:
    """Whether ``(B,)`` all channels step alike, red most and blue least if they differ, as the sky is grey or blue."""
    size = step.mean(1, keepdim=True)
    share = step / torch.where(size.abs() > LEAST, size, 1)
    ordered = (share[:, :-1] - share[:, 1:] > -0.1).all(1)
    return (size[:, 0].abs() > LEAST) & ordered & ((share - 1).abs().amax(1) < TINT)


def depth(ratio: Tensor, step: Tensor, seen: Tensor, trust: Tensor) -> Tensor:
    """How much of ``step`` ``(B, 3)`` is in each cell, ``(B, 1, h, w)`` in [0, 1].

    A cell follows the majority around it, for it may have changed; where there is none, at the edge, it follows the
    cells next to it.

    Args:
        ratio: the log ratio, nought at the commoner level.
        step: to the other.
        seen: weights at the edge.
        trust: weights for the majority.
    """
    step = step[..., None, None]
    square = step.square().sum(1, keepdim=True).clamp_min(1e-6)
    own = ((ratio * step).sum(1, keepdim=True) / square).clamp(0, 1)
    off = (ratio - own * step).square().sum(1, keepdim=True) / (0.06 + 0.06 * square)
    fits = (1 - off).clamp_min(0).square()
    weight = trust * fits + 1e-6
    total = torch.stack([_sums(own, weight, size) * share for size, share in SQUARES]).sum(0)
    majority = total[:, :1] / total[:, 1:]
    near = _around(own, seen * fits + 1e-6, 3)
    edge = torch.where(fits > 0.3, own, near)
    return torch.where((majority - 0.5).abs() < MAJORITY - 0.5, edge, majority.round())


def measure(ratio: Tensor, step: Tensor, depth: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
    """The commoner level and the step from it, both ``(B, 3)``, as the cells on either side of the edge have them."""
    off = (ratio - depth * step[..., None, None]).square().mean(1, keepdim=True).sqrt()
    width = 0.15 + 0.2 * step.abs().mean(1)[:, None, None, None]
    weight = trust * (1 - (off / width).square()).clamp_min(0).square()
    low, high = ((ratio * w).sum((2, 3)) / w.sum((2, 3)).clamp_min(1e-6) for w in _sides(weight, depth))
    return low, high - low


def kept(a: Tensor, b: Tensor, seen: Tensor) -> Tensor:
    """How well the texture around a cell is the same in both, ``(B, 1, h, w)`` in [0, 1]: 0 from half of it on down.

    Where there is no texture it is 1.
    """
    x, y = (_detail(v, seen) for v in (a, b))
    both = _around(x * y, seen, 5)
    own = _around(x * x + y * y, seen, 5)
    return (2 * (2 * both + FLAT**2) / (own + FLAT**2) - 1).clamp(0, 1)


def least(kept: Tensor, depth: Tensor, seen: Tensor) -> Tensor:
    """Mean ``(B,)`` of what is :func:`kept`, on that side of the edge where it is less."""
    return torch.minimum(*(_mean(kept, weight).flatten() for weight in _sides(seen, depth)))


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
    """Of ``x`` and ``weight`` over squares of ``size`` cells, ``(B, 2, h, w)``."""
    rows, columns = (_band(n, size, x) for n in x.shape[-2:])
    return rows @ torch.cat([x * weight, weight], 1) @ columns


def _band(n: int, size: int, like: Tensor) -> Tensor:
    """Ones ``(n, n)`` within ``size // 2`` of the diagonal: a product with it costs less than a wide pooling."""
    index = torch.arange(n, device=like.device)
    return ((index[:, None] - index).abs() <= size // 2).to(like)


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum((1, 2, 3), keepdim=True) / weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-6)


def _correlation(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Weighted, of details ``(B, 1, h, w)``; nought where there are none."""
    xx, yy, xy = (_mean(v, weight) for v in (x * x, y * y, x * y))
    return (xy / (xx * yy).sqrt().clamp_min(1e-6)).flatten()
