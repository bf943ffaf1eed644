"""Two GeoTIFFs of one place as a pair on one grid, window by window. The only file that knows rasterio.

The grid is that of the date before: its CRS, resolution and, where it is rotated, its rotation. The date after and the
maps are warped onto it, unless they lie on it already.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeGuard
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from torch import Tensor

from preprocess import Pair

from .. import landcover as colours
from ..errors import DataError
from ..landcover import CLASSES
from .bands import PERCENTILES, RGB, Bands, Scale, Scaling, bands_of, limits_of
from .sources import MAX_PIXELS, Source

log = logging.getLogger(__name__)

Window = tuple[int, int, int, int]  # column, row, width, height in pixels of the date before
_SAMPLE = 1024  # side of the decimated read that percentiles are taken of
_CACHE = 64  # MB that GDAL may keep of decoded blocks; its own default is a share of the machine's memory
_WARNINGS = Lock()  # Python's filters belong to the process, and data sets are read by several threads


@dataclass(frozen=True)
class GeoPair:
    """A window of two dates: where it lies, and where both dates know something.

    ``pair``: images ``(3, H, W)`` and maps ``(H, W)`` uint8; ``valid``: ``(H, W)`` bool, elsewhere both are black.
    ``transform`` (affine), ``crs`` (``None``: unknown) and ``bounds`` (left, bottom, right, top) are the window's.
    ``snapped``: pixels of each map that were off the palette.
    """

    pair: Pair
    valid: Tensor
    window: Window
    transform: Any
    crs: Any
    bounds: tuple[float, float, float, float]
    snapped: Mapping[Path, int]


def is_geotiff(source: Source | None) -> TypeGuard[Path]:
    """Whether ``source`` is a file whose name is a TIFF's."""
    return isinstance(source, Path) and source.suffix.lower() in (".tif", ".tiff")


def read_pair(a: Path, b: Path, *, window: Window | None = None, **options: Any) -> GeoPair:
    """One window of two dates, or all they share; ``options`` and errors are those of :class:`Scene`.

    Raises:
        DataError: also where no pixel of the window is known at both dates.
    """
    with Scene(a, b, **options) as scene:
        found = scene.read(window)
    if not found.valid.any():
        raise DataError(f"{a} and {b} have no pixel in window {found.window} that is known at both dates; take another")
    return found


def read_image(path: Path, bands: Bands = RGB, scale: Scale = None) -> Tensor:
    """A whole GeoTIFF as ``(3, H, W)`` uint8, black where it has no data; its georeference is ignored.

    Percentiles are those of this image: for pairs whose light is to be compared give ``scale`` as a range.

    Raises:
        DataError: as :class:`Scene`, or the image has more than 64,000,000 pixels.
    """
    bands = bands_of(bands)
    with ExitStack() as files:
        layer = _open(path, files, bands)
        _check_size(path, layer.file.width, layer.file.height)
        scaling = _scaling([layer], bands, scale)
        data, valid = _read(layer, bands, (0, 0, layer.file.width, layer.file.height))
    return torch.from_numpy(scaling(data) * valid)


def read_colours(path: Path) -> np.ndarray:
    """A whole land-cover map as RGB ``(H, W, 3)`` uint8: the file's colours, or those of the classes in its one band.

    Raises:
        DataError: as :func:`read_image`, or a value is no class.
    """
    with ExitStack() as files:
        layer = _open(path, files)
        window = (0, 0, layer.file.width, layer.file.height)
        _check_size(path, *window[2:])
        return _colours(layer, _colormap(layer), window)


