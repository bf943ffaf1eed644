"""LEVIR-CC as published: ``images/{train,val,test}/{A,B}/<file>.png`` and ``LevirCCcaptions.json``.

LEVIR-MCI adds masks of changed buildings and roads in ``label``; they are noted where they are there.
"""

import os
from pathlib import Path

from ...errors import DataError
from ..example import Example, Report, stop
from . import karpathy

CAPTIONS = "LevirCCcaptions.json"


def read(root: Path, split: str, maps: bool | None = None, report: Report = stop) -> list[Example]:
    """The pairs of ``split`` in folder ``root``, joined by file name.

    Args:
        root: the folder with the caption file and ``images``.
        split: ``train``, ``val`` or ``test``.
        maps: whether land-cover maps are asked for; there are none.
        report: takes the kind and the message of each problem that is no reason to leave the rest unread.

    Raises:
        DataError: maps are asked for, the caption file is missing, empty, broken or of another structure, or the split
            is not there. Unless ``report`` goes on: a pair is listed twice, has no caption, or lacks an image.
    """
    if maps:
        raise DataError(f"LEVIR-CC in {root} has no land-cover maps; use inputs=rgb")
    folder = root / "images" / split

    def files(name: str) -> karpathy.Files:
        mask = folder / "label" / name
        return karpathy.Files(folder / "A" / name, folder / "B" / name, mask=mask if os.path.isfile(mask) else None)

    return karpathy.read(root / CAPTIONS, split, "LEVIR-CC", files, report)


def splits(root: Path) -> list[str]:
    """The splits that the caption file in ``root`` speaks of."""
    return karpathy.splits(root / CAPTIONS, "LEVIR-CC")
