"""Pairs on disk as tensors: one dataset class for every format; the readers only say which files belong together."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from preprocess import Chain, Pair

from .. import landcover as palette
from ..errors import DataError
from ..io import geotiff
from ..io.bands import RGB, Bands, Scale, bands_of, limits_of
from ..io.sources import MAX_PIXELS, Source, Stored
from .cache import Pack, packed
from .example import Example

log = logging.getLogger(__name__)


class PairDataset:
    """The pairs of one split, read on demand or all at once.

    Args:
        examples: what a reader found.
        split: its name, for messages.
        size: side in pixels that everything is resized to; ``None`` keeps the files' own.
        maps: whether land-cover maps are read.
        palette: ``"strict"``: a colour off the palette is an error; ``"nearest"``: it is snapped and counted.
        bands: of GeoTIFFs, those that are red, green and blue; see :class:`changecap.io.geotiff.Scene`.
        scale: of GeoTIFFs, the numbers that become 0 and 255.
        prepare: what is done to each pair in its own size.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        split: str,
        size: int | None = None,
        maps: bool = True,
        palette: str = "strict",
        bands: Bands = RGB,
        scale: Scale = None,
        prepare: Chain | None = None,
    ) -> None:
        if palette not in ("strict", "nearest"):
            raise DataError(f"data.palette must be strict or nearest, got {palette!r}")
        if scale is not None:
            limits_of(scale)  # now, not at the first pair
        self.bands, self.scale = bands_of(bands), scale
        self.examples, self.split, self.size, self.maps, self.palette = list(examples), split, size, maps, palette
        self.prepare = prepare if prepare is not None and prepare.names else None
        self.snapped: dict[str, int] = {}  # file -> pixels whose colour was snapped
        self._all: Pair | None = None
        self._pack: Pack | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Pair:
        """Pair ``index``: images ``(3, H, W)`` uint8, maps ``(H, W)`` uint8 or ``None``.

        Two GeoTIFFs, and maps that are some too, are what they share, on the grid of the date before.

        Raises:
            DataError: a file is missing, unreadable or of another size than its partner; GeoTIFFs share no place.
        """
        if self._all is not None:
            return Pair(*(None if x is None else x[index] for x in self._all))  # type: ignore[arg-type]
        if self._pack is not None:
            return self._pack[index]
        example = self.examples[index]
        files = [path for _, path in example.files()][: 4 if self.maps else 2]
        if self.maps and len(files) < 4:
            raise DataError(f"{example.id} in split {self.split} has no maps; use inputs=rgb")
        if paths := together(files):
            found = read_together(paths, self.bands, self.scale, self.palette)
            tensors = [x for x in found.pair if x is not None]
            for snapped, strange in found.snapped.items():
                self._count(snapped, strange)
        else:
            tensors = [read_image(path, self.bands, self.scale) for path in files[:2]]
        tensors += [self._map(path) for path in files[len(tensors) :]]
        (h, w), first = tensors[0].shape[-2:], files[0]
        for path, other in zip(files, tensors, strict=True):
            if other.shape[-2:] != (h, w):
                oh, ow = other.shape[-2:]
                raise DataError(f"{first} is {w} x {h} pixels, but {path} is {ow} x {oh}; a pair has one size")
        pair = Pair(*tensors)
        if self.prepare is not None:
            pair = self.prepare(pair)
        return pair if self.size is None else pair.resize(self.size)

    def batch(self, indices: Sequence[int]) -> Pair:
        """Pairs ``indices`` as one batch, uint8."""
        if self._all is not None:
            rows = torch.as_tensor(list(indices))
            return Pair(*(None if x is None else x[rows] for x in self._all))  # type: ignore[arg-type]
        if self._pack is not None:
            return self._pack.batch(indices)
        return Pair.stack([self[i] for i in indices])

    def pack(self, root: Path, workers: int = 2, progress: bool = False) -> None:
        """Read from the pack of this set from now on; it is written first where it is not there, see :func:`packed`.

        Raises:
            DataError: as :meth:`preload`, or the pack cannot be written.
        """
        if self._pack is None and self.examples:
            self._pack = packed(self, root, workers, progress)

    def preload(self, workers: int = 2, progress: bool = False) -> None:
        """Decode everything once and keep it in memory (8 bytes a pixel and pair with maps); of a pack, nothing.

        Raises:
            DataError: as :meth:`__getitem__`, or the images are of several sizes and no ``size`` is set.
        """
        if self._all is not None or self._pack is not None or not self.examples:
            return
        store: list[Tensor | None] = []
        for i, pair in enumerate(self.pairs(workers, progress, "reading")):
            store = store or [None if x is None else x.new_empty(len(self), *x.shape) for x in pair]
            for field, x in zip(store, pair, strict=True):
                if field is not None and x is not None:
                    field[i] = x
        self._all = Pair(*store)  # type: ignore[arg-type]

    def pairs(self, workers: int, progress: bool, doing: str) -> Iterator[Pair]:
        """All pairs in their order, decoded by ``workers`` threads that are never far ahead.

        Raises:
            DataError: as :meth:`__getitem__`, or the images are of several sizes and no ``size`` is set.
        """
        waiting: deque[Future[Pair]] = deque()
        label, shape = f"{doing} {self.split}", None
        with (
            ThreadPoolExecutor(workers) as pool,
            tqdm(total=len(self), desc=label, unit="pair", disable=not progress) as bar,
        ):
            for i in range(len(self)):
                while len(waiting) < 4 * workers and i + len(waiting) < len(self):
                    waiting.append(pool.submit(self.__getitem__, i + len(waiting)))
                pair = waiting.popleft().result()
                shape = shape or pair.a.shape
                if pair.a.shape != shape:
                    raise DataError(f"{self.examples[i].id} has another size than the first pair; set data.size")
                bar.update()
                yield pair

    def _map(self, path: Source) -> Tensor:
        rgb = read_rgb(path, "land-cover map")
        if self.palette == "nearest" and (strange := palette.off_palette(rgb)):
            self._count(path, strange)
        return torch.from_numpy(palette.to_classes(rgb, self.palette, str(path)))

    def _count(self, path: Source, strange: int) -> None:
        if not self.snapped:
            log.warning("%s: %d pixels off the palette were snapped; more may follow", path, strange)
        self.snapped[str(path)] = strange


