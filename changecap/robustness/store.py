"""One folder of finished cells: one file each, under a hash of everything that the cell depends on.

A file is whole or not there. Several processes of a machine may fill a folder: who works on a setting holds a lock on
it, which goes when the process does, however it ends. Machines that share a folder are told apart by ``shard``.
"""

import errno
import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io.atomic import write_whole
from ..io.json_file import read_json, to_json

FORMAT = 1  # of the cells; another one when their content or what an operator does changes
_PLAN = "ABLATION.json"


class Store:
    """The cells in folder ``out``, which is made where it is not there.

    Args:
        out: The folder.
        data: The fingerprint of the data set.

    Raises:
        DataError: The folder holds something else, results of another data set or version, or cannot be written.
    """

    def __init__(self, out: Path, data: Mapping[str, Any]) -> None:
        self.out = out
        plan = {"format": FORMAT, **data}
        with writing(out):
            (out / "locks").mkdir(parents=True, exist_ok=True)
            with self.claim("folder"):
                there = sorted(path.name for path in out.iterdir() if path.name[0] != "." and path.name != "locks")
                if there and _PLAN not in there:
                    raise DataError(f"{out} holds {there[0]!r} and is no folder of a benchmark; give another out=")
                if not there:
                    write_whole(out / _PLAN, to_json(plan))
        found = read_json(out / _PLAN, remedy="give another out=")
        if found != plan:
            raise DataError(
                f"{out} holds results of {_told(found)}, and these would be of {_told(plan)}; they are never mixed: "
                "give another out="
            )

    def has(self, key: Mapping[str, Any]) -> bool:
        """Whether the cell of ``key`` is finished."""
        return self._path(key).is_file()

    def read(self, key: Mapping[str, Any]) -> dict[str, Any]:
        """The finished cell of ``key``.

        Raises:
            DataError: It is broken.
        """
        path = self._path(key)
        cell = read_json(path, remedy="delete it, and the same call makes it again")
        if not isinstance(cell, dict) or cell.get("key") != json.loads(_plain(key)):
            raise DataError(f"{path} is not the cell that its name says; delete it, and the same call makes it again")
        return cell

    def write(self, key: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """Keep a finished cell, whole or not at all.

        Raises:
            DataError: The disk is full or refuses.
        """
        with writing(self.out):
            write_whole(self._path(key), json.dumps({"key": key, **content}, ensure_ascii=False, allow_nan=False))

    @contextmanager
    def claim(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Whether ``name`` is this process's within; what another one holds is waited for, or not had."""
        with (self.out / "locks" / name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.out / "cells" / f"{hashlib.sha256(_plain(key).encode()).hexdigest()[:24]}.json"


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Within, a file of ``out`` is written.

    Raises:
        DataError: The disk is full or refuses.
    """
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise DataError(
            f"nothing more can be written to {out}: {why}; what is finished is kept, and the same call goes on from it"
        ) from error


def _plain(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, ensure_ascii=False)


def _told(plan: Any) -> str:
    if not isinstance(plan, dict) or not {"format", "data", "split", "pairs", "sha256"} <= plan.keys():
        return "something else"
    version = f"format {plan['format']}"
    return f"{plan['data']} {plan['split']}, {plan['pairs']} pairs, {str(plan['sha256'])[:12]} ({version})"
