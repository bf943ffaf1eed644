"""Captions of many pairs of files: batched, resumable, and one broken file does not stop the rest."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from preprocess import Pair

from ..data.file_pairs import Job, Progress, as_file_name, as_line, writing
from ..errors import DataError, UserError
from ..io.atomic import write_whole
from . import figure
from .captioner import Caption, Captioner

COLUMNS = ("id", "text", "log_probability", "changed", "words", "others", "error")


def caption_files(
    captioner: Captioner,
    jobs: Sequence[Job],
    out: Path | None = None,
    *,
    form: str = "text",
    beams: int = 3,
    decode: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
    batch: int = 16,
    workers: int = 2,
    figures: Path | None = None,
    progress: bool = True,
    **raster: Any,
) -> Iterator[dict[str, Any]]:
    """Caption ``jobs`` and yield one row of :data:`COLUMNS` for each, in their order; broken ones have an ``error``.

    What is done is kept in ``out`` + ``.part`` as it comes, so that a second call goes on where the first was stopped;
    ``out`` itself is written whole at the end. Pairs that failed are tried again, and so are those that were captioned
    by another checkpoint, from other files or with other arguments.

    Args:
        captioner: says the sentences.
        jobs: the pairs.
        out: the file of results; ``None``: nothing is kept.
        form: of ``out``: ``"text"`` (name, tab, sentence), ``"json"`` (a JSON object per line) or ``"csv"``.
        beams: width of the beam.
        decode: other settings of the search, see :meth:`Captioner.decoding`.
        generator: what words are drawn with, where ``decode`` says ``do_sample``.
        batch: pairs that are captioned together.
        workers: threads that read files.
        figures: folder for one figure per pair, named by its id; what separates folders becomes ``%2F``.
        progress: show a bar.
        raster: how GeoTIFFs are read, see :func:`changecap.io.geotiff.read_pair`.

    Raises:
        DataError: results or figures cannot be written.
        ConfigError: the search cannot be done so, see :meth:`Captioner.decoding`.
    """
    captioner.decoding(beams, decode)  # what cannot be done shows before any file is read or written
    options = {"beams": beams, "decode": decode, "generator": generator}
    part = None if out is None else out.with_name(f"{out.name}.part")
    seed = None if generator is None else generator.initial_seed()
    made_by = (captioner.config.get("sha256"), beams, decode, seed, raster, figures, captioner.prepare.config)
    rows = []
    if out is not None and out.is_dir():
        raise DataError(f"{out} is a folder; give out= as a file")
    kept = Progress(part, made_by, jobs)
    bar = tqdm(total=len(jobs), desc="captioning", unit="pair", disable=not progress)
    with ThreadPoolExecutor(workers) as pool, bar:
        for first in range(0, len(jobs), batch):
            some = jobs[first : first + batch]
            new = [job for job in some if job.id not in kept.done]
            read = list(pool.map(lambda job: _read(captioner, job, **raster), new))
            fresh = {row["id"]: row for row in _caption(captioner, new, read, figures, **options)}
            kept.add([*fresh.values()])
            for job in some:
                rows.append(kept.done.get(job.id) or fresh[job.id])
                yield rows[-1]
            bar.update(len(some))
    if out is not None and part is not None:
        with writing(out):
            write_whole(out, formatted(rows, form))
            part.unlink()


def formatted(rows: Iterable[Mapping[str, Any]], form: str) -> str:
    """``rows`` as text, JSON lines or CSV; see :func:`caption_files`."""
    if form == "json":
        return "".join(as_line(dict(row)) for row in rows)
    if form == "text":
        said = ((row["id"], row["text"] if row["error"] is None else f"error: {row['error']}") for row in rows)
        return "".join(f"{name}\t{text}\n" for name, text in said)
    file = io.StringIO()
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in rows:
        words = " ".join(f"{w['word']}:{w['probability']:.3f}" for w in row["words"] or ())
        others = " | ".join(other["text"] for other in row.get("others") or ())
        table.writerow({**row, "words": words, "others": others})
    return file.getvalue()


def row_of(name: str, caption: Caption) -> dict[str, Any]:
    """The result for the pair ``name``."""
    probabilities = map(math.exp, caption.log_probabilities)  # one more than words: the end of the sentence
    words = [{"word": w, "probability": p} for w, p in zip(caption.words, probabilities, strict=False)]
    others = [{"text": other.text, "log_probability": other.score} for other in caption.others]
    values = (name, caption.text, caption.score, caption.changed, words, others, None)
    return dict(zip(COLUMNS, values, strict=True))


def _read(captioner: Captioner, job: Job, **raster: Any) -> Pair | str:
    """The pair as the model sees it, or what is wrong with it."""
    if job.error is not None or job.a is None or job.b is None:
        return job.error or f"{job.id} is no pair"
    try:
        return captioner.read(job.a, job.b, job.sem_a, job.sem_b, **raster)
    except (UserError, OSError) as error:
        return str(error)


def _caption(
    captioner: Captioner, jobs: Sequence[Job], read: Sequence[Pair | str], figures: Path | None, **options: Any
) -> Iterator[dict[str, Any]]:
    good = [pair for pair in read if isinstance(pair, Pair)]
    captions = iter(captioner.caption(Pair.stack(good), attend=figures is not None, **options) if good else [])
    for job, pair in zip(jobs, read, strict=True):
        if isinstance(pair, str):
            yield dict.fromkeys(COLUMNS) | {"id": job.id, "error": pair}
            continue
        caption = next(captions)
        if figures is not None:
            path = figures / f"{as_file_name(job.id)}.png"
            with writing(path):
                figure.draw(path, pair, caption)
        yield row_of(job.id, caption)
