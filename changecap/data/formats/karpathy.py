"""Caption files as Karpathy wrote them: ``images[]``, each with ``filename``, ``split`` and ``sentences[]``.

What SECOND-CC, LEVIR-CC and Dubai-CC share. Where their images lie, only their readers know.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError
from ...io.json_file import read_json
from ...language.facts import Fact
from ...language.vocabulary import tokenise
from ..example import Example, Report, require, stop

SPLITS = {"restval": "train"}  # Karpathy's name for training images left over


class Files(NamedTuple):
    """The files of a pair."""

    a: Path
    b: Path
    sem_a: Path | None = None
    sem_b: Path | None = None
    mask: Path | None = None


def read(
    file: Path,
    split: str,
    what: str,
    files: Callable[[str], Files] | None,
    report: Report = stop,
    whole: bool = False,
) -> list[Example]:
    """The pairs of ``split`` that ``file`` lists.

    Args:
        file: the caption file.
        split: ``train``, ``val`` or ``test``.
        what: the name of the data set, for messages.
        files: says where the files of a pair are, by its name; ``None``: the captions alone count.
        report: takes the kind and the message of each problem that is no reason to leave the rest unread.
        whole: the file holds this split and no other, whatever its entries say.

    Raises:
        DataError: the file is missing, empty, broken or of another structure, or the split is not there. Unless
            ``report`` goes on: an entry is of another structure, a pair is listed twice, has no caption, or lacks a
            file.
    """
    examples: dict[str, Example] = {}
    present = set()
    for i, image in enumerate(_images(file, what)):
        try:
            own = split if whole else _split(image)
            name = image["filename"]
            captions = tuple(_caption(s) for s in image["sentences"])
            flag = image.get("changeflag")
            if not isinstance(name, str) or flag not in (None, 0, 1):
                raise TypeError(f"filename must be a text and changeflag 0 or 1, got {name!r} and {flag!r}")
            present.add(own)
            facts = tuple(map(Fact.from_json, image["facts"])) if "facts" in image else None
        except (KeyError, TypeError, AttributeError) as error:
            report("captions", f"{file}: entry {i} of images is not as {what} writes it: {error!r}")
            continue
        if own != split:
            continue
        if name in examples:
            report("captions", f"{file}: {name} is listed twice in split {split}")
            continue
        if not captions or not all(captions):
            report("captions", f"{file}: {name} in split {split} has no caption, or an empty one")
        place = files(name) if files else Files(Path(name), Path(name))
        changed = None if flag is None else bool(flag)
        said = tuple(filter(None, captions))
        examples[name] = Example(name, *place[:4], said, changed, facts, place.mask)
        if files:
            require(examples[name], "the caption file", report)
    if not examples:
        raise DataError(f"{file} has no split {split!r}, only: {', '.join(sorted(present)) or 'no pairs at all'}")
    return list(examples.values())


def splits(file: Path, what: str) -> list[str]:
    """The splits that ``file`` speaks of, in the order of its entries.

    Raises:
        DataError: the file is missing, empty, broken or of another structure.
    """

    def names() -> Iterator[str]:
        for image in _images(file, what):
            try:
                yield _split(image)
            except (KeyError, TypeError):  # read() reports the entry
                continue

    return list(dict.fromkeys(names()))


def _images(file: Path, what: str) -> list[Mapping[str, Any]]:
    content = read_json(file, f"no {file.name} in {file.parent}; set data.root to the folder that holds it")
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise DataError(f"{file} has no list 'images'; expected the caption file of {what}")
    return images


def _split(image: Mapping[str, Any]) -> str:
    if not isinstance(split := image["split"], str):
        raise TypeError(f"split must be a text, got {split!r}")
    return SPLITS.get(split, split)


def _caption(sentence: Mapping[str, Any]) -> str:
    tokens = sentence.get("tokens")
    if isinstance(tokens, str):  # else its letters would pass as words
        raise TypeError(f"tokens must be a list of words, got {tokens!r}")
    return " ".join(tokenise(" ".join(tokens) if tokens else sentence["raw"]))
