"""Which captioner survives what: corruptions of five severities, cures, and captioners side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..data.dataset import PairDataset
from ..errors import ConfigError
from .captioners import Captioners, speakers
from .grid import NONE, ORACLE, SEVERITIES, grid_of
from .pairs import read
from .result import Ablation, results
from .run import Bench
from .store import Store

__all__ = ["Ablation", "Bench", "ablate", "bench"]


def ablate(
    captioners: Captioners,
    data: PairDataset | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    shard: tuple[int, int] = (1, 1),
    progress: bool = True,
    **asked: Any,
) -> Ablation:
    """Try captioners on corrupted pairs, and tell what they survive.

    ::

        def mine(a, b):  # images (B, 3, H, W), float in [0, 1], before and after
            return ["a house is built" if y.mean() > x.mean() else "there is no difference" for x, y in zip(a, b)]

        data = {"name": "folder", "root": "my_pairs"}
        table = changecap.ablate({"mine": mine}, data, corruptions="light", pairs=100)
        pandas.DataFrame(table.rows)

    Args:
        captioners: One or several folders, :class:`changecap.Captioner` or callables ``(a, b) -> sentences``. A mapping
            gives them names, and a list in it holds the seeds of one configuration. A callable is known by its name
            alone: in one ``out``, another captioner needs another name.
        data: A data set read without ``size``, or the arguments of :func:`changecap.data.load` (``split="test"``).
        out: Folder of the cells, of the page, and of its figures; a call that was stopped goes on there. Without it
            nothing is kept.
        shard: ``(i, n)``: of all settings every n-th, from the i-th on, for n machines that fill one ``out``.
        progress: Whether bars are shown.
        asked: ``corruptions`` (``"all"``, groups, names), ``severities``, ``variants`` (see
            :mod:`changecap.robustness.grid`), ``side`` (``"b"``), ``pairs`` (200) and ``clean_pairs`` (1000, of the
            clean conditions), None for all, ``seed``, ``beams``, ``decode``, ``batch``, ``workers``, ``device``.

    Returns:
        The tables; while other shards have cells to finish there are none, and ``missing`` says how many.

    Raises:
        ConfigError: Something unknown is asked for; the message names the nearest.
        DataError: The data cannot be used, lack maps that a captioner needs, or ``out`` holds results of other data; a
            callable does not say one sentence of each pair; the disk is full.
        CheckpointError: A folder holds no captioner.
    """
    if out is None:
        with TemporaryDirectory() as folder:
            made = bench(captioners, data, Path(folder) / "cells", progress=progress, **asked)
            made.fill(progress=progress)
            return results(made, None)
    made = bench(captioners, data, Path(out), progress=progress, **asked)
    made.fill(shard, progress)
    return results(made, Path(out))


def bench(
    captioners: Captioners,
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
    asked = grid_of(corruptions, severities, variants, side, seed)
    tried = speakers(captioners, device, beams, decode)
    needs_maps = any(speaker.inputs != "rgb" for speaker in tried)
    chosen = read(data, pairs, clean_pairs, needs_maps, workers, progress)
    return Bench(Store(out, chosen.fingerprint), chosen, asked, tried, batch, device)
