"""SECOND-CC as published: ``{train,val,test}/{rgb,sem}/{A,B}/<file>.png`` and ``SECOND-CC-AUG.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..facts import Fact
from ..vocabulary import tokenise
from .example import Example

CAPTIONS = "SECOND-CC-AUG.json"
SPLITS = {"restval": "train"}  # Karpathy's name for training images left over


def read(root: Path, split: str, maps: bool = True) -> list[Example]:
    """The pairs of ``split`` in folder ``root``, joined by file name.

    Args:
        root: the folder with the caption file.
        split: ``train``, ``val`` or ``test``.
        maps: whether the land-cover maps must be there.

    Raises:
        DataError: the caption file is missing, empty, broken or of another structure, the split is not there, a pair
            is listed twice, has no caption, or lacks an image or a map.
    """
    file = root / CAPTIONS
    examples: dict[str, Example] = {}
    present = set()
    for i, image in enumerate(_images(file)):
        try:
            own = SPLITS.get(image["split"], image["split"])
            name = image["filename"]
            captions = tuple(_caption(s) for s in image["sentences"])
            flag = image.get("changeflag")
            if not isinstance(name, str) or flag not in (None, 0, 1):
                raise TypeError(f"filename must be a text and changeflag 0 or 1, got {name!r} and {flag!r}")
            facts = tuple(map(Fact.from_json, image["facts"])) if "facts" in image else None
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: entry {i} of images is not as SECOND-CC writes it: {error!r}") from error
        present.add(own)
        if own != split:
            continue
        if name in examples:
            raise DataError(f"{file}: {name} is listed twice in split {split}")
        if not captions or not all(captions):
            raise DataError(f"{file}: {name} in split {split} has no caption, or an empty one")
        changed = None if flag is None else bool(flag)
        examples[name] = Example(name, *_files(root / split, name, maps), captions, changed, facts)
    if not examples:
        raise DataError(f"{file} has no split {split!r}, only: {', '.join(sorted(present)) or 'no pairs at all'}")
    return list(examples.values())


def _images(file: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"no {file.name} in {file.parent}; set data.root to the folder that holds it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error}") from error
    except ValueError as error:
        raise DataError(f"{file} is empty or broken JSON: {error}; copy or download it anew") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise DataError(f"{file} has no list 'images'; expected the caption file of SECOND-CC")
    return images


def _caption(sentence: Mapping[str, Any]) -> str:
    tokens = sentence.get("tokens")
    if isinstance(tokens, str):  # else its letters would pass as words
        raise TypeError(f"tokens must be a list of words, got {tokens!r}")
    return " ".join(tokenise(" ".join(tokens) if tokens else sentence["raw"]))


def _files(folder: Path, name: str, maps: bool) -> tuple[Path, Path, Path | None, Path | None]:
    """Both images and both maps of ``name``, all there."""
    kinds = ("rgb/A", "rgb/B", "sem/A", "sem/B")
    paths = [folder / kind / name for kind in kinds]
    for kind, path in zip(kinds[: 4 if maps else 2], paths, strict=False):
        if not path.is_file():
            what = "image" if kind.startswith("rgb") else "land-cover map"
            way = (
                "complete the data set" if what == "image" else "complete the data set, or go without maps: inputs=rgb"
            )
            raise DataError(f"no {what} {name} in {folder / kind}, but the caption file lists it; {way}")
    a, b, sem_a, sem_b = paths
    return (a, b, sem_a, sem_b) if maps else (a, b, None, None)
