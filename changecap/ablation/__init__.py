"""Which captioner survives what: corruptions of five severities, cures, and captioners side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.dataset import PairDataset
from ..errors import ConfigError
from .grid import NONE, ORACLE, SEVERITIES, grid
from .pairs import read
from .run import Bench
from .speakers import Anyone, speakers
from .store import Store

__all__ = ["Bench", "bench"]


def bench(
    captioners: Anyone | Mapping[str, Anyone | Sequence[Anyone]] | Sequence[Anyone],
    data: PairDataset | Mapping[str, Any],
    out: Path,
    *,
    corruptions: str | Sequence[str] = "all",
    severities: Sequence[int] = SEVERITIES,
    variants: Sequence[str] = (NONE, "register", "register+illuminate", ORACLE),
    side: str = "b",
    pairs: int | None = 200,
    clean_pairs: int | None = 1000,
    seed: int = 0,
    beams: int = 1,
    decode: Mapping[str, Any] | None = None,
    batch: int = 64,
    workers: int = 2,
    device: str = "cpu",
    progress: bool = True,
) -> Bench:
    """A benchmark that is ready to be filled; the arguments are those of :func:`ablate`."""
    if batch < 1 or workers < 1 or any(n is not None and n < 1 for n in (pairs, clean_pairs)):
        raise ConfigError(
            f"pairs, clean_pairs, batch and workers must be at least 1, got {pairs}, {clean_pairs}, {batch}, {workers}"
        )
    asked = grid(corruptions, severities, variants, side, seed)
    tried = speakers(captioners, device, beams, decode)
    needs_maps = any(speaker.inputs != "rgb" for speaker in tried)
    chosen = read(data, pairs, clean_pairs, needs_maps, workers, progress)
    return Bench(Store(out, chosen.fingerprint), chosen, asked, tried, batch, device)
