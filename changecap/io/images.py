"""Images and maps as files that are there whole or not at all; which kind of file, the name says."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..landcover import PALETTE
from . import geotiff


def save(path: Path, x: Tensor, valid: Tensor | None = None, transform: Any = None, crs: Any = None) -> None:
    """Write an image ``(3, H, W)`` uint8, or a map of classes ``(H, W)`` uint8 with the colours of the palette.

    Args:
        path: a PNG file, or a GeoTIFF (``.tif``).
        x: the image or map.
        valid: ``(H, W)`` bool, where the image shows something: the mask of a GeoTIFF; an alpha channel of a PNG, where
            it is not so everywhere.
        transform: of a GeoTIFF, from its pixels to its coordinates.
        crs: of a GeoTIFF.

    Raises:
        OSError: the file cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    pixels = x.contiguous().numpy()
    if geotiff.is_geotiff(path):
        geotiff.write(fresh, pixels, None if valid is None else valid.numpy(), transform, crs, PALETTE)
    else:
        _png(pixels, valid).save(fresh, "PNG", compress_level=1)
    os.replace(fresh, path)


def _png(pixels: np.ndarray, valid: Tensor | None) -> Image.Image:
    if pixels.ndim == 2:
        image = Image.fromarray(pixels)
        image.putpalette(PALETTE.tobytes())
        return image
    bands = [*pixels]
    if valid is not None and not valid.all():
        bands.append(valid.numpy() * np.uint8(255))
    return Image.fromarray(np.stack(bands, -1))
