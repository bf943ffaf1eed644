"""SECOND-CC as published: ``{train,val,test}/{rgb,sem}/{A,B}/<file>.png`` and ``SECOND-CC-AUG.json``."""

import os
from pathlib import Path

from ..example import Example, Report, stop
from . import karpathy

CAPTIONS = "SECOND-CC-AUG.json"


def read(root: Path, split: str, maps: bool | None = True, report: Report = stop) -> list[Example]:
    """The pairs of ``split`` in folder ``root``, joined by file name.

    Args:
        root: the folder with the caption file.
        split: ``train``, ``val`` or ``test``.
        maps: whether the land-cover maps must be there; ``None``: if the split has any.
        report: takes the kind and the message of each problem that is no reason to leave the rest unread.

    Raises:
        DataError: the caption file is missing, empty, broken or of another structure, or the split is not there.
            Unless ``report`` goes on: a pair is listed twice, has no caption, or lacks an image or a map.
    """
    folder = root / split
    with_maps = os.path.isdir(folder / "sem") if maps is None else maps
    kinds = ("rgb/A", "rgb/B", "sem/A", "sem/B")[: 4 if with_maps else 2]

    def files(name: str) -> karpathy.Files:
        return karpathy.Files(*(folder / kind / name for kind in kinds))

    return karpathy.read(root / CAPTIONS, split, "SECOND-CC", files, report)


def splits(root: Path) -> list[str]:
    """The splits that the caption file in ``root`` speaks of."""
    return karpathy.splits(root / CAPTIONS, "SECOND-CC")
