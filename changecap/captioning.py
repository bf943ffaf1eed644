"""Captions of many pairs of files: batched, resumable, and one broken file does not stop the rest."""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from preprocess import Pair

from . import figure
from .captioner import Caption, Captioner
from .data import folder
from .errors import DataError, UserError
from .jsonfile import read_lines
from .metrics import write_whole

COLUMNS = ("id", "text", "log_probability", "changed", "words", "others", "error")


@dataclass(frozen=True)
class Job:
    """One pair of files to caption, and the error where they cannot be a pair."""

    id: str
    a: Path | None
    b: Path | None
    sem_a: Path | None = None
    sem_b: Path | None = None
    error: str | None = None


def jobs_of_folders(a: Path, b: Path, sem_a: Path | None = None, sem_b: Path | None = None) -> list[Job]:
    """The pairs in folders ``a`` and ``b`` and their maps, joined by name without its ending, in order of names.

    A file without partner, and one whose name does not say which is its partner, become jobs with an error.

    Raises:
        DataError: a folder is missing or holds no image.
    """
    named = {"a": a, "b": b, "sem_a": sem_a, "sem_b": sem_b}
    places = {key: place for key, place in named.items() if place is not None}
    rows = folder.join(list(places.values()))
    for i, place in enumerate(places.values()):
        if not place.is_dir():
            raise DataError(f"no folder {place}")
        if not any(row.files[i] for row in rows):
            raise DataError(f"{place} holds no image ({', '.join(folder.ENDINGS)})")
    jobs = []
    for row in rows:
        if not any(row.files[:2]):  # a map alone is no pair
            continue
        files = dict(zip(places, row.files, strict=True))
        missing = [f"{places[key]} has no {row.stem}" for key, file in files.items() if file is None]
        jobs.append(Job(row.stem, **files, error=row.problem or "; ".join(missing) or None))
    return jobs


def jobs_of_list(file: Path) -> list[Job]:
    """The pairs in a CSV file with the columns ``a`` and ``b``, and if wanted ``id``, ``sem_a``, ``sem_b``.

    Files are looked for from the folder of the list.

    Raises:
        DataError: the file is missing, empty, not UTF-8, or lacks a column; an id is there twice.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{file} is not UTF-8: line {line} cannot be read; save the list as CSV in UTF-8") from error
    except (OSError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{file} cannot be read as a list of pairs: {why}; give a CSV file in UTF-8") from error
    if not rows or not {"a", "b"} <= rows[0].keys():
        raise DataError(f"{file} must be a CSV file with a header line that names a and b, and a line for each pair")
    jobs: dict[str, Job] = {}
    for number, row in enumerate(rows, start=2):
        paths = {key: file.parent / row[key] if row.get(key) else None for key in ("a", "b", "sem_a", "sem_b")}
        name = row.get("id") or Path(row["a"] or str(number)).stem
        if name in jobs:
            raise DataError(f"{file}, line {number}: the pair {name!r} is there twice; add a column id")
        missing = [f"{file}, line {number} has no {key}" for key in ("a", "b") if paths[key] is None]
        jobs[name] = Job(name, **paths, error="; ".join(missing) or None)
    return list(jobs.values())


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
        raster: how GeoTIFFs are read, see :func:`changecap.geo.read_pair`.

    Raises:
        DataError: results or figures cannot be written.
        ConfigError: the search cannot be done so, see :meth:`Captioner.decoding`.
    """
    captioner.decoding(beams, decode)  # what cannot be done shows before any file is read or written
    options = {"beams": beams, "decode": decode, "generator": generator}
    part = None if out is None else out.with_name(f"{out.name}.part")
    seed = None if generator is None else generator.initial_seed()
    made_by = (captioner.config.get("sha256"), beams, decode, seed, raster, figures, captioner.prepare.config)
    keys = {job.id: _key(made_by, job) for job in jobs}
    done = {} if part is None else _done(part, keys)
    rows = []
    if out is not None and out.is_dir():
        raise DataError(f"{out} is a folder; give out= as a file")
    if part is not None:
        with writing(part):
            write_whole(part, "".join(_kept(keys, done)))
    bar = tqdm(total=len(jobs), desc="captioning", unit="pair", disable=not progress)
    with ThreadPoolExecutor(workers) as pool, bar:
        for first in range(0, len(jobs), batch):
            some = jobs[first : first + batch]
            new = [job for job in some if job.id not in done]
            read = list(pool.map(lambda job: _read(captioner, job, **raster), new))
            fresh = {row["id"]: row for row in _caption(captioner, new, read, figures, **options)}
            if part is not None:
                with writing(part), part.open("a", encoding="utf-8") as file:
                    file.writelines(_kept(keys, fresh))
            for job in some:
                rows.append(done.get(job.id) or fresh[job.id])
                yield rows[-1]
            bar.update(len(some))
    if out is not None and part is not None:
        with writing(out):
            write_whole(out, formatted(rows, form))
            part.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, a failure to write ``path`` is a :class:`DataError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; mend that and make the same call again"
        ) from error


def formatted(rows: Iterable[Mapping[str, Any]], form: str) -> str:
    """``rows`` as text, JSON lines or CSV; see :func:`caption_files`."""
    if form == "json":
        return "".join(map(_line, rows))
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
            path = figures / f"{_as_file_name(job.id)}.png"
            with writing(path):
                figure.draw(path, pair, caption)
        yield row_of(job.id, caption)


def _as_file_name(name: str) -> str:
    """``name`` without what leads out of a folder or is no file name, and unlike that of every other ``name``."""
    return re.sub(r"[%/\\\x00-\x1f]", lambda found: f"%{ord(found[0]):02X}", name)


def _key(made_by: tuple[Any, ...], job: Job) -> str:
    """What the caption of ``job`` depends on, in short."""
    depends = json.dumps([*made_by, job.a, job.b, job.sem_a, job.sem_b], default=str)
    return hashlib.sha256(depends.encode()).hexdigest()[:16]


def _kept(keys: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Lines of the file that a stopped call leaves."""
    return (_line({"key": keys[name], "row": row}) for name, row in rows.items())


def _done(part: Path, keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Rows that a call like this one finished before it; a line torn by a crash is left out."""
    rows = {}
    for line in read_lines(part) if part.is_file() else ():
        with suppress(KeyError, TypeError):
            if keys.get(line["row"]["id"]) == line["key"] and line["row"]["error"] is None:
                rows[line["row"]["id"]] = line["row"]
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
