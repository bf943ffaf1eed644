"""The eight symmetries of the square, done to images: which one may differ from sample to sample.

A turn is a matrix ``(B, 2, 2)`` of integers that says where the directions x (right) and y (down) go.
"""

import torch
from torch import Tensor

from .pair import Pair


def turned(pair: Pair, turn: Tensor) -> Pair:
    """A batched ``pair``, each sample turned by its own matrix of ``turn`` ``(B, 2, 2)``; no pixel changes.

    Raises:
        ValueError: rows would become columns where the images are not square.
    """
    transposed = turn[:, 0, 0] == 0
    h, w = pair.a.shape[-2:]
    if h != w and bool(transposed.any()):
        raise ValueError(f"a transposition or a quarter turn needs square images, got {h} x {w} (height x width)")
    return Pair(*(None if x is None else _turned(x, turn.to(x.device)) for x in pair))  # type: ignore[arg-type]


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    per_sample = turn.unflatten(0, (-1, *[1] * (x.ndim - 1)))  # (B, 1, ..., 2, 2)
    columns, rows = per_sample.sum(-1).unbind(-1)  # each 1, or -1 where it is mirrored
    if x.shape[-1] == x.shape[-2]:
        x = torch.where(per_sample[..., 0, 0] == 0, x.transpose(-1, -2), x)
    x = torch.where(columns < 0, x.flip(-1), x)
    return torch.where(rows < 0, x.flip(-2), x)


def turns(transposed: Tensor, mirrored_x: Tensor, mirrored_y: Tensor) -> Tensor:
    """The matrices ``(B, 2, 2)`` that first transpose and then mirror, where the booleans ``(B,)`` say so."""
    x, y = (1 - 2 * mirrored.long() for mirrored in (mirrored_x, mirrored_y))
    matrix = torch.zeros(len(x), 2, 2, dtype=torch.long)
    matrix[:, 0, 0], matrix[:, 1, 1] = x * ~transposed, y * ~transposed
    matrix[:, 0, 1], matrix[:, 1, 0] = x * transposed, y * transposed
    return matrix
