"""JSON files of others: one way to read them, and to say what is wrong with one."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DataError, UserError

MAX_BYTES = 1 << 28  # of one file; parsed it takes ten times that, and no published caption file has a tenth of it
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(
    path: Path,
    absent: str | None = None,
    remedy: str = "copy or download it anew",
    error: type[UserError] = DataError,
    hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """What JSON file ``path`` holds; a byte order mark is passed over.

    Args:
        path: the file.
        absent: what to say where it is not there.
        remedy: what to do about a broken one.
        error: what is raised.
        hook: makes an object of its items, as that of :func:`json.loads`; its errors get the name of the file.

    Raises:
        UserError: of kind ``error``: the file is missing, not to be read, too large, not UTF-8, empty, broken or nested
            too deeply.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise error(absent or f"no {path.name} in {path.parent}; is the path right?") from None
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror}") from reason
    if len(content) > MAX_BYTES:
        raise error(f"{path} has more than {MAX_BYTES:,} bytes; is it the file that was meant?")
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=hook)
        if _SURROGATE.search(content):  # a pair of them is a character; one alone no file and no screen takes
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as reason:
        raise error(f"{path} holds half a character, {reason.object[reason.start]!r}; {remedy}") from None
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8: {reason.reason} at byte {reason.start}; save it as UTF-8") from reason
    except RecursionError:
        raise error(f"{path} is nested too deeply; {remedy}") from None
    except UserError as reason:
        raise error(f"{path}: {reason}") from None
    except ValueError as reason:
        raise error(f"{path} is empty or broken JSON: {reason}; {remedy}") from reason


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in ``path``, one a line; a line torn by a crash is left out."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        with suppress(ValueError):
            yield json.loads(line)


def to_json(value: object) -> str:
    """JSON text as this project writes it: readable, UTF-8, without NaN."""
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
