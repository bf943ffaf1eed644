"""Plane motions as 3x3 matrices: pixel and centred coordinates, small steps, sampling an image where a motion points.

Centred coordinates have their origin in the middle of the image and half its longer side as unit, so one matrix holds
at every level of a pyramid, and a rotation stays one where height and width differ.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MODELS = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}  # name -> degrees of freedom
NEAR = 0.05  # depth from which on a point counts as in front of the plane's horizon


def to_pixels(motion: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion ``(B, 3, 3)`` between centred coordinates of images of ``size`` as one between pixel coordinates."""
    c = _centring(*size, motion.device)
    matrix = torch.linalg.inv(c) @ motion @ c
    return matrix / matrix[:, 2:, 2:]


def to_centred(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`to_pixels`."""
    c = _centring(*size, matrix.device)
    motion = c @ matrix @ torch.linalg.inv(c)
    return motion / motion[:, 2:, 2:]


@lru_cache(maxsize=64)
def _centring(height: int, width: int, device: torch.device) -> Tensor:
    unit = max(height, width) / 2
    rows = [[1 / unit, 0, -(width - 1) / 2 / unit], [0, 1 / unit, -(height - 1) / 2 / unit], [0, 0, 1]]
    return torch.tensor(rows, device=device)


@lru_cache(maxsize=64)
def axes(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centred coordinates of the columns ``(W,)`` and of the rows ``(H,)``."""
    unit = max(height, width) / 2
    x, y = ((torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2) / unit for n in (width, height))
    return x, y


@lru_cache(maxsize=64)
def _points(height: int, width: int, device: torch.device) -> Tensor:
    """Homogeneous centred coordinates ``(3, H * W)`` of the pixels of an image, row by row."""
    x, y = axes(height, width, device)
    columns, rows = torch.broadcast_tensors(x, y[:, None])
    return torch.stack([columns, rows, torch.ones_like(columns)]).flatten(1)


def generators(p: Tensor) -> Tensor:
    """What a unit step of each of the 8 parameters adds to x and y of the points ``p`` ``(N, 2)``: ``(2, N, 8)``.

    Shift in x and y; turn, growth; two shears; two of perspective: the first 2, 4, 6 and 8 are the four models.
    """
    x, y = p.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    along_x = [one, zero, -y, x, x, y, x * x, x * y]
    along_y = [zero, one, x, y, -y, x, x * y, y * y]
    return torch.stack([torch.stack(along_x, -1), torch.stack(along_y, -1)])


@lru_cache(maxsize=16)
def freedom(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """1 for the parameters ``(M, 8)`` that models of so many degrees of freedom may move, else 0."""
    return (torch.arange(8) < torch.tensor(counts)[:, None]).float().to(device)


@lru_cache(maxsize=8)
def _steps(device: torch.device) -> tuple[Tensor, Tensor]:
    """The nine numbers of the identity ``(9,)``, and what each parameter of :func:`generators` adds: ``(8, 9)``."""
    at = {0: [(2, 1)], 1: [(5, 1)], 2: [(1, -1), (3, 1)], 3: [(0, 1), (4, 1)]}  # shift, turn, growth
    at |= {4: [(0, 1), (4, -1)], 5: [(1, 1), (3, 1)], 6: [(6, -1)], 7: [(7, -1)]}  # shears, perspective
    table = torch.zeros(8, 9)
    for parameter, entries in at.items():
        for entry, sign in entries:
            table[parameter, entry] = sign
    return torch.eye(3, device=device).flatten(), table.to(device)


def step(d: Tensor) -> Tensor:
    """The motions ``(..., 3, 3)`` of small steps ``d`` ``(..., 8)`` in the parameters of :func:`generators`."""
    still, table = _steps(d.device)
    return (still + d @ table).unflatten(-1, (3, 3))


def parameters(h: Tensor) -> Tensor:
    """Those ``(..., 8)`` of the step that motions ``h`` ``(..., 3, 3)`` are, which end in 1."""
    still, table = _steps(h.device)
    return (h.flatten(-2) - still) @ table.T / table.square().sum(1)


def apply(motion: Tensor, p: Tensor) -> Tensor:
    """Where ``motion`` ``(B, 3, 3)`` takes the points ``p``, ``(N, 2)`` or ``(B, N, 2)``: ``(B, N, 2)``."""
    q = p @ motion[:, :, :2].mT + motion[:, None, :, 2]
    return q[..., :2] / q[..., 2:].clamp_min(NEAR)


def grid(size: tuple[int, int], device: torch.device) -> Tensor:
    """Pixel coordinates ``(H * W, 2)`` of an image of ``size``, row by row."""
    columns, rows = (torch.arange(n, dtype=torch.float32, device=device) for n in (size[1], size[0]))
    return torch.stack(torch.broadcast_tensors(columns, rows[:, None]), -1).flatten(0, 1)


def sample(x: Tensor, motions: Tensor, size: tuple[int, int], field: Tensor | None = None) -> Tensor:
    """The values ``(B, C, M, h, w)`` of ``x`` where motions take the pixels of an image of ``size``; 0 outside.

    Args:
        x: images ``(B, C, H, W)``.
        motions: ``(B, M, 3, 3)``.
        size: h and w.
        field: shifts ``(B, 2, h, w)`` that are added to the pixels first, in centred units.
    """
    height, width = x.shape[-2:]
    side = max(height, width)
    stretched = motions * motions.new_tensor([side / width, side / height, 1])[:, None]  # to grid_sample's -1 to 1
    points = _points(*size, x.device)
    if field is not None:
        points = (points + F.pad(field.flatten(2), (0, 0, 0, 1)))[:, None]
    at = stretched @ points  # (B, M, 3, h * w)
    where = (at[:, :, :2] / at[:, :, 2:].clamp_min(NEAR)).mT
    # one tall image of the M views: x is read as it is, not copied M times
    values = F.grid_sample(x, where.flatten(1, 2)[:, None], padding_mode="zeros", align_corners=False)
    return values.unflatten(-1, (motions.shape[1], *size))[:, :, 0]


def inside(seen: Tensor) -> Tensor:
    """1 where all that was sampled is to be trusted, else 0, of samples of a map of 1 and 0."""
    return (seen + 0.01).floor()


def corners(size: tuple[int, int], like: Tensor) -> Tensor:
    """Centred coordinates ``(4, 2)`` of the corner pixels of an image of ``size``."""
    x, y = axes(*size, like.device)
    return torch.stack([torch.stack([x[i], y[j]]) for i, j in ((0, 0), (-1, 0), (-1, -1), (0, -1))])


def corner_distance(motion: Tensor, other: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean distance ``(B,)``, in pixels, of where two motions take the corners of an image of ``size``."""
    p = corners(size, motion)
    return (apply(motion, p) - apply(other, p)).norm(dim=-1).mean(-1) * max(size) / 2


def identity(batch: int, like: Tensor) -> Tensor:
    """``batch`` motions that move nothing."""
    return torch.eye(3, dtype=like.dtype, device=like.device).repeat(batch, 1, 1)
