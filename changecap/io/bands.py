"""Which bands of a raster are red, green and blue, and which of their numbers black and white. Opens no file."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError

Bands = str | Sequence[int]  # from 1: (4, 3, 2) or "4,3,2"
Scale = str | Sequence[float] | None  # a range (0, 3000) or "0,3000", percentiles "2%-98%", or what the numbers suggest

RGB = (1, 2, 3)
PERCENTILES = "2%-98%"


class Scaling(NamedTuple):
    """Per band the numbers that become 0 and 255; what lies between follows linearly, what lies beyond is clipped."""

    low: Sequence[float]
    high: Sequence[float]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Numbers ``(3, H, W)`` as uint8."""
        out = np.empty(x.shape, np.uint8)
        for band, low, high, to in zip(x, self.low, self.high, out, strict=True):  # one at a time: float is wide
            numbers = (band.astype(np.float32) - low) * (255 / ((high - low) or 1))
            to[...] = np.nan_to_num(numbers, nan=0).clip(0, 255).round()
        return out


def bands_of(bands: Bands) -> tuple[int, ...]:
    """Three numbers of bands, from ``(4, 3, 2)`` or ``"4,3,2"``.

    Raises:
        DataError: they are not three whole numbers.
    """
    try:
        numbers = tuple(map(int, bands.split(",") if isinstance(bands, str) else bands))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise DataError(f"bands are three whole numbers, for red, green and blue, such as 4,3,2, got {bands!r}")
    return numbers


def limits_of(scale: str | Sequence[float]) -> tuple[float, float, bool]:
    """What becomes 0, what becomes 255, and whether these are percentiles, from a range or ``"2%-98%"``.

    Raises:
        DataError: it cannot be understood.
    """
    number = r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*"
    text = scale if isinstance(scale, str) else ",".join(str(part) for part in scale)
    percent = re.fullmatch(rf"{number}%\s*-{number}%\s*", text)
    limits = percent or re.fullmatch(f"{number},{number}", text)
    try:
        low, high = (float(part) for part in limits.groups()) if limits else (math.nan, math.nan)
    except ValueError:
        low = high = math.nan
    if not low < high or (percent and not 0 <= low < high <= 100):
        raise DataError(f'scale must be percentiles like "{PERCENTILES}" or a range like "0,3000", got {scale!r}')
    return low, high, bool(percent)
