"""What is known of one pair before a pixel of it is read."""

from dataclasses import dataclass
from pathlib import Path

from ..facts import Fact


@dataclass(frozen=True)
class Example:
    """One pair: its files, its captions (words joined by one blank) and what is known of the change."""

    id: str
    a: Path
    b: Path
    sem_a: Path | None
    sem_b: Path | None
    captions: tuple[str, ...]
    changed: bool | None
    facts: tuple[Fact, ...] | None = None
