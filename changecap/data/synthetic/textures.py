"""Periodic textures of the ground, made once per size from fixed noise: the same land looks alike at every size."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from .scene import WORLD

PERIOD = 512  # units
STEPS = 2  # steps of a texture per 8-bit grey level
# How much of each noise a surface shows, in grey levels: grain of 3 units, lumps of 9, patches of 40, clouds of 110.
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
    waves = np.stack([_band(noise, centre, spread) for centre, spread in ((3, 0.5), (9, 0.5), (40, 0.5), (110, 0.5))])
    surfaces = [np.roll((weights[:, None, None] * waves).sum(0), 57 * i, (0, 1)) for i, weights in enumerate(_WEIGHTS)]
    height = _canopy(noise)
    slopes = [np.roll(height, -1, axis) - np.roll(height, 1, axis) for axis in (1, 0)]
    tiles = [
        _fit(t, size) for t in (*surfaces, 34 * (height - height.mean()) + waves[1] * 3, *(26 * s for s in slopes))
    ]
    return Textures(tuple(tiles[:-3]), tiles[-3], (tiles[-2], tiles[-1]), _period(size))


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
    middles = (np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2) + 0.5) * PERIOD / count
    middles += noise.uniform(-0.45, 0.45, middles.shape) * _CROWN
    radii, tops = noise.uniform(2.8, 5.2, len(middles)), noise.uniform(0.6, 1.0, len(middles))
    height = np.zeros((PERIOD, PERIOD))
    reach = np.arange(-6, 7)
    for (x, y), radius, top in zip(middles, radii, tops, strict=True):
        columns, rows = int(x) + reach, int(y) + reach
        away = (columns + 0.5 - x)[None] ** 2 + (rows + 0.5 - y)[:, None] ** 2
        at = np.ix_(rows % PERIOD, columns % PERIOD)
        height[at] = np.maximum(height[at], top * np.sqrt(np.maximum(1 - away / radius**2, 0)))
    return height


def _fit(tile: np.ndarray, size: int) -> np.ndarray:
    """The tile at the scale of ``size`` pixels, in steps, and wrapped on for one image."""
    period = _period(size)
    if period != PERIOD:
        method = Image.Resampling.BOX if period < PERIOD else Image.Resampling.BICUBIC
        tile = np.asarray(Image.fromarray(tile.astype(np.float32)).resize((period, period), method))
    steps = np.clip(np.rint(tile * STEPS), -127, 127).astype(np.int8)
    return np.pad(steps, ((0, size), (0, size)), mode="wrap")
