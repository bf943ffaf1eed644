"""Periodic textures of the ground, made once per size from fixed noise: the same land looks alike at every size."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from .scene import WORLD

# Units after which a texture repeats.
PERIOD = 512
# Steps of a texture per 8-bit grey level.
STEPS = 2
# Wavelengths of the noises, units: grain, lumps, patches, clouds; and how much of each a surface shows, in grey levels.
_WAVELENGTHS = (3, 9, 40, 110)
PLAIN, SAND, STONE, SOIL, MEADOW, CROPS, DRY, PAVED, WATER = range(9)
_WEIGHTS = np.array(
    [
        (0, 0, 0, 0),
        (9, 5, 7, 6),
        (11, 10, 7, 5),
        (9, 4, 5, 5),
        (8, 7, 8, 5),
        (7, 4, 4, 4),
        (8, 9, 9, 6),
        (4, 1, 2, 2),
        (1.5, 0, 1.5, 3),
    ]
)
_CROWN = 6.5  # units from one crown to the next


class Textures(NamedTuple):
    """Tiles ``(period + size, period + size)`` int8 in steps; any window of ``size`` pixels inside one period fits."""

    surfaces: tuple[np.ndarray, ...]  # by the numbers above
    crowns: np.ndarray  # canopy from above, dark between the crowns
    slopes: tuple[np.ndarray, np.ndarray]  # its slope to the right and down
    period: int  # pixels


@lru_cache(maxsize=4)
def textures(size: int) -> Textures:
    """The textures of images of ``size`` pixels."""
    noise = np.random.default_rng(20250813)
    waves = np.stack([_band(noise, length, spread=0.5) for length in _WAVELENGTHS])
    surfaces = []
    for i, weights in enumerate(_WEIGHTS):
        mixed = (weights[:, None, None] * waves).sum(0)
        # Rolled, so that two surfaces do not show the same lumps at the same place.
        surfaces.append(_fit(np.roll(mixed, 57 * i, (0, 1)), size))

    height = _canopy(noise)
    crowns = 34 * (height - height.mean()) + waves[1] * 3
    slope_right = np.roll(height, -1, 1) - np.roll(height, 1, 1)
    slope_down = np.roll(height, -1, 0) - np.roll(height, 1, 0)
    slopes = _fit(26 * slope_right, size), _fit(26 * slope_down, size)
    return Textures(tuple(surfaces), _fit(crowns, size), slopes, _period(size))


def _period(size: int) -> int:
    return max(1, round(PERIOD * size / WORLD))


def _band(noise: np.random.Generator, centre: float, spread: float) -> np.ndarray:
    """Noise of wavelengths about ``centre`` units, of mean 0 and deviation 1."""
    fy, fx = np.meshgrid(np.fft.fftfreq(PERIOD), np.fft.fftfreq(PERIOD), indexing="ij")
    length = 1 / np.maximum(np.sqrt(fx**2 + fy**2), 1e-9)
    gain = np.exp(-0.5 * (np.log(length / centre) / spread) ** 2)
    wave = np.fft.ifft2(np.fft.fft2(noise.standard_normal((PERIOD, PERIOD))) * gain).real
    out: np.ndarray = (wave - wave.mean()) / wave.std()
    return out


def _canopy(noise: np.random.Generator) -> np.ndarray:
    """Height of a closed wood: round crowns of 0 to 1 on a loose lattice."""
    count = round(PERIOD / _CROWN)
    lattice = np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2)
    middles = (lattice + 0.5) * PERIOD / count
    middles += noise.uniform(-0.45, 0.45, middles.shape) * _CROWN
    radii = noise.uniform(2.8, 5.2, len(middles))
    tops = noise.uniform(0.6, 1.0, len(middles))

    height = np.zeros((PERIOD, PERIOD))
    reach = np.arange(-6, 7)
    for (x, y), radius, top in zip(middles, radii, tops, strict=True):
        columns = int(x) + reach
        rows = int(y) + reach
        away = (columns + 0.5 - x)[None] ** 2 + (rows + 0.5 - y)[:, None] ** 2
        crown = top * np.sqrt(np.maximum(1 - away / radius**2, 0))
        at = np.ix_(rows % PERIOD, columns % PERIOD)
        height[at] = np.maximum(height[at], crown)
    return height


def _fit(tile: np.ndarray, size: int) -> np.ndarray:
    """The tile at the scale of ``size`` pixels, in steps, and wrapped on for one image."""
    period = _period(size)
    if period != PERIOD:
        method = Image.Resampling.BOX if period < PERIOD else Image.Resampling.BICUBIC
        tile = np.asarray(Image.fromarray(tile.astype(np.float32)).resize((period, period), method))
    steps = np.clip(np.rint(tile * STEPS), -127, 127).astype(np.int8)
    return np.pad(steps, ((0, size), (0, size)), mode="wrap")
