"""A plain folder of pairs: ``A/``, ``B/``, if there are maps ``sem_a/``, ``sem_b/``, and perhaps ``captions.json``.

All of it either in the folder itself, which then is the split ``test``, or once in each of ``train/``, ``val/`` and
``test/``. Pairs are joined by name; the ending may differ.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...io.json_file import read_json
from ...language.vocabulary import tokenise
from ..example import Example, Report, require, stop
from . import karpathy

CAPTIONS = "captions.json"
SPLITS = ("train", "val", "test")
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def read(root: Path, split: str, maps: bool | None = True, report: Report = stop) -> list[Example]:
    """The pairs of ``split`` in folder ``root``; without a caption file they have no captions.

    Args:
        root: the folder.
        split: ``train``, ``val`` or ``test``.
        maps: whether the land-cover maps must be there; ``None``: if there is a folder of them.
        report: takes the kind and the message of each problem that is no reason to leave the rest unread.

    Raises:
        DataError: a folder is missing or empty, the caption file is broken or of another structure. Unless ``report``
            goes on: an image has no partner, names are ambiguous, or the captions do not fit the pairs.
    """
    folder = _folder(root, split)
    there = any(os.path.isdir(folder / name) for name in ("sem_a", "sem_b"))
    if maps and not there:
        raise DataError(f"no land-cover maps in {folder}: neither sem_a nor sem_b is there; use inputs=rgb")
    places = [folder / name for name in ("A", "B", "sem_a", "sem_b")[: 4 if there and maps is not False else 2]]
    rows = {row.stem: row for row in join(places) if any(row.files[:2])}  # a map alone is no pair
    if not rows:
        raise DataError(f"no pair in {folder}: A and B hold no file that ends in {', '.join(ENDINGS)}")
    names = {stem: next(filter(None, row.files)).name for stem, row in rows.items()}
    captions = _captions(root, folder, names, report)
    examples = []
    for stem, name in names.items():
        if rows[stem].problem:
            report("names", rows[stem].problem)
        files = karpathy.Files(*(file or place / name for place, file in zip(places, rows[stem].files, strict=True)))
        examples.append(Example(name, *files[:4], captions.get(stem, ()), None))
        require(examples[-1], "a folder beside it", report)
    return examples


@dataclass(frozen=True)
class Row:
    """The files of several folders that share a name without its ending.

    ``files`` has one for each folder, ``None`` where there is none; ``problem`` says why the name does not tell which
    belong together, and is empty where it does.
    """

    stem: str
    files: tuple[Path | None, ...]
    problem: str = ""


def join(places: Sequence[Path]) -> list[Row]:
    """The images in the folders ``places``, joined by name without ending, in the order of names.

    Hidden files, other files and folders are passed by. A folder that is not there holds nothing.

    Raises:
        DataError: a folder cannot be listed.
    """
    listed = [_listed(place) for place in places]
    stems = sorted({stem for found in listed for stem in found})
    alike: dict[str, list[str]] = defaultdict(list)
    for stem in stems:
        alike[stem.casefold()].append(stem)
    rows = []
    for stem in stems:
        problem = ""
        if len(cases := alike[stem.casefold()]) > 1:  # one file, or two: that is for the file system to say
            several = (next(found[case][0] for found in listed if case in found) for case in cases)
            problem = f"{' and '.join(map(str, several))} differ only in case; rename one"
        for place, found in zip(places, listed, strict=True):
            if len(files := found.get(stem, ())) > 1:
                names = " and ".join(file.name for file in files)
                problem = f"{names} in {place} are both called {stem}; remove or rename one"
        rows.append(Row(stem, tuple(found[stem][0] if stem in found else None for found in listed), problem))
    return rows


def splits(root: Path) -> list[str]:
    """The splits in folder ``root``; a folder without any is ``test``."""
    return [split for split in SPLITS if _holds(root / split)] or ["test"]


def sentences(content: Any, source: Path) -> dict[str, list[str]]:
    """Sentences by name, from ``{name: [sentence, ...]}`` or ``[{"filename", "captions" | "sentences"}, ...]``.

    Raises:
        DataError: ``content`` of file ``source`` is neither, or names a pair twice.
    """
    if isinstance(content, list):
        entries = content
    elif isinstance(content, dict):
        entries = [{"filename": name, "captions": said} for name, said in content.items()]
    else:
        raise DataError(f"{source} is neither {{name: [sentence, ...]}} nor a list of filename and captions")
    found: dict[str, list[str]] = {}
    for i, entry in enumerate(entries):
        name, said = _entry(entry)
        if name is None or said is None:
            raise DataError(f'{source}: entry {i} is not {{"filename": text, "captions": [sentence, ...]}}: {entry!r}')
        if name in found:
            raise DataError(f"{source}: {name} is listed twice")
        found[name] = said
    return found


def _entry(entry: Any) -> tuple[str | None, list[str] | None]:
    """Name and sentences of ``entry``, ``None`` in place of what is not as it should be."""
    if not isinstance(entry, Mapping):
        return None, None
    name, said = entry.get("filename"), entry.get("captions", entry.get("sentences"))
    if isinstance(said, list):  # as Karpathy writes them, too
        said = [s.get("raw") if isinstance(s, Mapping) else s for s in said]
    fits = isinstance(said, list) and all(isinstance(s, str) for s in said)
    return name if isinstance(name, str) else None, said if fits else None


def _holds(folder: Path) -> bool:
    """Whether there are pairs in ``folder``, or halves of pairs."""
    return any(os.path.isdir(folder / date) for date in "AB")


def _folder(root: Path, split: str) -> Path:
    """The folder that holds ``A`` and ``B`` of ``split``."""
    found = splits(root)
    folder = root / split if _holds(root / split) else root
    if folder == root and split not in found:
        raise DataError(
            f"{root} has no split {split!r}, only: {', '.join(found)}; a folder of train/, val/ and test/ has splits, "
            "and a plain one is the split test"
        )
    if lacking := [name for name in "AB" if not os.path.isdir(folder / name)]:
        raise DataError(
            f"no folder {' and no '.join(lacking)} in {folder}; a folder of pairs has A/ (before) and B/ (after), "
            "or train/A and so on; set data.root"
        )
    return folder


def _listed(place: Path) -> dict[str, list[Path]]:
    """Images in ``place`` by stem; folders in it are not entered, so no loop of links is followed."""
    found: dict[str, list[Path]] = defaultdict(list)
    try:
        # os.path answers where pathlib raises: a link to itself is no folder, and is missed later
        names = sorted(n for n in os.listdir(place) if n[0] != "." and not os.path.isdir(place / n))
    except FileNotFoundError:
        return found
    except OSError as error:
        raise DataError(f"{place} cannot be listed: {error.strerror}") from error
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() in ENDINGS:
            found[stem].append(place / name)
    return found


def _captions(root: Path, folder: Path, names: Mapping[str, str], report: Report) -> dict[str, tuple[str, ...]]:
    """Captions by stem; ``names`` has the file name of each."""
    file = next((f for f in (folder / CAPTIONS, root / CAPTIONS) if os.path.lexists(f)), None)
    if file is None:
        return {}
    stem_of = {name: stem for stem, name in names.items()} | {stem: stem for stem in names}
    found: dict[str, tuple[str, ...]] = {}
    for name, said in sentences(read_json(file), file).items():
        stem = stem_of.get(name) or stem_of.get(os.path.splitext(name)[0])
        if stem is None:
            if file.parent == folder:  # else it may be of another split
                report("captions", f"{file} lists {name}, but {folder} has no such pair")
            continue
        words = [" ".join(tokenise(s)) for s in said]
        if not words or not all(words):
            report("captions", f"{file}: {name} has no caption, or an empty one")
        found[stem] = tuple(filter(None, words))
    for stem in names.keys() - found.keys():
        report("captions", f"{file} has no caption for {names[stem]}")
    return found
