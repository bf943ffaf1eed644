"""What is known of one pair before a pixel of it is read, and what becomes of what is wrong with it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..io.sources import Source
from ..language.facts import Fact

Report = Callable[[str, str], None]  # takes the kind of a problem (missing, captions, names) and its message


@dataclass(frozen=True)
class Example:
    """One pair: its pictures, its captions (words joined by one blank) and what is known of the change."""

    id: str
    a: Source
    b: Source
    sem_a: Source | None
    sem_b: Source | None
    captions: tuple[str, ...]
    changed: bool | None
    facts: tuple[Fact, ...] | None = None
    mask: Path | None = None  # of changed pixels; nothing is trained on it

    def files(self) -> list[tuple[str, Source]]:
        """What each picture is, and where; the mask aside."""
        kinds = ("image", "image", "land-cover map", "land-cover map")
        paths = (self.a, self.b, self.sem_a, self.sem_b)
        return [(kind, path) for kind, path in zip(kinds, paths, strict=True) if path is not None]


def stop(kind: str, message: str) -> None:
    """The report of those who cannot go on with incomplete data.

    Raises:
        DataError: always.
    """
    raise DataError(message)


def require(example: Example, source: str, report: Report = stop) -> None:
    """Report as ``missing`` each file of ``example`` that is not there, though ``source`` speaks of it."""
    for kind, path in example.files():
        if isinstance(path, Path) and not os.path.isfile(path):  # pathlib's raises where a folder may not be entered
            way = "complete the data set" + (", or go without maps: inputs=rgb" if kind != "image" else "")
            report("missing", f"no {kind} {path.name} in {path.parent}, but {source} lists it; {way}")
