"""The eight symmetries of the square, done to images: which one may differ from sample to sample.

A turn is a matrix ``(B, 2, 2)`` of integers that says where the directions x (right) and y (down) go.
"""

from collections.abc import Sequence

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
    kinds, which = turn.flatten(1).unique(dim=0, return_inverse=True)  # at most eight
    groups = [(kind, (which == k).nonzero()[:, 0]) for k, kind in enumerate(kinds.tolist())]
    return Pair(*(None if x is None else _turned(x, groups) for x in pair))  # type: ignore[arg-type]


def _turned(x: Tensor, groups: Sequence[tuple[list[int], Tensor]]) -> Tensor:
    """Each group of samples of ``x`` turned by its flattened matrix; by groups, for a choice per pixel takes longer."""
    out = torch.empty_like(x)
    for (xx, xy, yx, yy), rows in groups:
        rows = rows.to(x.device)
        some = x[rows] if xx else x[rows].transpose(-1, -2)
        mirrored = [axis for axis, sign in ((-1, xx + xy), (-2, yx + yy)) if sign < 0]
        out[rows] = some.flip(mirrored) if mirrored else some
    return out


def turns(transposed: Tensor, mirrored_x: Tensor, mirrored_y: Tensor) -> Tensor:
    """The matrices ``(B, 2, 2)`` that first transpose and then mirror, where the booleans ``(B,)`` say so."""
    x, y = (1 - 2 * mirrored.long() for mirrored in (mirrored_x, mirrored_y))
    matrix = torch.zeros(len(x), 2, 2, dtype=torch.long)
    matrix[:, 0, 0], matrix[:, 1, 1] = x * ~transposed, y * ~transposed
    matrix[:, 0, 1], matrix[:, 1, 0] = x * transposed, y * transposed
    return matrix
