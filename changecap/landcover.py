"""The SECOND palette: colours of land-cover maps and their classes."""

import numpy as np

from .errors import DataError

CLASSES = ("unlabelled", "water", "ground", "low vegetation", "tree", "building", "playground")
PALETTE = np.array(  # in the order of CLASSES
    [(255, 255, 255), (0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (128, 0, 0), (255, 0, 0)], np.uint8
)
_BLACK = 0  # black means the same as white: no change, unlabelled


def _code(rgb: np.ndarray) -> np.ndarray:
    """Colours ``(..., 3)`` uint8 as one number each."""
    wide = rgb.astype(np.uint32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


_CODES = np.append(_code(PALETTE), _BLACK)
_ORDER = np.argsort(_CODES)
_SORTED, _CLASS = _CODES[_ORDER], np.append(np.arange(len(PALETTE)), 0)[_ORDER].astype(np.uint8)


def to_classes(rgb: np.ndarray, mode: str = "strict", source: str = "the map") -> np.ndarray:
    """Classes ``(H, W)`` uint8 of a palette image ``(H, W, 3)`` uint8.

    Args:
        rgb: the image.
        mode: ``"strict"`` refuses a colour off the palette, ``"nearest"`` takes the nearest in RGB.
        source: what to call the image in an error.

    Raises:
        DataError: a colour is off the palette; names source, colour and pixel count.
    """
    code = _code(rgb)
    place = np.minimum(np.searchsorted(_SORTED, code), len(_SORTED) - 1)
    classes = _CLASS[place]
    strange = _SORTED[place] != code
    if not strange.any():
        return classes
    if mode == "strict":
        colours, counts = np.unique(rgb[strange], axis=0, return_counts=True)
        first = counts.argmax()
        colour = tuple(int(c) for c in colours[first])
        raise DataError(
            f"{source}: {int(counts[first])} pixels of colour {colour}, which is not on the SECOND palette "
            f"({len(colours)} such colours, {int(counts.sum())} pixels in all); data.palette=nearest snaps them"
        )
    classes[strange] = nearest(rgb[strange])
    return classes


def off_palette(rgb: np.ndarray) -> int:
    """Number of pixels of ``rgb`` ``(H, W, 3)`` whose colour is not on the palette."""
    return int((~np.isin(_code(rgb), _SORTED)).sum())


def nearest(colours: np.ndarray) -> np.ndarray:
    """Classes ``(N,)`` of the palette colours nearest to ``colours`` ``(N, 3)``, by distance in RGB."""
    known = np.concatenate([PALETTE, np.zeros((1, 3), np.uint8)]).astype(np.int32)
    different, back = np.unique(colours, axis=0, return_inverse=True)
    apart = ((different.astype(np.int32)[:, None] - known) ** 2).sum(2)
    return (apart.argmin(1) % len(PALETTE)).astype(np.uint8)[back.reshape(-1)]


def to_rgb(classes: np.ndarray) -> np.ndarray:
    """The palette image ``(H, W, 3)`` uint8 of ``classes`` ``(H, W)``."""
    return PALETTE[classes]
