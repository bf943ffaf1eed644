"""Where one picture lies: in a file of its own, or in a row of an HDF5 file. Opens neither."""

from dataclasses import dataclass
from pathlib import Path

MAX_PIXELS = 64_000_000  # of one image; more is a scene, or a decompression bomb


@dataclass(frozen=True)
class Stored:
    """A picture inside an HDF5 file: picture ``slot`` of row ``index`` of its dataset ``images``."""

    file: Path
    index: int
    slot: int

    def __str__(self) -> str:
        return f"{self.file}[{self.index}, {self.slot}]"


Source = Path | Stored