def together(files: Sequence[Source]) -> list[Path]:
    """Those ``files`` of a pair that are brought to one grid: all if all are GeoTIFFs, both images, or none."""
    paths: list[Path] = []
    for file in files:
        if not geotiff.is_geotiff(file):
            break
        paths.append(file)
    return paths[: len(paths) // 2 * 2]


def read_together(paths: Sequence[Path], bands: Bands, scale: Scale, palette: str) -> geotiff.GeoPair:
    """What the GeoTIFFs ``paths``, two images and perhaps two maps, share; see :func:`geotiff.read_pair`.

    Raises:
        DataError: a file is missing or damaged, or they share no place.
    """
    maps: dict[str, Any] = {"sem_a": paths[2], "sem_b": paths[3]} if len(paths) == 4 else {}
    return geotiff.read_pair(paths[0], paths[1], bands=bands, scale=scale, palette=palette, **maps)


def read_image(path: Source, bands: Bands = RGB, scale: Scale = None) -> Tensor:
    """The image in file ``path`` as RGB ``(3, H, W)`` uint8; of a GeoTIFF ``bands``, see :func:`geotiff.read_image`.

    Raises:
        DataError: the file is missing, is no image, is cut short or too large.
    """
    if geotiff.is_geotiff(path):
        return geotiff.read_image(path, bands, scale)
    return torch.from_numpy(read_rgb(path, "image")).permute(2, 0, 1).contiguous()


def read_map(path: Source, mode: str = "strict") -> Tensor:
    """The land-cover map in file ``path`` as classes ``(H, W)`` uint8; see :func:`landcover.to_classes`.

    Raises:
        DataError: as :func:`read_image`, or a colour is not on the palette.
    """
    return torch.from_numpy(palette.to_classes(read_rgb(path, "land-cover map"), mode, str(path)))


def read_rgb(path: Source, what: str) -> np.ndarray:
    """The ``"image"`` or ``"land-cover map"`` in ``path`` as RGB ``(H, W, 3)`` uint8.

    Raises:
        DataError: the file is missing, is no image, is cut short or too large; a map is grey.
    """
    if isinstance(path, Stored):
        from .formats import hdf5

        return hdf5.pixels(path)
    if what != "image" and geotiff.is_geotiff(path):
        return geotiff.read_colours(path)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path} is {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; cut it into tiles"
                )
            if image.format in ("GIF", "PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
                raise DataError(f"{path} is an animation; save the frame that is meant as a PNG of its own")
            if what != "image" and image.mode in ("L", "I", "I;16", "1"):
                raise DataError(
                    f"{path} is a greyscale image; a land-cover map is a colour image on the SECOND palette"
                )
            if image.mode not in ("RGB", "RGBA", "P", "L"):
                raise DataError(f"{path} is an image of mode {image.mode}; convert it to 8-bit RGB")
            image.info.pop("transparency", None)  # PIL warns of it; the colours count, seen through or not
            # a copy: what PIL hands out is read-only
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"no {what} at {path}; is data.root right, and the download complete?") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if isinstance(error, DataError):
            raise
        article = "an" if what == "image" else "a"
        raise DataError(f"{path} cannot be read as {article} {what}: {error}; copy or download it anew") from error
