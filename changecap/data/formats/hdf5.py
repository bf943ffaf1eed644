"""The HDF5 files that the authors' code of SECOND-CC, RSICCformer and PSNet makes of a data set.

For each split ``{TRAIN,VAL,TEST}_IMAGES_<base>.hdf5``, whose dataset ``images`` ``(N, 4 or 2, 3, H, W)`` uint8 holds
before, after and, as four, both maps in colours; ``<SPLIT>_CAPTIONS_<base>.json``, the captions as padded lists of word
ids; ``<SPLIT>_CAPLENS_<base>.json``, their lengths; and ``WORDMAP_<base>.json``. What those files no longer hold is not
to be had: file names, change flags, and rare words, which are all the word ``unk``.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...io.json_file import read_json
from ...io.sources import Stored
from ...language.vocabulary import tokenise
from ..example import Example, Report, stop

SPECIAL = ("<start>", "<end>", "<pad>")


def read(root: Path, split: str, maps: bool | None = True, report: Report = stop) -> list[Example]:
    """The pairs of ``split`` in folder ``root``; they are called ``<split>_000000`` and so on.

    Args:
        root: the folder with the files of all splits.
        split: ``train``, ``val`` or ``test``.
        maps: whether the land-cover maps are wanted, if there are any; a file of two pictures a pair has none.
        report: of no effect, for a file is whole or of no use.

    Raises:
        DataError: h5py is not installed, a file is missing, broken or of another structure, the files do not fit
            together, or there are several data sets in the folder.
    """
    file = _file(root, split)
    base = file.stem.split("_IMAGES_", 1)[1]
    images = _images(file)
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[1] not in (2, 4) or images.shape[2] != 3:
        raise DataError(
            f"{file}: images is {images.shape} {images.dtype}; expected (N, 4 or 2, 3, H, W) uint8, as the code of "
            "SECOND-CC or RSICCformer writes it"
        )
    captions = _captions(root, split.upper(), base)
    count, slots = images.shape[:2]
    each = int(images.file.attrs.get("captions_per_image", images.attrs.get("captions_per_image", 0)))
    if each < 1 or len(captions) != count * each:
        raise DataError(
            f"{file} holds {count} pairs of {each or 'an unknown number of'} captions (captions_per_image), but its "
            f"CAPTIONS file {len(captions)} captions; they are of different runs, make or copy all files anew"
        )
    return [
        Example(
            f"{split}_{i:06d}",
            Stored(file, i, 0),
            Stored(file, i, 1),
            Stored(file, i, 2) if maps is not False and slots == 4 else None,
            Stored(file, i, 3) if maps is not False and slots == 4 else None,
            tuple(captions[i * each : (i + 1) * each]),
            None,
        )
        for i in range(count)
    ]


def splits(root: Path) -> list[str]:
    """The splits that have an image file in ``root``."""
    return sorted({file.name.split("_IMAGES_")[0].lower() for file in root.glob("*_IMAGES_*.hdf5")})


def pixels(source: Stored) -> np.ndarray:
    """The picture as RGB ``(H, W, 3)`` uint8.

    Raises:
        DataError: the file is missing or broken.
    """
    images = _images(source.file)
    try:
        picture: np.ndarray = images[source.index, source.slot]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{source} cannot be read: {error}; copy or make the file anew") from error
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


def _file(root: Path, split: str) -> Path:
    """The one image file of ``split``."""
    files = sorted(root.glob("*_IMAGES_*.hdf5"))
    own = [file for file in files if file.name.startswith(f"{split.upper()}_IMAGES_")]
    if len(own) == 1:
        return own[0]
    if own:
        names = ", ".join(file.name for file in own)
        raise DataError(f"{root} holds several data sets ({names}); give each a folder of its own")
    if files:
        raise DataError(
            f"{root} has no split {split!r} ({split.upper()}_IMAGES_*.hdf5), only: {', '.join(splits(root))}"
        )
    raise DataError(f"no {split.upper()}_IMAGES_*.hdf5 in {root}; set data.root to the folder that holds it")


def _images(file: Path) -> Any:
    """The dataset ``images`` of ``file``, open."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        raise DataError(f"no file at {file}; is data.root right, and the download complete?") from None
    return _open(file, os.getpid(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _open(file: Path, process: int, size: int, time: int) -> Any:
    """Open ``file`` once in each process, for a handle does not survive a fork, and anew when the file is another."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{file} needs h5py, which is not installed: pip install 'changecap[hdf5]'") from None
    try:
        images = h5py.File(file, "r", locking="best-effort")["images"]
    except (OSError, KeyError) as error:
        raise DataError(
            f"{file} is no HDF5 file with a dataset 'images', or cut short: {error}; copy or make it anew"
        ) from error
    if not isinstance(images, h5py.Dataset):
        raise DataError(f"{file}: images is a group; expected a dataset, as the code of SECOND-CC writes it")
    return images


def _captions(root: Path, split: str, base: str) -> list[str]:
    """All captions of the split in their order."""
    ids = _json(root / f"WORDMAP_{base}.json", dict)
    missing = [name for name in SPECIAL if name not in ids]
    if missing or not all(isinstance(i, int) for i in ids.values()):
        raise DataError(
            f"{root / f'WORDMAP_{base}.json'} is no word map: "
            f"{'it has no ' + ', '.join(missing) if missing else 'an id is no number'}; copy or make it anew"
        )
    words = {i: word for word, i in ids.items()}
    file = root / f"{split}_CAPTIONS_{base}.json"
    rows = _json(file, list)
    lengths = _json(root / f"{split}_CAPLENS_{base}.json", list)
    if len(rows) != len(lengths):
        raise DataError(f"{file} holds {len(rows)} captions, and its CAPLENS file {len(lengths)} lengths")
    captions = []
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        try:
            said = [words[j] for j in row[:length]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{file}: caption {i} is no list of ids in the word map: {error!r}") from error
        inner = " ".join(tokenise(" ".join(said[1:-1])))
        if said[:1] != ["<start>"] or said[-1:] != ["<end>"] or not inner or {*said[1:-1]} & {*SPECIAL}:
            raise DataError(f"{file}: caption {i} of length {length} is {said}; expected <start>, words and <end>")
        captions.append(inner)
    return captions


def _json(file: Path, kind: type) -> Any:
    absent = f"no {file.name} in {file.parent}, which holds the images of that name; copy it too"
    content = read_json(file, absent, "copy or make it anew")
    if not isinstance(content, kind):
        raise DataError(f"{file} is a {type(content).__name__}; expected a {kind.__name__}")
    return content
