"""What a training run leaves to read beside its checkpoints: its configuration, versions, and a row for every step."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..io.atomic import write_whole
from ..io.json_file import read_lines, to_json

Log = Callable[[Mapping[str, Any]], None]


@contextmanager
def history(out: Path, config: Mapping[str, Any], step: int, validated: int) -> Iterator[Log]:
    """Keep the history of the run in ``out``, and give what takes a row of it: ``step`` and values by name.

    Rows go to ``metrics.jsonl``, and to TensorBoard where it is installed. Of an earlier part of the run those up to
    ``step``, and of validations up to ``validated``, stay; a new run gets ``config.json`` and ``versions.json``.

    Raises:
        CheckpointError: the disk is full or refuses.
    """
    path = out / "metrics.jsonl"
    try:
        if step == 0:
            write_whole(out / "config.json", to_json(dict(config)))
            write_whole(out / "versions.json", to_json(versions()))
        write_whole(path, "".join(_kept(path, step, validated)))
    except OSError as error:
        raise CheckpointError(f"the run cannot be written to {out}: {error}") from error
    board = _board(out, step)

    def log(row: Mapping[str, Any]) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise CheckpointError(
                f"the history of {out} cannot be written: {error}; go on with resume={out} once it can"
            ) from error
        if board is not None:
            for name, value in {**row, **row.get("validation", {})}.items():
                if isinstance(value, int | float) and name != "step":
                    board.add_scalar(name, value, row["step"])

    try:
        yield log
    finally:
        if board is not None:
            board.close()


def versions() -> dict[str, str]:
    """Versions of what the numbers of a run depend on."""
    names = ("changecap", "torchvision", "timm", "numpy", "safetensors")
    here = {"python": platform.python_version(), "machine": platform.platform(), "torch": torch.__version__}
    return here | {name: metadata.version(name) for name in names}


def _kept(path: Path, step: int, validated: int) -> Iterator[str]:
    """Lines of the metrics in ``path`` up to the step that was saved; a run that was killed has written more."""
    if not path.exists():
        return
    for row in read_lines(path):
        if row["step"] <= (validated if "validation" in row else step):
            yield json.dumps(row) + "\n"


def _board(out: Path, step: int) -> Any:
    """A TensorBoard writer where TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(out / "tensorboard", purge_step=step + 1)
