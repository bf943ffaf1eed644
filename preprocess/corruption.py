"""Degradations of known severity, for measuring what a captioner survives.

What happens to a pair is a function of data set, pair, corruption, severity and seed alone: parameters are drawn on the
CPU from a generator of the pair's own, whatever batch or order it comes in and wherever it is computed. The draw is the
same at every severity, so that a pair only gets worse. Maps move with geometry and never change with light. What each
severity does to an image is printed by ``benchmarks.corruptions``.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

from . import operators
from . import severity as levels
from .pair import Pair
from .severity import PX
from .step import Parameters

SIDES = ("a", "b", "both")
SEVERITIES = (1, 2, 3, 4, 5)


class Corruption(NamedTuple):
    """One way in which images of a place differ.

    ``levels`` are the five severities in the words of ``unit``; pixels are those of an image of side 256. ``draw``
    makes the parameters of B images of uniform numbers ``(B, n)`` and a level, see :mod:`.severity`; ``apply`` takes
    images and these. Maps go through a geometry with their images.
    """

    levels: tuple[float, float, float, float, float]
    unit: str
    draw: Callable[[Tensor, float], Parameters]
    apply: Callable[..., Tensor]
    is_geometry: bool = False


def _gaussian_blur(x: Tensor, sigma: Tensor) -> Tensor:
    return operators.gaussian_blur(x, sigma, float(sigma.max()))


def _motion_blur(x: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    return operators.motion_blur(x, length, angle, float(length.max()))


def _resolution(x: Tensor, pixel: Tensor) -> Tensor:
    return operators.resolution(x, float(pixel.max()))


# Levels by ``python -m benchmarks.corruptions levels``: at one severity light and clouds have the same PSNR (24 to
# 12 dB), sharpness has the same SSIM (0.96 to 0.6), geometry moves pixels as far (1 to 16 of 256).
CORRUPTIONS: Mapping[str, Corruption] = {
    "brightness": Corruption(
        (0.065, 0.09, 0.13, 0.18, 0.26),
        "added or taken",
        lambda u, level: {"shift": level * levels.sign(u)},
        operators.brightness,
    ),
    "gamma": Corruption(
        (1.2, 1.3, 1.5, 1.7, 2.3),
        "exponent, or its inverse",
        lambda u, level: {"exponent": level ** levels.sign(u)},
        operators.gamma,
    ),
    "color_temperature": Corruption(
        (83, 120, 160, 230, 320),
        "mired too warm or cool",
        lambda u, level: {"mired": level * levels.sign(u)},
        operators.color_temperature,
    ),
    "haze": Corruption((0.14, 0.2, 0.31, 0.48, 0.8), "optical depth", levels.haze, operators.haze),
    "cast_shadow": Corruption(
        (0.22, 0.31, 0.44, 0.62, 0.88), "of the sun's light", levels.shadow, operators.cast_shadow
    ),
    "gaussian_blur": Corruption(
        (0.73, 1.3, 1.9, 2.6, 3.6), "px sigma", lambda u, level: {"sigma": levels.same(u, level * PX)}, _gaussian_blur
    ),
    "motion_blur": Corruption((2.9, 5.9, 8.4, 12, 19), "px path", levels.motion, _motion_blur),
    "resolution": Corruption(
        (1.5, 2.7, 3.6, 4.7, 6.5),
        "px side of a pixel",
        lambda u, level: {"pixel": levels.same(u, level * PX)},
        _resolution,
    ),
    "jpeg": Corruption(
        (91, 31, 14, 9, 6), "quality", lambda u, level: {"quality": levels.same(u, level)}, operators.jpeg
    ),
    "noise": Corruption((0.012, 0.023, 0.033, 0.042, 0.053), "deviation at mid-grey", levels.noise, operators.noise),
    "translation": Corruption((1, 2, 4, 8, 16), "px shift", levels.translation, operators.warp, is_geometry=True),
    "viewpoint": Corruption(
        (1.6, 3.3, 6.5, 13, 26), "px at the corners", levels.viewpoint, operators.warp, is_geometry=True
    ),
    "parallax": Corruption((1, 2, 4, 8, 16), "px of relief", levels.parallax, operators.parallax, is_geometry=True),
    "clouds": Corruption((0.028, 0.054, 0.11, 0.2, 0.37), "of the image", levels.clouds, operators.clouds),
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "light": ("brightness", "gamma", "color_temperature", "haze", "cast_shadow"),
    "sharpness": ("gaussian_blur", "motion_blur", "resolution", "jpeg", "noise"),
    "geometry": ("translation", "viewpoint"),
    "held_out": ("parallax", "clouds"),  # of all training
}


def named(names: Sequence[str]) -> tuple[str, ...]:
    """The corruptions that ``names``, of corruptions, of groups or ``"all"``, stand for, each once, in their order.

    Raises:
        ValueError: one is not known.
    """
    groups = {"all": tuple(CORRUPTIONS), **GROUPS, **{name: (name,) for name in CORRUPTIONS}}
    for name in names:
        _known(name, groups)
    wanted = {each for name in names for each in groups[name]}
    return tuple(name for name in CORRUPTIONS if name in wanted)


def parameters(name: str, severity: int, pairs: Sequence[str], dataset: str, seed: int = 0) -> Parameters:
    """What :func:`corrupt` does to each of ``pairs``; on the CPU, float64 and seeds int64.

    Raises:
        ValueError: the corruption is not known, or there is no such severity.
    """
    _known(name, CORRUPTIONS)
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be 1, 2, 3, 4 or 5, got {severity!r}")
    return drawn(name, CORRUPTIONS[name].levels[severity - 1], seeds_of(name, pairs, dataset, seed))


def seeds_of(name: str, pairs: Sequence[str], dataset: str, seed: int = 0) -> list[int]:
    """The seed of each of ``pairs``, of 63 bits."""
    digests = [hashlib.sha256(f"{dataset}\n{pair}\n{name}\n{seed}".encode()).digest() for pair in pairs]
    return [int.from_bytes(digest[:8]) >> 1 for digest in digests]


def drawn(name: str, level: float, seeds: Sequence[int]) -> Parameters:
    """Parameters of an image for each of ``seeds``, from a generator of its own, at any ``level``."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    u = torch.stack([torch.rand(levels.NUMBERS, generator=g, dtype=torch.float64) for g in generators])
    return CORRUPTIONS[name].draw(u, level)


def degraded(x: Tensor, sem: Tensor | None, name: str, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """Images ``(B, 3, H, W)`` of any type and their maps ``(B, H, W)`` after a corruption; they keep their types."""
    corruption = CORRUPTIONS[name]
    there = as_float(lambda x: corruption.apply(x, **parameters), x)
    return there, corruption.apply(sem, **parameters) if corruption.is_geometry and sem is not None else sem


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
    what = parameters(name, severity, pairs, dataset, seed)
    a, b, sem_a, sem_b = pair
    if side in ("a", "both"):
        a, sem_a = degraded(a, sem_a, name, what)
    if side in ("b", "both"):
        b, sem_b = degraded(b, sem_b, name, what)
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


def _known(name: str, among: Mapping[str, object]) -> None:
    if name not in among:
        near = get_close_matches(str(name), among, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown corruption {name!r}{hint} expected one of: {', '.join(among)}")
