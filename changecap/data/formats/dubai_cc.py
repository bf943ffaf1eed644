"""Dubai-CC: 500 pairs of 50 x 50 pixels, as published or laid out as LEVIR-CC.

As published: ``imgs_tiles/RGB/{500_2000,500_2010}/<file>.tif`` and ``{Train,Validation,Test}_Dubai_CC.json`` in a
folder beside it. Repacked copies have ``[images/]{train,val,test}/{A,B}`` and one ``DubaiCCcaptions.json``.
"""

import os
from pathlib import Path

from ...errors import DataError
from ..example import Example, Report, stop
from . import karpathy

CAPTIONS = "DubaiCCcaptions.json"
BESIDE = ("", "captions", "description_jsontr_te_val")  # folders that may hold caption files
IMAGES = (
    ("images/{split}/A", "images/{split}/B"),
    ("{split}/A", "{split}/B"),
    ("imgs_tiles/RGB/500_2000", "imgs_tiles/RGB/500_2010"),
)


def read(root: Path, split: str, maps: bool | None = None, report: Report = stop) -> list[Example]:
    """The pairs of ``split`` in folder ``root``, joined by file name.

    Args:
        root: the folder with images and captions.
        split: ``train``, ``val`` or ``test``.
        maps: whether land-cover maps are asked for; there are none.
        report: takes the kind and the message of each problem that is no reason to leave the rest unread.

    Raises:
        DataError: maps are asked for, no folder of images or no caption file is found, the caption file is empty,
            broken or of another structure, or the split is not there. Unless ``report`` goes on: a pair is listed
            twice, has no caption, or lacks an image.
    """
    if maps:
        raise DataError(f"Dubai-CC in {root} has no land-cover maps; use inputs=rgb")
    file, whole = _captions(root, split)
    choices = [tuple(root / part.format(split=split) for part in dates) for dates in IMAGES]
    dates = next((dates for dates in choices if any(os.path.isdir(folder) for folder in dates)), None)
    if dates is None:
        looked = ", ".join(str(before.relative_to(root)) for before, _ in choices)
        raise DataError(f"no images of split {split} in {root}; looked for the folders {looked}; set data.root")
    before, after = dates
    return karpathy.read(
        file, split, "Dubai-CC", lambda name: karpathy.Files(before / name, after / name), report, whole
    )


def splits(root: Path) -> list[str]:
    """The splits in folder ``root``.

    Raises:
        DataError: no caption file is found, or the one of all splits is empty, broken or of another structure.
    """
    if file := _common(root):
        return karpathy.splits(file, "Dubai-CC")
    found = [split for split in ("train", "val", "test") if _own(root, split)]
    return found or [_captions(root, "train")[0].stem]  # which says what was looked for


def _captions(root: Path, split: str) -> tuple[Path, bool]:
    """The caption file of ``split``, and whether it holds no other."""
    if file := _common(root):
        return file, False
    found = _own(root, split)
    if len(found) == 1:
        return found[0], True
    if found:
        raise DataError(f"{' and '.join(map(str, found))} could both be the captions of split {split}; remove one")
    places = ", ".join(f"{root / place}" for place in BESIDE)
    raise DataError(
        f"no captions of split {split}: looked for {CAPTIONS} and {split}*.json (upper or lower case) in {places}; "
        "set data.root to the folder that holds them"
    )


def _common(root: Path) -> Path | None:
    return next((file for place in BESIDE if os.path.isfile(file := root / place / CAPTIONS)), None)


def _own(root: Path, split: str) -> list[Path]:
    """JSON files whose name begins with ``split``."""
    folders = (root / place for place in BESIDE)
    files = (file for folder in folders if os.path.isdir(folder) for file in sorted(folder.iterdir()))
    return [f for f in files if f.suffix.lower() == ".json" and f.name.lower().startswith(split)]
