"""From uniform numbers to the parameters of the operators: what one level of a corruption may look like.

Every function takes numbers ``u`` ``(B, n)`` in [0, 1), float64 on the CPU, and a level, and returns the arguments of
an operator, each ``(B, ...)``. The level decides how bad it is and the numbers decide in which way, so that a pair only
gets worse from one level to the next.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .step import Parameters

PX = 1 / 256  # lengths are given in pixels of an image of this side
_OCTAVES = (4, 8, 16, 32)  # nodes along a side of the lattices that clouds are the sum of
_RELIEF, _VEIL, _FINE = 4, 4, 64  # nodes of other lattices; and where one is looked at between its nodes
NUMBERS = 1 + sum(n * n for n in _OCTAVES)  # that any of these takes at most
SEED = 2.0**53  # of these are the numbers that a float64 in [0, 1) is drawn from


def sign(u: Tensor) -> Tensor:
    """-1 or 1, ``(B,)``."""
    return torch.where(u[:, 0] < 0.5, -1.0, 1.0).double()


def same(u: Tensor, value: float) -> Tensor:
    """The same ``value`` for every image, ``(B,)``."""
    return torch.full_like(u[:, 0], value)


def shadow(u: Tensor, strength: float) -> Parameters:
    """A band of any direction, somewhere near the middle."""
    return {
        "strength": same(u, strength),
        "angle": _direction(u[:, 0]),
        "offset": 0.5 * u[:, 1] - 0.25,
        "width": 0.3 + 0.3 * u[:, 2],
        "wave": _direction(u[:, 3]),
    }


def haze(u: Tensor, depth: float) -> Parameters:
    """Haze of half to one and a half times the mean thickness, lit as brightly as bright ground or brighter."""
    thickness = 0.5 + u[:, 1 : 1 + _VEIL**2].unflatten(1, (_VEIL, _VEIL))
    thickness = thickness / thickness.mean((1, 2), keepdim=True)
    return {"depth": same(u, depth), "thickness": thickness, "airlight": 0.75 + 0.2 * u[:, 0]}


def clouds(u: Tensor, cover: float) -> Parameters:
    """Fractal clouds that hide a share ``cover`` of the image."""
    density, used = torch.zeros(len(u), _FINE, _FINE, dtype=u.dtype), 1
    for n in _OCTAVES:
        octave = u[:, used : used + n * n].unflatten(1, (n, n))
        density = density + _between(octave) * (_OCTAVES[0] / n)  # 1 / f: as rough at every scale
        used += n * n
    density = density * (2.5 + 3.5 * u[:, 0, None, None])  # softer or sharper edges
    return {"density": density, "threshold": torch.quantile(density.flatten(1), 1 - cover, dim=1)}


def motion(u: Tensor, length: float) -> Parameters:
    """A straight path of any direction."""
    return {"length": same(u, length * PX), "angle": math.pi * u[:, 0]}


def noise(u: Tensor, deviation: float) -> Parameters:
    """Noise of a seed of its own for every image."""
    return {"deviation": same(u, deviation), "seed": (u[:, 0] * SEED).long()}


def translation(u: Tensor, length: float) -> Parameters:
    """A shift by ``length`` in any direction."""
    matrix = torch.eye(3, dtype=u.dtype).repeat(len(u), 1, 1)
    matrix[:, :2, 2] = length * PX * _unit(u[:, 0])
    return {"matrix": matrix}


def viewpoint(u: Tensor, length: float) -> Parameters:
    """A similarity or a perspective, either as likely, that moves the corners by ``length`` on average."""
    distance = length * PX
    c, s = (2**0.5 * distance * _unit(u[:, 1])).unbind(1)  # the corners are 1/sqrt(2) from the middle
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    similar = torch.stack([1 + c, -s, zero, s, 1 + c, zero, zero, zero, one], 1).unflatten(1, (3, 3))
    radius = u[:, 2:6].sqrt()  # uniform in a disc
    offsets = radius[..., None] * _unit(u[:, 6:10])  # (B, 4, 2)
    offsets = offsets * distance / radius.mean(1)[:, None, None]
    corners = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=u.dtype)
    perspective = _homography(corners, corners + offsets)
    return {"matrix": torch.where(u[:, 0, None, None] < 0.5, similar, perspective)}


def parallax(u: Tensor, length: float) -> Parameters:
    """Hills and valleys seen from any side, displaced by ``length`` on average; as a whole they stay in place."""
    relief = u[:, 1 : 1 + _RELIEF**2].unflatten(1, (_RELIEF, _RELIEF))
    relief = relief - _between(relief).mean((1, 2), keepdim=True)
    relief = relief / _between(relief).abs().mean((1, 2), keepdim=True)
    return {"relief": relief, "shift": length * PX * _unit(u[:, 0])}


def _direction(u: Tensor) -> Tensor:
    return 2 * math.pi * u


def _unit(u: Tensor) -> Tensor:
    """Vectors ``(..., 2)`` of length 1 in any direction."""
    return torch.stack([_direction(u).cos(), _direction(u).sin()], -1)


def _between(lattice: Tensor) -> Tensor:
    """A lattice ``(B, n, n)`` on a finer one, as :mod:`.operators` spans it over an image."""
    return F.interpolate(lattice[:, None], (_FINE, _FINE), mode="bicubic", align_corners=True)[:, 0]


def _homography(source: Tensor, target: Tensor) -> Tensor:
    """The matrix ``(B, 3, 3)`` that takes four points ``(4, 2)`` to ``(B, 4, 2)``."""
    x, y = (v.expand(len(target), 4) for v in source.T)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    to_x = torch.stack([x, y, one, zero, zero, zero, -x * target[..., 0], -y * target[..., 0]], 2)
    to_y = torch.stack([zero, zero, zero, x, y, one, -x * target[..., 1], -y * target[..., 1]], 2)
    solved = torch.linalg.solve(torch.cat([to_x, to_y], 1), target.transpose(1, 2).flatten(1))
    return torch.cat([solved, one[:, :1]], 1).unflatten(1, (3, 3))
