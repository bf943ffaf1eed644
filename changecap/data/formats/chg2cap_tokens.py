"""What the code of Chg2Cap makes of LEVIR-CC: images, a file of tokens for each pair, and lists of names.

``images/<split>/{A,B}/<name>``; ``tokens/<name up to its first dot>.txt``, a JSON list of captions, each a list of
words between ``<START>`` and ``<END>``; ``<split>.txt``, a line for each pair or, in training, ``<name>-<k>`` for each
caption of a pair. Its ``vocab.json`` is not read: it says which of these words its authors' captioner learns.
"""

import re
from dataclasses import replace
from pathlib import Path

from ...errors import DataError
from ...io.json_file import read_json
from ...language.vocabulary import tokenise
from ..example import Example, Report, require, stop

SPECIAL = ("<START>", "<END>", "<NULL>")
_LINE = re.compile(r"(.+\.[A-Za-z]\w*)(?:-(\d+))?")  # a name may itself hold hyphens, so it ends with its extension


def read(root: Path, split: str, maps: bool | None = True, report: Report = stop) -> list[Example]:
    """The pairs of ``split`` in folder ``root``, in the order of the list; there are no maps.

    A line that comes twice counts once: the authors' code appends to its lists each time it runs.

    Args:
        root: the folder with images, tokens and lists.
        split: ``train``, ``val`` or ``test``.
        maps: of no effect, for there are none.
        report: takes the kind and the message of each problem that is no reason to leave the rest unread.

    Raises:
        DataError: the list, a token file or an image is missing, empty, broken or of another structure, or a line asks
            for a caption that is not there.
    """
    examples = []
    for name, wanted in _listed(root, split).items():
        a, b = (root / "images" / split / date / name for date in "AB")
        pictures = Example(name, a, b, None, None, (), None)
        require(pictures, f"{split}.txt", report)
        captions = _captions(root / "tokens" / f"{name.split('.')[0]}.txt")
        if wanted and max(wanted) >= len(captions):
            raise DataError(
                f"{root / f'{split}.txt'}: {name}-{max(wanted)} is listed, but its token file has {len(captions)} "
                "captions, counted from 0; they are of different runs, make both anew"
            )
        said = tuple(captions[k] for k in wanted) if wanted else tuple(captions)
        examples.append(replace(pictures, captions=said))
    return examples


def splits(root: Path) -> list[str]:
    """The splits that have a list in ``root``."""
    return [split for split in ("train", "val", "test") if (root / f"{split}.txt").is_file()]


def _listed(root: Path, split: str) -> dict[str, list[int]]:
    """Names in the list of ``split`` and the captions asked for; none means all."""
    file = root / f"{split}.txt"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        there = ", ".join(splits(root))
        more = f"it has only: {there}" if there else "set data.root to the folder that holds it"
        raise DataError(f"no list {file.name} in {root}; {more}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error}") from error
    listed: dict[str, list[int]] = {}
    for i, line in enumerate(map(str.strip, lines), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{file}, line {i}: expected a file name such as train_000001.png or …png-3, got {line!r}")
        chosen = listed.setdefault(match[1], [])
        if match[2] is not None and int(match[2]) not in chosen:
            chosen.append(int(match[2]))
    if not listed:
        raise DataError(f"{file} is empty; copy or make it anew")
    return listed


def _captions(file: Path) -> list[str]:
    """The captions in a token file."""
    absent = f"no {file.name} in {file.parent}, but its pair is listed; complete the data set"
    content = read_json(file, absent, "copy or make it anew")
    lists: list = content if isinstance(content, list) else [None]
    if not all(isinstance(words, list) and all(isinstance(w, str) for w in words) for words in lists):
        raise DataError(f"{file}: expected a JSON list of captions, each a list of words")
    captions = [" ".join(tokenise(" ".join(w for w in words if w not in SPECIAL))) for words in lists]
    if not captions or not all(captions):
        raise DataError(f"{file} has no caption, or an empty one")
    return captions
