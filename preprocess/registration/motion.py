"""Plane motions as 3x3 matrices: pixel and centred coordinates, small steps, sampling an image where a motion points.

Centred coordinates have their origin in the middle of the image and half its longer side as unit, so one matrix holds
at every level of a pyramid, and a rotation stays one where height and width differ.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MODELS = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}  # name -> degrees of freedom
NEAR = 0.05  # depth from which on a point counts as in front of the plane's horizon


def to_pixels(motion: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion ``(B, 3, 3)`` between centred coordinates of images of ``size`` as one between pixel coordinates."""
    c = _centring(*size, motion)
    matrix = torch.linalg.inv(c) @ motion @ c
    return matrix / matrix[:, 2:, 2:]


def to_centred(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`to_pixels`."""
    c = _centring(*size, matrix)
    motion = c @ matrix @ torch.linalg.inv(c)
    return motion / motion[:, 2:, 2:]


def _centring(height: int, width: int, like: Tensor) -> Tensor:
    unit = max(height, width) / 2
    rows = [[1 / unit, 0, -(width - 1) / 2 / unit], [0, 1 / unit, -(height - 1) / 2 / unit], [0, 0, 1]]
    return like.new_tensor(rows)


def axes(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Centred coordinates of the columns ``(W,)`` and of the rows ``(H,)``."""
    unit = max(height, width) / 2
    x, y = ((torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2) / unit for n in (width, height))
    return x, y


def generators(p: Tensor) -> Tensor:
    """What a unit step of each of the 8 parameters adds to x and y of the points ``p`` ``(N, 2)``: ``(2, N, 8)``.

    Shift in x and y; turn, growth; two shears; two of perspective: the first 2, 4, 6 and 8 are the four models.
    """
    x, y = p.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    along_x = [one, zero, -y, x, x, y, x * x, x * y]
    along_y = [zero, one, x, y, -y, x, x * y, y * y]
    return torch.stack([torch.stack(along_x, -1), torch.stack(along_y, -1)])


def step(d: Tensor) -> Tensor:
    """The motion ``(B, 3, 3)`` of a small step ``d`` ``(B, 8)`` in the parameters of :func:`generators`."""
    tx, ty, turn, grow, shear, skew, px, py = d.unbind(-1)
    rows = [1 + grow + shear, skew - turn, tx, skew + turn, 1 + grow - shear, ty, -px, -py, torch.ones_like(tx)]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def similarity(angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The motion ``(B, 3, 3)`` that turns by ``angle`` (radians), grows by ``scale`` and moves by ``shift`` (B, 2)."""
    c, s, zero, one = scale * angle.cos(), scale * angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, -s, shift[..., 0], s, c, shift[..., 1], zero, zero, one], -1).unflatten(-1, (3, 3))


def apply(motion: Tensor, p: Tensor) -> Tensor:
    """Where ``motion`` ``(B, 3, 3)`` takes the points ``p`` ``(N, 2)``: ``(B, N, 2)``."""
    q = p @ motion[:, :, :2].mT + motion[:, None, :, 2]
    return q[..., :2] / q[..., 2:].clamp_min(NEAR)


def sample(x: Tensor, motion: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """The values ``(B, C, H, W)`` of ``x`` where ``motion`` takes the pixels of an image of ``size``; 0 outside."""
    height, width = x.shape[-2:]
    side = max(height, width)
    column, row = axes(*size, motion)
    m = motion[..., None, None]
    u, v, depth = (m[:, i, 0] * column + (m[:, i, 1] * row[:, None] + m[:, i, 2]) for i in range(3))
    depth = depth.clamp_min(NEAR)
    where = torch.stack([u / depth * (side / width), v / depth * (side / height)], -1)
    return F.grid_sample(x, where, mode=mode, padding_mode="zeros", align_corners=False)


def corners(size: tuple[int, int], like: Tensor) -> Tensor:
    """Centred coordinates ``(4, 2)`` of the corner pixels of an image of ``size``."""
    x, y = axes(*size, like)
    return torch.stack([torch.stack([x[i], y[j]]) for i, j in ((0, 0), (-1, 0), (-1, -1), (0, -1))])


def corner_distance(motion: Tensor, other: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean distance ``(B,)``, in pixels, of where two motions take the corners of an image of ``size``."""
    p = corners(size, motion)
    return (apply(motion, p) - apply(other, p)).norm(dim=-1).mean(-1) * max(size) / 2


def identity(batch: int, like: Tensor) -> Tensor:
    """``batch`` motions that move nothing."""
    return torch.eye(3, dtype=like.dtype, device=like.device).repeat(batch, 1, 1)
