"""What is known of one pair before a pixel of it is read."""

from dataclasses import dataclass
from pathlib import Path

from ..facts import Fact


@dataclass(frozen=True)
class Stored:
    """A picture inside an HDF5 file: picture ``slot`` of row ``index`` of its dataset ``images``."""

    file: Path
    index: int
    slot: int

    def __str__(self) -> str:
        return f"{self.file}[{self.index}, {self.slot}]"


Source = Path | Stored


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
