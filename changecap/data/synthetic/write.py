"""The simulated data set on disk, laid out as SECOND-CC is published."""

import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...errors import DataError
from ...landcover import PALETTE
from ..formats.second_cc import CAPTIONS
from .grammar import captions
from .render import render_pair

VERSION = 4  # of the simulator; another version draws other pixels
PARAMETERS = "SYNTH.json"
_WORDS = 1  # second stream of the pair's generator: wording is drawn apart from the scene
_FOLDERS = ("rgb/A", "rgb/B", "sem/A", "sem/B")
_BYTES = 4.4  # on disk per pixel of a pair: two images, two maps


def write(
    out: str | Path,
    pairs: int = 6000,
    size: int = 256,
    seed: int = 0,
    val: int | None = None,
    test: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Simulate ``pairs`` pairs into folder ``out``; a pair depends on ``seed`` and its number alone.

    Args:
        out: must not exist, or be empty; it appears whole or not at all.
        pairs: in all splits together.
        size: side of the images in pixels.
        seed: of the data set.
        val: pairs for validation, a tenth when not given.
        test: pairs for testing, a tenth when not given.
        workers: processes, one per core when not given.
        progress: show a bar.

    Raises:
        DataError: ``out`` is taken or cannot be written, or the numbers do not fit together.
    """
    out = Path(out)
    val, test = (pairs // 10 if n is None else n for n in (val, test))
    if pairs < 1 or size < 16 or val < 0 or test < 0 or val + test >= pairs:
        raise DataError(
            f"synth needs pairs >= 1, size >= 16 and room for training pairs beside val and test, "
            f"got pairs={pairs}, size={size}, val={val}, test={test}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; remove it, or give another out=")
    splits = ["train"] * (pairs - val - test) + ["val"] * val + ["test"] * test
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise DataError(f"{out} cannot be made: {error}; choose another out=") from error
    try:
        for split in set(splits):
            for folder in _FOLDERS:
                (part / split / folder).mkdir(parents=True)
        entries = list(_render_all(splits, part, size, seed, workers, progress))
        _number(entries)
        parameters = parameters_of(pairs, size, seed, val, test)
        (part / CAPTIONS).write_text(json.dumps({"dataset": "changecap-synth", "images": entries}), encoding="utf-8")
        (part / PARAMETERS).write_text(json.dumps(parameters, indent=1), encoding="utf-8")
        part.chmod(0o755)
        part.replace(out)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            raise DataError(
                f"writing {pairs} pairs of {size} pixels to {out} failed and left nothing behind: {error}; "
                f"they take about {_BYTES * size * size * pairs / 1e6:,.0f} MB"
            ) from error
        raise
    return out


def parameters_of(pairs: int, size: int, seed: int, val: int | None = None, test: int | None = None) -> dict[str, int]:
    """What :func:`write` records beside the data, from which the same pixels can be made again."""
    val, test = (pairs // 10 if n is None else n for n in (val, test))
    return {"version": VERSION, "pairs": pairs, "size": size, "seed": seed, "val": val, "test": test}


def _render_all(
    splits: list[str], part: Path, size: int, seed: int, workers: int | None, progress: bool
) -> Iterator[dict[str, Any]]:
    workers = workers or cpu_count() or 1
    job = partial(_one, part=part, size=size, seed=seed)
    bar = partial(tqdm, total=len(splits), desc="simulating", unit="pair", disable=not progress)
    if workers == 1:
        yield from bar(map(job, range(len(splits)), splits))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield from bar(pool.map(job, range(len(splits)), splits, chunksize=16))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _one(index: int, split: str, part: Path, size: int, seed: int) -> dict[str, Any]:
    """Render and write one pair; returns its entry of the caption file."""
    *pictures, facts = render_pair(seed, index, size)
    name = f"{index:06d}.png"
    for folder, picture in zip(_FOLDERS, pictures, strict=True):
        path = part / split / folder / name
        if picture.ndim == 3:
            path.write_bytes(_png(picture))
        else:
            image = Image.fromarray(picture)
            image.putpalette(PALETTE.tobytes())
            image.save(path, compress_level=1)
    sentences = captions(facts, np.random.default_rng([seed, index, _WORDS]))
    return {
        "split": split,
        "filename": name,
        "imgid": index,
        "changeflag": int(bool(facts)),
        "sentences": [{"raw": s, "tokens": s.split(), "imgid": index} for s in sentences],
        "facts": [fact.to_json() for fact in facts],
    }


def _png(image: np.ndarray) -> bytes:
    """The file of ``image`` ``(H, W, 3)`` uint8, in half the time that Pillow takes.

    Rows are stored as differences from the row above, and coded without a search for repetitions: noise has none.
    """
    height, width, _ = image.shape
    pixels = image.reshape(height, -1)
    rows = np.empty((height, 1 + pixels.shape[1]), np.uint8)
    rows[:, 0] = 2  # the filter "up"
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", deflate.compress(rows.tobytes()) + deflate.flush()),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _number(entries: list[dict[str, Any]]) -> None:
    """Give every sentence its running number, as Karpathy's files do."""
    sentid = 0
    for entry in entries:
        entry["sentids"] = list(range(sentid, sentid + len(entry["sentences"])))
        for sentence in entry["sentences"]:
            sentence["sentid"] = sentid
            sentid += 1