def write(
    path: Path, pixels: np.ndarray, valid: np.ndarray | None, transform: Any, crs: Any, palette: np.ndarray
) -> None:
    """Write a GeoTIFF of an image ``(3, H, W)`` or of classes ``(H, W)``, uint8.

    Args:
        path: the file.
        pixels: the image, or the classes.
        valid: ``(H, W)`` bool, where there are data, kept as the file's mask; ``None``: everywhere.
        transform: from pixels to coordinates; ``None``: unknown.
        crs: of the coordinates; ``None``: unknown.
        palette: colours ``(S, 3)`` of classes.

    Raises:
        OSError: it cannot be written.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    bands = pixels if pixels.ndim == 3 else pixels[None]
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": "uint8"}
    profile |= {"compress": "deflate", "crs": crs, "transform": transform, "tiled": min(height, width) > 512}
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_CACHEMAX=_CACHE), _WARNINGS, catch_warnings():
            simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", **profile) as file:
                file.write(bands)
                if pixels.ndim == 2:
                    file.write_colormap(1, {i: tuple(color) for i, color in enumerate(palette.tolist())})
                if valid is not None:
                    file.write_mask(valid)
    except RasterioIOError as error:
        raise OSError(str(error)) from error


class Scene:
    """Two dates of one place, opened once and read window by window; close it, or use it in a ``with``.

    Args:
        a: the GeoTIFF before; its grid is the scene's.
        b: the GeoTIFF after; warped bilinearly where it lies on another grid.
        bands: which three bands are red, green and blue, from 1, ``(4, 3, 2)`` or ``"4,3,2"``; one may be repeated.
        scale: the numbers that become 0 and 255: a range ``(0, 3000)`` or ``"0,3000"``, or percentiles ``"2%-98%"``,
            per band, of both scenes together, so that a difference of light stays. ``None``: 8-bit images as they are,
            others by ``"2%-98%"``.
        sem_a: land-cover map before, warped by nearest neighbour: classes in one band, or colours of the palette.
        sem_b: the map after.
        palette: as :class:`changecap.data.dataset.PairDataset`.

    Raises:
        DataError: a file is missing, damaged, complex, without such bands or without data; a CRS is missing on one
            side; the dates do not overlap; ``scale`` cannot be understood.
    """

    def __init__(
        self,
        a: Path,
        b: Path,
        *,
        bands: Bands = RGB,
        scale: Scale = None,
        sem_a: Path | None = None,
        sem_b: Path | None = None,
        palette: str = "strict",
    ) -> None:
        if (sem_a is None) != (sem_b is None):
            raise DataError("maps come in pairs: give both sem_a and sem_b, or neither")
        self.bands, self.palette = bands_of(bands), palette
        with ExitStack() as files:
            self._a, b_there = _open(a, files, self.bands), _open(b, files, self.bands)
            self.overlap = _overlap(self._a, b_there)
            self.scaling = _scaling([self._a, b_there], self.bands, scale)
            self._b = _onto(self._a, b_there, files)
            self._maps = []
            for path in (sem_a, sem_b):
                if path is not None:
                    layer = _open(path, files)
                    _overlap(self._a, layer)
                    self._maps.append((_onto(self._a, layer, files, nearest=True), _colormap(layer)))
            self._files = files.pop_all()
        self.crs, self.transform = self._a.file.crs, self._a.file.transform
        self.width, self.height = self._a.file.width, self._a.file.height

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def tiles(self, size: int, overlap: int = 0) -> Iterator[Window]:
        """Windows of ``size`` x ``size`` pixels that cover what the dates share, row by row.

        Neighbours share ``overlap`` pixels; the last of a row or column is moved inwards, so it shares more. Where the
        dates share less than ``size`` pixels, the windows are that much smaller.

        Raises:
            DataError: ``overlap`` is negative or not less than ``size``.
        """
        if not 0 <= overlap < size:
            raise DataError(f"tiles overlap by at least 0 and less than their size, got size={size}, overlap={overlap}")
        column, row, width, height = self.overlap
        w, h = min(size, width), min(size, height)
        for y in _starts(height, h, size - overlap):
            for x in _starts(width, w, size - overlap):
                yield column + x, row + y, w, h

    def read(self, window: Window | None = None) -> GeoPair:
        """One window, all that the dates share if ``None``; exactly as large as asked for.

        Raises:
            DataError: the window lies outside what the dates share, or has more than 64,000,000 pixels; a file is
                damaged; a map has a class or colour that is none.
        """
        window = self.overlap if window is None else window
        column, row, width, height = window
        left, top, w, h = self.overlap
        if width < 1 or height < 1 or not (left - width < column < left + w and top - height < row < top + h):
            raise DataError(
                f"window {window} (column, row, width, height) of {self._a.path} lies outside what the two dates "
                f"share, {self.overlap}; columns and rows are those of the image before"
            )
        _check_size(self._a.path, width, height)
        a, valid = _read(self._a, self.bands, window)
        b, valid_b = _read(self._b, self.bands, window)
        valid &= valid_b
        # black at both dates where one is unknown: the edge of a scene is no change
        images = [torch.from_numpy(self.scaling(x) * valid) for x in (a, b)]
        maps, snapped = [], {}
        for layer, colormap in self._maps:
            rgb = _colours(layer, colormap, window)
            maps.append(torch.from_numpy(colours.to_classes(rgb, self.palette, str(layer.path))))
            if strange := colours.off_palette(rgb):  # else to_classes would have raised
                snapped[layer.path] = strange
        x, y = _apply(self.transform, np.array([0, width, 0, width]) + column, np.array([0, 0, height, height]) + row)
        t = self.transform
        transform = type(t)(t.a, t.b, float(x[0]), t.d, t.e, float(y[0]))
        bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        return GeoPair(Pair(*images, *maps), torch.from_numpy(valid), window, transform, self.crs, bounds, snapped)


class _Layer(NamedTuple):
    """A file, or what is warped of it, and the path to name in messages."""

    path: Path
    file: Any

    @property
    def classes(self) -> bool:
        """Whether the first band says it all: the second, if any, is a mask."""
        from rasterio.enums import ColorInterp

        return sum(kind != ColorInterp.alpha for kind in self.file.colorinterp) < 3


@contextmanager
def _gdal(path: Path) -> Iterator[None]:
    """Keep GDAL's cache small, and make its errors ours."""
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    with rasterio.Env(GDAL_CACHEMAX=_CACHE):
        try:
            yield
        except (RasterioError, CPLE_BaseError) as error:
            reason = error.__cause__ or error
            raise DataError(f"{path} cannot be read as a GeoTIFF: {reason}; copy or download it anew") from error


