"""Several runs in one call: what ``-m`` makes of values with commas between them, and the list of what came of them."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import UsageError

_PATHS = ("out", "resume", "root", "weights")  # by the last part of the key; a comma in a file name is one of its own


def combinations(given: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Every combination of the values that commas separate, the last key changing first.

    Commas in lists and mappings separate nothing, nor do those in file names.

    Args:
        given: keys and values as they were written.

    Returns:
        A name that says what is special about the combination, fit for a folder, and the keys with a value each.

    Raises:
        UsageError: a value is given twice, or two combinations would share a folder.
    """
    values = {key: [text] if key.rsplit(".", 1)[-1] in _PATHS else _split(text) for key, text in given.items()}
    for key, several in values.items():
        if twice := [value for i, value in enumerate(several) if value in several[:i]]:
            raise UsageError(f"{key} has the value {twice[0]!r} twice; each makes a run of its own")
    swept = [key for key, several in values.items() if len(several) > 1]
    found: dict[str, dict[str, str]] = {}
    for chosen in product(*values.values()):
        combination = dict(zip(values, chosen, strict=True))
        name = re.sub(r"[^\w.,=+-]+", "_", ",".join(f"{key}={combination[key]}" for key in swept))[:200]
        if name in found:
            raise UsageError(f"two combinations would share the folder {name}; sweep them in two calls")
        found[name] = combination
    return list(found.items())


def run_all(runs: Sequence[tuple[str, Mapping[str, Any]]], run: Callable[[Mapping[str, Any]], int]) -> int:
    """Run all, whatever becomes of one, and print what came of each.

    Args:
        runs: name and configuration of each.
        run: runs one and returns its exit status.

    Returns:
        0, or 1 where one failed.
    """
    failed = []
    for i, (name, config) in enumerate(runs, start=1):
        print(f"run {i} of {len(runs)}: {name}", file=sys.stderr)
        if run(config) != 0:
            failed.append(name)
    print(f"{len(runs) - len(failed)} of {len(runs)} runs done")
    width = max(len(name) for name, _ in runs)
    for name, config in runs:
        out = Path(config["out"])
        print(f"  {name:{width}}  {'failed' if name in failed else _score(out)}  {out}")
    return 1 if failed else 0


def _split(text: str) -> list[str]:
    """What commas separate, those within brackets apart."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts] if len(parts) > 1 else parts


def _score(out: Path) -> str:
    """The best validation score of the run in ``out``."""
    from ..checkpoints.checkpoint import best_of, read_config

    if (best := best_of(out)) == out:
        return "never validated"
    return ", ".join(f"{name} {value:.4f}" for name, value in read_config(best)["validation"].items())
