"""Degradations of known severity, for measuring what a captioner survives.

What happens to a pair is a function of data set, pair, corruption, severity and seed alone: parameters are drawn on the
CPU from a generator of the pair's own, whatever batch or order it comes in and wherever it is computed. The draw is the
same at every severity, so that a pair only gets worse. Maps move with geometry and never change with light. What each
severity does to an image is printed by ``benchmarks.corruptions``.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

from . import operators
from .pair import Pair

SIDES = ("a", "b", "both")
_DRAWS = 12  # uniform numbers a pair, more than any corruption needs
_PX = 1 / 256  # lengths below are pixels of an image of this side

Parameters = dict[str, Tensor]  # each (B, ...)


class Corruption(NamedTuple):
    """One way in which images of a place differ.

    ``levels`` are the five severities in the words of ``unit``. ``draw`` makes the parameters of B images of uniform
    numbers ``(B, 12)`` and a level; ``apply`` takes images and these. Of geometry the parameter is a ``matrix``.
    """

    levels: tuple[float, float, float, float, float]
    unit: str
    draw: Callable[[Tensor, float], Parameters]
    apply: Callable[..., Tensor]

    @property
    def is_geometry(self) -> bool:
        """Whether maps move with the images."""
        return self.apply is operators.warp


def _direction(u: Tensor) -> Tensor:
    return 2 * math.pi * u


def _sign(u: Tensor) -> Tensor:
    return torch.where(u < 0.5, -1.0, 1.0).double()


def _translation(u: Tensor, length: float) -> Parameters:
    angle = _direction(u[:, 0])
    matrix = torch.eye(3, dtype=u.dtype).repeat(len(u), 1, 1)
    matrix[:, :2, 2] = length * _PX * torch.stack([angle.cos(), angle.sin()], 1)
    return {"matrix": matrix}


def _viewpoint(u: Tensor, length: float) -> Parameters:
    """A similarity or a perspective, either as likely, that moves the corners by ``length`` on average."""
    distance = length * _PX
    turn = _direction(u[:, 1])
    c, s = (2**0.5 * distance * part for part in (turn.cos(), turn.sin()))  # the corners are 1/sqrt(2) from the middle
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    similar = torch.stack([1 + c, -s, zero, s, 1 + c, zero, zero, zero, one], 1).unflatten(1, (3, 3))
    radius, angle = u[:, 2:6].sqrt(), _direction(u[:, 6:10])  # uniform in a disc
    offsets = torch.stack([radius * angle.cos(), radius * angle.sin()], 2)  # (B, 4, 2)
    offsets = offsets * distance / radius.mean(1)[:, None, None]
    corners = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=u.dtype)
    perspective = _homography(corners, corners + offsets)
    return {"matrix": torch.where(u[:, 0, None, None] < 0.5, similar, perspective)}


def _homography(source: Tensor, target: Tensor) -> Tensor:
    """The matrix ``(B, 3, 3)`` that takes four points ``(4, 2)`` to ``(B, 4, 2)``."""
    x, y = (v.expand(len(target), 4) for v in source.T)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    to_x = torch.stack([x, y, one, zero, zero, zero, -x * target[..., 0], -y * target[..., 0]], 2)
    to_y = torch.stack([zero, zero, zero, x, y, one, -x * target[..., 1], -y * target[..., 1]], 2)
    solved = torch.linalg.solve(torch.cat([to_x, to_y], 1), target.transpose(1, 2).flatten(1))
    return torch.cat([solved, one[:, :1]], 1).unflatten(1, (3, 3))


def _shadow(u: Tensor, strength: float) -> Parameters:
    return {
        "strength": torch.full_like(u[:, 0], strength),
        "angle": _direction(u[:, 0]),
        "offset": 0.5 * u[:, 1] - 0.25,
        "width": 0.3 + 0.3 * u[:, 2],
        "wave": _direction(u[:, 3]),
    }


def _gaussian(u: Tensor, sigma: float) -> Parameters:
    return {"sigma": torch.full_like(u[:, 0], sigma * _PX)}


def _motion(u: Tensor, length: float) -> Parameters:
    return {"length": torch.full_like(u[:, 0], length * _PX), "angle": math.pi * u[:, 0]}


def _gaussian_blur(x: Tensor, sigma: Tensor) -> Tensor:
    return operators.gaussian_blur(x, sigma, float(sigma.max()))


def _motion_blur(x: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    return operators.motion_blur(x, length, angle, float(length.max()))


CORRUPTIONS: Mapping[str, Corruption] = {
    "translation": Corruption((1, 2, 4, 8, 16), "px shift", _translation, operators.warp),
    "viewpoint": Corruption((2, 4, 8, 12, 18), "px at the corners", _viewpoint, operators.warp),
    "gamma": Corruption(
        (1.2, 1.45, 1.8, 2.3, 3.0),
        "exponent, or its inverse",
        lambda u, level: {"exponent": level ** _sign(u[:, 0])},
        operators.gamma,
    ),
    "brightness": Corruption(
        (0.06, 0.12, 0.2, 0.29, 0.4),
        "added or taken",
        lambda u, level: {"shift": level * _sign(u[:, 0])},
        operators.brightness,
    ),
    "cast_shadow": Corruption((0.25, 0.4, 0.55, 0.68, 0.8), "of the sun's light", _shadow, operators.cast_shadow),
    "gaussian_blur": Corruption((0.6, 1.0, 1.6, 2.4, 3.6), "px sigma", _gaussian, _gaussian_blur),
    "motion_blur": Corruption((3, 5, 8, 12, 17), "px path", _motion, _motion_blur),
}


def parameters(name: str, severity: int, pairs: Sequence[str], dataset: str, seed: int = 0) -> Parameters:
    """What :func:`corrupt` does to each of ``pairs``; on the CPU, float64.

    Raises:
        ValueError: the corruption is not known, or there is no such severity.
    """
    if name not in CORRUPTIONS:
        near = get_close_matches(name, CORRUPTIONS, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown corruption {name!r}{hint} expected one of: {', '.join(CORRUPTIONS)}")
    if severity not in range(1, 6):
        raise ValueError(f"severity must be 1, 2, 3, 4 or 5, got {severity!r}")
    uniform = torch.stack([_uniform(f"{dataset}\n{pair}\n{name}\n{seed}") for pair in pairs])
    corruption = CORRUPTIONS[name]
    return corruption.draw(uniform, corruption.levels[severity - 1])


def corrupt(
    pair: Pair,
    name: str,
    severity: int,
    pairs: Sequence[str],
    dataset: str,
    seed: int = 0,
    side: str = "b",
) -> Pair:
    """A batched pair with one or both dates degraded; images keep their type.

    Args:
        pair: images ``(B, 3, H, W)``, maps ``(B, H, W)``.
        name: of :data:`CORRUPTIONS`.
        severity: from 1 to 5.
        pairs: what each pair is called in its data set.
        dataset: what the data set is called.
        seed: another seed draws other parameters.
        side: ``"a"``, ``"b"``, or ``"both"``, alike.

    Raises:
        ValueError: corruption, severity or side is not known, or there are not as many names as pairs.
    """
    pair.check()
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    if pair.a.ndim != 4 or len(pairs) != len(pair.a):
        raise ValueError(f"corrupt wants a name for each pair of a batch, got {len(pairs)} for {tuple(pair.a.shape)}")
    drawn = parameters(name, severity, pairs, dataset, seed)
    apply, is_geometry = CORRUPTIONS[name].apply, CORRUPTIONS[name].is_geometry
    a, b, sem_a, sem_b = pair
    if side in ("a", "both"):
        a = as_float(lambda x: apply(x, **drawn), a)
        sem_a = apply(sem_a, **drawn) if is_geometry and sem_a is not None else sem_a
    if side in ("b", "both"):
        b = as_float(lambda x: apply(x, **drawn), b)
        sem_b = apply(sem_b, **drawn) if is_geometry and sem_b is not None else sem_b
    return Pair(a, b, sem_a, sem_b)


def as_float(change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``change`` done to images of any type in single precision; they get their type back.

    Raises:
        ValueError: floating-point images leave [0, 1].
    """
    if x.dtype == torch.uint8:
        return (change(x / 255) * 255).round().clamp(0, 255).to(torch.uint8)
    if x.numel() and not (x.amin() >= 0 and x.amax() <= 1):  # so too where one is not a number
        low, high = x.aminmax()
        raise ValueError(f"floating-point images must be in [0, 1], got [{low:g}, {high:g}]; divide bytes by 255")
    return change(x.float()).clamp(0, 1).to(x.dtype)  # sums of weights are 1 but for rounding


def _uniform(text: str) -> Tensor:
    digest = hashlib.sha256(text.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
    return torch.rand(_DRAWS, generator=generator, dtype=torch.float64)