def _open(path: Path, files: ExitStack, bands: Sequence[int] | None = None) -> _Layer:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    if not Path(path).is_file():
        raise DataError(f"no GeoTIFF at {path}; is the path right?")
    with _gdal(path), _WARNINGS, catch_warnings():
        simplefilter("ignore", NotGeoreferencedWarning)  # `_overlap` says what follows from it
        layer = _Layer(path, files.enter_context(rasterio.open(path, driver="GTiff")))  # no other format
    if bands is not None and not all(1 <= band <= layer.file.count for band in bands):
        raise DataError(
            f"{path} has {layer.file.count} band{'s' * (layer.file.count > 1)}, but bands {list(bands)} were asked "
            "for; they count from 1, and one may stand for several (1,1,1 is grey)"
        )
    if strange := [kind for kind in layer.file.dtypes if "complex" in kind]:
        raise DataError(f"{path} holds {strange[0]} numbers; write their amplitude as float32 or uint16 first")
    return layer


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: {width} x {height} pixels are more than {MAX_PIXELS:,} at once; read it by windows")


def _starts(length: int, size: int, step: int) -> Iterator[int]:
    """Where pieces of ``size`` begin that cover ``length``; the last ends with it."""
    yield from range(0, length - size, step)
    yield length - size


def _read(layer: _Layer, bands: Sequence[int], window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers ``(len(bands), H, W)`` and where they are known ``(H, W)`` bool; without a window a decimated read.

    Of floats all bands must be known; of integers one, since 0 is often both a value and the sign of no data.
    """
    from rasterio.windows import Window as RasterWindow

    file = layer.file
    if window is None:
        shape = min(file.height, _SAMPLE), min(file.width, _SAMPLE)
        with _gdal(layer.path):
            data = file.read(list(bands), out_shape=(len(bands), *shape))
            valid = file.dataset_mask(out_shape=shape) > 0
    else:
        column, row, width, height = window
        data = np.zeros((len(bands), height, width), np.result_type(*(file.dtypes[band - 1] for band in bands)))
        valid = np.zeros((height, width), bool)
        # what of the window lies in the file
        x, y = max(column, 0), max(row, 0)
        w, h = min(column + width, file.width) - x, min(row + height, file.height) - y
        here, there = np.s_[y - row : y - row + h, x - column : x - column + w], RasterWindow(x, y, w, h)
        with _gdal(layer.path):
            data[(slice(None), *here)] = file.read(list(bands), window=there)
            valid[here] = file.dataset_mask(window=there) > 0
    if np.issubdtype(data.dtype, np.floating):
        for band in data:
            valid &= np.isfinite(band)
            if file.nodata is not None:
                valid &= band != np.asarray(file.nodata, band.dtype)
    return data, valid


def _sample(layer: _Layer, bands: Sequence[int]) -> np.ndarray:
    """Known numbers ``(len(bands), N)`` from all over a file, of about a million pixels at most.

    Raises:
        DataError: none is known.
    """
    file = layer.file
    if file.overviews(bands[0]) or file.width * file.height <= MAX_PIXELS:
        parts = [_read(layer, bands)]
    else:  # decimation would decode the whole scene, patches decode what they touch
        side = _SAMPLE // 16
        ys, xs = (np.linspace(0, max(n - side, 0), 16).astype(int).tolist() for n in (file.height, file.width))
        parts = [_read(layer, bands, (x, y, side, side)) for y in ys for x in xs]
    known = np.concatenate([data[:, valid] for data, valid in parts], 1)
    if not known.size:
        raise DataError(f"{layer.path} has no data: all of bands {list(bands)} is nodata, transparent or NaN")
    return known


def _scaling(layers: Sequence[_Layer], bands: Sequence[int], scale: Scale) -> Scaling:
    """What ``scale`` means for these files."""
    kinds = [np.result_type(*(layer.file.dtypes[band - 1] for band in bands)) for layer in layers]
    if scale is None:
        if all(kind == np.uint8 for kind in kinds):
            return Scaling([0] * 3, [255] * 3)
        if any(kind == np.uint8 for kind in kinds):
            told = " and ".join(f"{layer.path} is {kind}" for layer, kind in zip(layers, kinds, strict=True))
            raise DataError(f"{told}: their numbers have no common scale; bring both to one unit, or state scale")
        scale = PERCENTILES
    low, high, percent = limits_of(scale)
    if not percent:
        return Scaling([low] * 3, [high] * 3)
    known = [_sample(layer, bands).astype(np.float64) for layer in layers]
    lows, highs = np.percentile(np.concatenate(known, 1), (low, high), axis=1)
    return Scaling(lows.tolist(), highs.tolist())


def _colours(layer: _Layer, colormap: np.ndarray | None, window: Window) -> np.ndarray:
    """A map's RGB ``(H, W, 3)`` uint8; unlabelled where it has no data."""
    if layer.classes:
        (data,), valid = _read(layer, [1], window)
        if colormap is None:
            classes = np.where(valid, data, 0)
            if (strange := (classes < 0) | (classes >= len(CLASSES))).any():
                raise DataError(
                    f"{layer.path} has the value {classes[strange][0]} in window {window}; a map of one band holds "
                    f"the classes 0 to {len(CLASSES) - 1} ({', '.join(CLASSES)})"
                )
            return colours.to_rgb(classes.astype(np.uint8))
        rgb = colormap[data]
    else:
        data, valid = _read(layer, [1, 2, 3], window)
        rgb = data.transpose(1, 2, 0).copy()
    rgb[~valid] = colours.PALETTE[0]
    return rgb


def _apply(transform: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def _project(x: np.ndarray, y: np.ndarray, source: _Layer, target: _Layer) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates ``(N,)`` of ``source`` as those of ``target``."""
    from rasterio.warp import transform

    x, y = _apply(source.file.transform, x, y)
    if source.file.crs != target.file.crs:
        with _gdal(source.path):
            there = np.array(transform(source.file.crs, target.file.crs, x, y))
        x, y = np.where(np.isfinite(there), there, np.nan)  # where the target's projection ends
    return _apply(~target.file.transform, x, y)


def _lattice(file: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(0, file.width, 21), np.linspace(0, file.height, 21))
    return x.ravel(), y.ravel()


def _overlap(a: _Layer, b: _Layer) -> Window:
    """The pixels of ``a`` whose centres the upright box around ``b`` holds.

    Raises:
        DataError: there are none, or nobody can tell since a CRS is missing.
    """
    if (a.file.crs is None) != (b.file.crs is None):
        known, unknown = (a, b) if b.file.crs is None else (b, a)
        raise DataError(
            f"{unknown.path} has no CRS, but {known.path} has {known.file.crs}; if it is the same, write it into the "
            f"file: gdal_edit.py -a_srs {known.file.crs} {unknown.path}"
        )
    size = (a.file.width, a.file.height)
    if a.file.crs is None:
        neither = f"neither {a.path} nor {b.path} has a CRS"
        if size != (b.file.width, b.file.height) or not a.file.transform.almost_equals(b.file.transform):
            raise DataError(
                f"{neither}, and they differ in size or transform, so nobody knows where they lie; give both a CRS"
            )
        if not a.file.transform.is_identity:  # else they are plain pictures, of which nobody expects a place
            log.warning("%s: their pixels are taken to lie on one another", neither)
        return (0, 0, *size)
    x, y = _project(*_lattice(b.file), b, a)
    at_x, at_y = _lattice(a.file)  # a map of the world may have no point that falls here: which of our pixels has it?
    over_x, over_y = _project(at_x, at_y, a, b)
    held = (over_x >= 0) & (over_x <= b.file.width) & (over_y >= 0) & (over_y <= b.file.height)
    ends = []
    for one, ours, length in ((x, at_x, size[0]), (y, at_y, size[1])):
        one = np.concatenate([one[np.isfinite(x) & np.isfinite(y)], ours[held]])
        low, high = (one.min(), one.max()) if len(one) else (math.inf, -math.inf)
        # a millionth of a pixel: what projecting there and back may lose
        ends.append((math.ceil(max(low, 0) - 0.5 - 1e-6), math.ceil(min(high, length) - 0.5 + 1e-6)))
    (left, right), (top, bottom) = ends
    if left >= right or top >= bottom:
        told = []
        for layer in (a, b):
            x, y = _apply(a.file.transform, *_project(*_lattice(layer.file), layer, a))
            told.append(f"{layer.path} covers {x.min():.10g} to {x.max():.10g}, {y.min():.10g} to {y.max():.10g}")
        raise DataError(f"no overlap: {told[0]}; {told[1]} (x, y in {a.file.crs}); are these images of one place?")
    return left, top, right - left, bottom - top


def _onto(a: _Layer, b: _Layer, files: ExitStack, nearest: bool = False) -> _Layer:
    """``b`` on the grid of ``a``, warped as it is read."""
    from rasterio.enums import ColorInterp, MaskFlags, Resampling
    from rasterio.vrt import WarpedVRT

    file, grid = b.file, a.file
    shift = np.subtract(_project(*_lattice(grid), a, b), _lattice(grid))  # from pixels of a to those of b
    whole = shift[:, :1].round()
    aligned = file.crs == grid.crs and np.abs(shift - whole).max() < 1e-3
    if aligned and not whole.any() and (file.width, file.height) == (grid.width, grid.height):
        return b
    masked = ColorInterp.alpha in file.colorinterp or any(MaskFlags.per_dataset in f for f in file.mask_flag_enums)
    options: dict[str, Any] = {}
    if not masked and all("float" in kind for kind in file.dtypes):
        nodata = math.nan if file.nodata is None else file.nodata
        options = {"src_nodata": nodata, "nodata": nodata}  # band by band, as `_read` takes it
    elif ColorInterp.alpha not in file.colorinterp:
        options = {"add_alpha": True, "warp_extras": {"UNIFIED_SRC_NODATA": "YES"}}
    # on an aligned grid there is nothing to interpolate, and nearest is exact
    way = Resampling.nearest if nearest or aligned else Resampling.bilinear
    with _gdal(b.path):
        size = {"width": grid.width, "height": grid.height}
        vrt = WarpedVRT(file, crs=grid.crs, transform=grid.transform, **size, resampling=way, **options)
    return _Layer(b.path, files.enter_context(vrt))


def _colormap(layer: _Layer) -> np.ndarray | None:
    """The colours ``(256, 3)`` of a file's first band, if it has any."""
    try:
        return np.array([color[:3] for color in layer.file.colormap(1).values()], np.uint8)
    except ValueError:  # rasterio's way to say that there are none
        return None
