"""The pack: a split's decoded and resized pairs in one memory-mapped file, so that no picture is decoded twice.

The file is a page of header and then one row ``(C, H, W)`` uint8 for each pair: before and after (3 channels each)
and, with maps, their classes (1 each). It appears under its name only when it is whole, so processes may read it and
race to write it as they like. Its fingerprint is of the names, sizes and times of the files that went in; a pack of
other files is left aside and removed.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from preprocess import Pair

from ..errors import DataError
from ..io.sources import Stored

if TYPE_CHECKING:
    from .dataset import PairDataset

log = logging.getLogger(__name__)

VERSION = 2  # of the layout, and of what is done to the pixels
MAGIC = f"changecap pack {VERSION}\r\n".encode()
PAGE = 4096  # bytes of header; rows begin where a page of memory does
_DIGEST = 32  # bytes of the header's hash
_PART = ".part-"
_STALE = 3600  # seconds without a write after which a temporary file has no writer any more
_FIELDS = (slice(0, 3), slice(3, 6), 6, 7)  # channels of a, b, sem_a, sem_b
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Pack:
    """The pairs in file ``path``; only the rows asked for are copied.

    Raises:
        DataError: the file is no pack, one of another version, or cut short.
    """

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        self.path, self.snapped, shape = path, header["snapped"], tuple(header["shape"])
        self._fields = _FIELDS if shape[1] == 8 else _FIELDS[:2]
        self._rows = np.asarray(np.memmap(path, np.uint8, "r", PAGE, shape))

    def __reduce__(self) -> tuple[type["Pack"], tuple[Path]]:
        return Pack, (self.path,)  # a process that is sent a pack maps the file itself

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Pair:
        """Pair ``index``: images ``(3, H, W)``, maps ``(H, W)``, uint8."""
        return Pair(*(torch.from_numpy(self._rows[index, field].copy()) for field in self._fields))

    def batch(self, indices: Sequence[int]) -> Pair:
        """Pairs ``indices`` as one batch, uint8."""
        fields = (np.stack([self._rows[i, field] for i in indices]) for field in self._fields)
        return Pair(*map(torch.from_numpy, fields))


def packed(dataset: "PairDataset", root: Path, workers: int = 2, progress: bool = False) -> Pack:
    """The pack of ``dataset``, written first where there is none of its files as they are now.

    It lies in ``root/.changecap`` or, where that cannot be written, in ``$XDG_CACHE_HOME/changecap``.

    Args:
        dataset: the pairs.
        root: the folder of the data set.
        workers: threads that decode.
        progress: show a bar.

    Raises:
        DataError: a file is missing or broken, or changed meanwhile; pairs are of several sizes and no size is set; the
            disk is full, or nowhere may be written.
    """
    settings = {key: getattr(dataset, key) for key in ("split", "size", "maps", "palette", "bands", "scale")}
    if dataset.prepare is not None:
        settings["preprocess"] = dataset.prepare.config
    settings = json.loads(json.dumps(settings))  # as a header will say them: tuples become lists
    mark = fingerprint(dataset, root, settings)
    split = re.sub(r"[^\w.-]", "_", dataset.split)
    name = f"{split}-{dataset.size or 'own'}-{mark[:16]}.pack"
    for folder in _folders(root):
        try:
            found = Pack(folder / name)
        except OSError:  # none there
            continue
        except DataError as error:
            log.warning("%s; it is written anew", error)
            continue
        if found.snapped:
            log.warning("%s: %d pixels off the palette were snapped when it was written", found.path, found.snapped)
        return found
    for folder in _folders(root):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _tidy(folder)
            made = _write(folder / name, dataset, dataset.pairs(workers, progress, "packing"), root, settings, mark)
            _tidy(folder, settings, mark)
            return made
        except OSError as error:
            if error.errno in _READ_ONLY:
                continue
            raise DataError(
                f"the pack of split {dataset.split} cannot be written to {folder}: {error}; "
                "free some space there, or go without: data.pack=false"
            ) from error
    places = " nor ".join(map(str, _folders(root)))
    raise DataError(
        f"the pack of split {dataset.split} can be written neither to {places}; set XDG_CACHE_HOME to a folder that "
        "can be, or go without: data.pack=false"
    )


def fingerprint(dataset: "PairDataset", root: Path, settings: Mapping[str, Any]) -> str:
    """A hash of everything that decides what the pack holds: files (name, size, time), order and settings.

    Raises:
        DataError: a file is missing.
    """
    digest = hashlib.sha256(json.dumps([VERSION, settings]).encode())
    seen: dict[Path, str] = {}
    for example in dataset.examples:
        for source in (example.a, example.b, *((example.sem_a, example.sem_b) if dataset.maps else ())):
            if source is None:
                continue  # an error once it is read, and that says more
            path, place = (source.file, f"{source.index} {source.slot}") if isinstance(source, Stored) else (source, "")
            if path not in seen:
                try:
                    stat = path.stat()
                except OSError as error:
                    raise DataError(f"no file at {path}: {error.strerror}; is the download complete?") from None
                name = str(path).removeprefix(str(root))  # a folder that is moved keeps its packs
                seen[path] = f"{name} {stat.st_size} {stat.st_mtime_ns}"
            digest.update(f"{seen[path]} {place}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def read_header(path: Path) -> dict[str, Any]:
    """What the pack in file ``path`` says of itself.

    Raises:
        OSError: there is no such file.
        DataError: it is no pack, one of another version, or cut short.
    """
    with path.open("rb") as file:
        page = file.read(PAGE)
        length = os.fstat(file.fileno()).st_size
    if page != _header(text := page[len(MAGIC) + _DIGEST :]):
        raise DataError(f"{path} is no pack of version {VERSION}, or its header is damaged")
    header: dict[str, Any] = json.loads(text)
    if length != header["bytes"]:
        raise DataError(f"{path} is cut short: {length} of {header['bytes']} bytes")
    return header


def _header(text: bytes) -> bytes:
    """The first page of a pack whose ``text`` fills it: what is no such page was altered, or is of another version."""
    return MAGIC + hashlib.sha256(text).digest() + text


def _folders(root: Path) -> tuple[Path, Path]:
    """Where packs of ``root`` may lie, the best first."""
    whole = root.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / ".changecap", cache / "changecap" / f"{whole.name}-{hashlib.sha256(bytes(whole)).hexdigest()[:8]}"


def _write(
    path: Path, dataset: "PairDataset", pairs: Iterator[Pair], root: Path, settings: Mapping[str, Any], mark: str
) -> Pack:
    """Write the pack, whole or not at all, and map it."""
    with NamedTemporaryFile(dir=path.parent, prefix=_PART, delete=False) as file:
        try:
            file.seek(PAGE)  # the header comes last
            for i, pair in enumerate(pairs):
                row = np.concatenate([x.numpy().reshape(-1, *x.shape[-2:]) for x in pair if x is not None])
                if i == 0:
                    shape = (len(dataset), *row.shape)
                    length = PAGE + len(dataset) * row.nbytes
                    _check_room(path.parent, length)
                file.write(row.data)
            if fingerprint(dataset, root, settings) != mark:
                raise DataError(f"files in {root} changed while they were packed; begin again when they are complete")
            header = {"fingerprint": mark, "settings": settings, "shape": shape, "bytes": length}
            text = json.dumps({**header, "snapped": sum(dataset.snapped.values())})
            file.seek(0)
            file.write(_header(text.encode().ljust(PAGE - len(MAGIC) - _DIGEST)))
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # temporary files are private, data are not
            made = Pack(Path(file.name))  # before another process can remove it
            os.replace(file.name, path)
            made.path = path
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return made


def _check_room(folder: Path, length: int) -> None:
    """Refuse now what would fail after an hour of decoding."""
    free = shutil.disk_usage(folder).free
    if free < length:
        raise OSError(errno.ENOSPC, f"it takes {length / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free")


def _tidy(folder: Path, settings: Mapping[str, Any] | None = None, mark: str = "") -> None:
    """Remove what killed writers left and, given ``settings``, packs made by them of other files than ``mark``."""
    for part in folder.glob(f"{_PART}*"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()
    for path in folder.glob("*.pack") if settings else ():
        with suppress(OSError, DataError):
            header = read_header(path)
            if header["settings"] == settings and header["fingerprint"] != mark:
                path.unlink()
