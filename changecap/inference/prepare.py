"""Pairs of files brought onto one another and written anew, as a folder of pairs that every other verb reads.

What is written is what a captioner with the same steps would see before its resize: RGB of 8 bits on the grid of the
date before. Knows files; what happens to the pixels is :mod:`preprocess.pipeline`'s.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from preprocess import Chain, Pair, warp
from preprocess.pipeline import Done
from preprocess.step import Step

from ..data.augmentation import chains
from ..data.dataset import read_image, read_map
from ..data.file_pairs import Job, Progress, Row, as_file_name, as_line, writing
from ..errors import ConfigError, DataError, UsageError, UserError
from ..io import geotiff
from ..io.atomic import write_whole
from ..io.images import save
from . import figure

ROWS = "pairs.jsonl"  # in the folder of results: a row for each pair
_KEPT = ".prepared.jsonl"  # beside it: what the same call need not do again
_FOLDERS = ("A", "B", "sem_a", "sem_b")  # as changecap.data.formats.folder reads them
_NEARLY = 0.02  # share of a side by which sizes may differ: what cutting and resampling lose


class Source(NamedTuple):
    """A pair as it was read: where it is known at both dates ``(H, W)``, and where it lies."""

    pair: Pair
    valid: Tensor
    window: tuple[int, int, int, int]  # column, row, width, height in pixels of the date before
    transform: Any = None
    crs: Any = None


def chain_of(steps: Sequence[Any]) -> Chain:
    """The chain of ``steps``, which all act always.

    Raises:
        ConfigError: a step is not known, wrong, or an augmentation.
    """
    always, drawn = chains({"steps": steps})
    if drawn.names:
        raise ConfigError(
            f"steps: {drawn.names[0]} augments, in training only; leave it out, or write copies with changecap augment"
        )
    return always


def prepare_files(
    chain: Chain,
    jobs: Sequence[Job],
    out: Path,
    *,
    figures: Path | None = None,
    workers: int = 2,
    device: str = "cpu",
    progress: bool = True,
    **raster: Any,
) -> Iterator[Row]:
    """Prepare ``jobs`` and yield a row for each, in their order; a pair that cannot be read has an ``error``.

    ``out`` becomes a folder of pairs: ``A/``, ``B/``, with maps ``sem_a/`` and ``sem_b/``, files called by the pairs'
    ids; GeoTIFFs with the georeference of date a and a mask where both dates show the place, else PNGs, date b with an
    alpha channel where it does not. ``pairs.jsonl`` has a row for each pair once all are done: ``id``, ``window``
    (column, row, width, height in pixels of date a), ``overlap`` (share of it that both dates show), ``steps`` (the
    name of each and what it did), ``files`` and ``error``. Files are written whole; pairs that the same call has done
    are not done again.

    Args:
        chain: of steps that always act, see :func:`chain_of`.
        jobs: the pairs.
        out: the folder.
        figures: folder for one figure per pair.
        workers: threads that read files.
        device: where the steps are computed.
        progress: show a bar.
        raster: how GeoTIFFs are read, see :func:`changecap.io.geotiff.read_pair`.

    Raises:
        UsageError: files would be written over the pairs.
        DataError: results cannot be written.
    """
    given = {path.parent.resolve() for job in jobs for path in (job.a, job.b, job.sem_a, job.sem_b) if path}
    if taken := [name for name in _FOLDERS if (out / name).resolve() in given]:
        raise UsageError(f"{out / taken[0]} holds pairs that would be written over; give another out=")
    rows: list[Row] = []
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    kept = Progress(out / _KEPT, (chain.config, raster, figures), jobs)
    done = {name: row for name, row in kept.done.items() if all((out / file).is_file() for file in row["files"])}
    bar = tqdm(total=len(jobs), desc="preparing", unit="pair", disable=not progress)
    with ThreadPoolExecutor(workers) as pool, bar:
        for first in range(0, len(jobs), workers):  # few at a time, for a pair may be a scene
            some = jobs[first : first + workers]
            new = [job for job in some if job.id not in done]
            sources = dict(zip(new, pool.map(lambda job: _attempt(job, raster), new), strict=True))
            for job in some:
                if job in sources:
                    row = _prepared(chain, job, sources[job], out, figures, device)
                    kept.add([row])
                rows.append(row if job in sources else done[job.id])
                yield rows[-1]
                bar.update()
    with writing(out / ROWS):
        write_whole(out / ROWS, "".join(map(as_line, rows)))


def in_short(row: Mapping[str, Any]) -> str:
    """A line that says what became of a pair."""
    if row["error"] is not None:
        return f"{row['id']}\terror: {row['error']}"
    return f"{row['id']}\toverlap {row['overlap']:.1%}; {'; '.join(map(figure.step_text, row['steps']))}"


def _attempt(job: Job, raster: Mapping[str, Any]) -> Source | str:
    """The pair, or what is wrong with it."""
    try:
        return read(job, **raster)
    except (UserError, OSError) as error:
        return str(error)


def read(job: Job, **raster: Any) -> Source:
    """The pair in the files of ``job``, of uint8; two GeoTIFFs on one grid, see :func:`changecap.io.geotiff.read_pair`.

    Other images whose sizes differ by at most 2 % of a side are cut to what both have, from their upper left corners.

    Raises:
        DataError: a file cannot be read, there is one map only, or the files do not belong together.
    """
    if job.error is not None or job.a is None or job.b is None:
        raise DataError(job.error or f"{job.id} is no pair")
    if (job.sem_a is None) != (job.sem_b is None):
        raise DataError("maps come in pairs: give both sem_a and sem_b, or neither")
    placed = [path for path in (job.a, job.b) if geotiff.is_geotiff(path)]
    if len(placed) == 2:
        found = geotiff.read_pair(job.a, job.b, sem_a=job.sem_a, sem_b=job.sem_b, **raster)
        return Source(found.pair, found.valid, found.window, found.transform, found.crs)
    if placed:
        raise DataError(f"{placed[0]} is a GeoTIFF and the other date is not; give both as GeoTIFFs, or both as PNGs")
    if raster:
        raise DataError(f"{', '.join(raster)} can be chosen of two GeoTIFFs only, not of {job.a} and {job.b}")
    images = [read_image(path) for path in (job.a, job.b)]
    maps = [read_map(path) for path in (job.sem_a, job.sem_b) if path is not None]
    for path, x, map_path, m in zip((job.a, job.b), images, (job.sem_a, job.sem_b), maps, strict=False):
        if x.shape[-2:] != m.shape:
            raise DataError(f"{map_path} is {_size(m)} pixels, but its image {path} is {_size(x)}; cut them alike")
    sides = list(zip(*(x.shape[-2:] for x in images), strict=True))  # heights, widths
    if any(max(pair) - min(pair) > math.ceil(_NEARLY * max(pair)) for pair in sides):
        shown = " and ".join(f"{path} {_size(x)}" for path, x in zip((job.a, job.b), images, strict=True))
        raise DataError(f"{shown} pixels: sizes that differ by more than 2 % tell of another extent; cut them alike")
    h, w = (min(pair) for pair in sides)
    pair = Pair(*(x[..., :h, :w].contiguous() for x in (*images, *maps)))
    return Source(pair, torch.ones(h, w, dtype=torch.bool), (0, 0, w, h))


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]} x {x.shape[-2]}"


def _prepared(chain: Chain, job: Job, source: Source | str, out: Path, figures: Path | None, device: str) -> Row:
    """Write the pair after ``chain``; its row."""
    row: Row = dict.fromkeys(("id", "window", "overlap", "steps", "files", "error")) | {"id": job.id}
    if isinstance(source, str):
        return row | {"error": source}
    try:
        done = chain.run(source.pair.unsqueeze().to(device))
    except ValueError as error:
        return row | {"error": f"{job.id}: {error}"}
    pair, valid = done.pair.to("cpu").squeeze(), _valid(source.valid, done)
    row |= {"window": list(source.window), "overlap": valid.float().mean().item(), "steps": _told(chain, done)}
    name, ending = as_file_name(job.id), ".tif" if geotiff.is_geotiff(job.a) else ".png"
    masks = (source.valid, valid, None, None)  # a map says itself where it knows nothing
    files = []
    for folder, x, mask in zip(_FOLDERS, pair, masks, strict=True):
        if x is not None:
            files.append(f"{folder}/{name}{ending}")
            with writing(out / files[-1]):
                (out / folder).mkdir(exist_ok=True)
                save(out / files[-1], x.byte(), mask, source.transform, source.crs)
    if figures is not None:
        path = figures if figures.suffix == ".png" else figures / f"{name}.png"
        with writing(path):
            figure.draw_prepared(path, source.pair, pair, valid, row)
    return row | {"files": files}


def _valid(valid: Tensor, done: Done) -> Tensor:
    """Where both dates show the place after the steps ``(H, W)``: what was known of date b has moved with it."""
    for _, told in done.parameters:
        if "matrix" in told:
            size = (valid.shape[0], valid.shape[1])
            there = warp(valid[None, None].float(), told["matrix"], size, flow=told.get("flow"))[0, 0]
            valid = valid & (there > 0.99)
    return valid


def _told(chain: Chain, done: Done) -> list[dict[str, Any]]:
    """What each step did, as JSON has it."""
    told = []
    for step, (name, parameters) in zip(chain.steps, done.parameters, strict=True):
        assert isinstance(step, Step)
        if "flow" in parameters:  # a shift for each pixel: their mean length says enough
            parameters = parameters | {"flow": parameters["flow"].norm(dim=1).mean((1, 2))}
        told.append({"step": name} | {key: _plain(x[0], step.words.get(key)) for key, x in parameters.items()})
    return told


def _plain(value: Tensor, words: Sequence[str] | None) -> Any:
    number: Any = value.tolist()
    if words is not None:
        return words[number]
    return None if isinstance(number, float) and not math.isfinite(number) else number
