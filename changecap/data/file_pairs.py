"""Pairs of files that a verb works through: which there are, and what of them is done when a call is stopped."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..io.atomic import write_whole
from ..io.json_file import read_lines
from .formats import folder

Row = dict[str, Any]  # what became of a pair: its id, an error or None, and more


@dataclass(frozen=True)
class Job:
    """One pair of files, and the error where they cannot be a pair."""

    id: str
    a: Path | None
    b: Path | None
    sem_a: Path | None = None
    sem_b: Path | None = None
    error: str | None = None


def jobs_of(
    a: Path | None, b: Path | None, sem_a: Path | None, sem_b: Path | None, listed: Path | None = None
) -> list[Job]:
    """The pairs that a call names: two files, two folders, or a list in a CSV file.

    Raises:
        UsageError: it names them in no way or in two, or files and folders at once.
        DataError: see :func:`jobs_of_folders` and :func:`jobs_of_list`.
    """
    if listed is not None:
        if a or b:
            raise UsageError("give a and b, or list, not both")
        return jobs_of_list(listed)
    if a is None or b is None:
        raise UsageError("it needs a=... and b=..., two images or two folders, or list=..., a CSV file of pairs")
    kinds = {path: path.is_dir() for path in (a, b, sem_a, sem_b) if path and path.exists()}
    if len(set(kinds.values())) > 1:
        shown = ", ".join(f"{path} is a {'folder' if is_dir else 'file'}" for path, is_dir in kinds.items())
        raise UsageError(f"a, b and the maps must be all files or all folders, but {shown}")
    return jobs_of_folders(a, b, sem_a, sem_b) if a.is_dir() else [Job(a.stem, a, b, sem_a, sem_b)]


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


class Progress:
    """What a call has done, kept in a file as it comes, so that the same call goes on where it was stopped.

    Args:
        file: where it is kept; ``None``: nowhere.
        made_by: what a row depends on beside the files of its pair; rows of another call are dropped.
        jobs: the pairs.

    Raises:
        DataError: the file cannot be written.
    """

    def __init__(self, file: Path | None, made_by: Sequence[Any], jobs: Sequence[Job]) -> None:
        self.file, self.done = file, dict[str, Row]()
        self._keys = {job.id: _key(made_by, job) for job in jobs}
        if file is None:
            return
        for line in read_lines(file) if file.is_file() else ():
            with suppress(KeyError, TypeError):
                if self._keys.get(line["row"]["id"]) == line["key"] and line["row"]["error"] is None:
                    self.done[line["row"]["id"]] = line["row"]
        with writing(file):  # without what failed, what others did, and a line torn by a crash
            write_whole(file, "".join(map(self._line, self.done.values())))

    def add(self, rows: Sequence[Row]) -> None:
        """Keep ``rows``, one for each pair."""
        if self.file is not None:
            with writing(self.file), self.file.open("a", encoding="utf-8") as file:
                file.writelines(map(self._line, rows))

    def _line(self, row: Row) -> str:
        return as_line({"key": self._keys[row["id"]], "row": row})


def _key(made_by: Sequence[Any], job: Job) -> str:
    """What the row of ``job`` depends on, in short."""
    depends = json.dumps([*made_by, job.a, job.b, job.sem_a, job.sem_b], default=str)
    return hashlib.sha256(depends.encode()).hexdigest()[:16]


def as_line(row: Row) -> str:
    """``row`` as a line of JSON."""
    return json.dumps(row, ensure_ascii=False) + "\n"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, a failure to write ``path`` is a :class:`DataError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; mend that and make the same call again"
        ) from error


def as_file_name(name: str) -> str:
    """``name`` without what leads out of a folder or is no file name, and unlike that of every other ``name``."""
    return re.sub(r"[%/\\\x00-\x1f]", lambda found: f"%{ord(found[0]):02X}", name)
