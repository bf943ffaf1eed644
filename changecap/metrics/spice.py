"""SPICE (Anderson et al. 2016) by its Java tool, where the user has it: F1 over the tuples of scene graphs.

Needs Java, the tool (pycocoevalcap brings it) and Stanford CoreNLP 3.6.0 with its models beside it. Where any of these
is missing or does not work, that is an error with a reason: a score that cannot be had stops no other.
"""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..errors import DataError
from .ngrams import Floats

_JAR = "spice-1.0.jar"
_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_TRIAL = "a road is built near two houses"
_TRIAL_SECONDS = 300.0  # the models alone take a minute to load on a busy machine


def scores(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    place: str | Path | None = None,
    seconds: float = 3600.0,
) -> Floats:
    """SPICE in [0, 1] of every pair ``(P,)``; 0 where a sentence says nothing that makes a tuple.

    Args:
        references: Of each pair, at least one.
        hypotheses: One of each pair.
        place: Folder of the tool; by default what ``$CHANGECAP_SPICE`` names, else an installed pycocoevalcap.
        seconds: Time limit.

    Raises:
        DataError: the tool is not there, fails a trial on one pair, or fails; the message says why.
    """
    java, folder = _find(place)
    trial = _run(java, folder, [[_TRIAL]], [_TRIAL], min(_TRIAL_SECONDS, seconds))
    if trial != [1.0]:
        raise DataError(f"SPICE in {folder} does not work: a sentence scored {trial[0]} against itself, not 1")
    return np.array(_run(java, folder, references, hypotheses, seconds))


def _find(place: str | Path | None) -> tuple[str, Path]:
    """Java, and the folder of the tool."""
    java = shutil.which("java")
    if java is None:
        raise DataError("SPICE needs Java, and there is no java on the PATH")
    place = place or os.environ.get("CHANGECAP_SPICE")
    if not place:
        package = find_spec("pycocoevalcap")
        found = list(package.submodule_search_locations or ()) if package else []
        if not found:
            raise DataError("SPICE's tool is not here; pip install changecap[meteor], or set CHANGECAP_SPICE to it")
        place = Path(found[0]) / "spice"
    folder = Path(place).expanduser().resolve()
    if not (folder / _JAR).is_file():
        raise DataError(f"no {_JAR} in {folder}; set CHANGECAP_SPICE to the folder that holds it")
    missing = [name for name in _MODELS if not (folder / "lib" / name).is_file()]
    if missing:
        raise DataError(f"SPICE needs Stanford CoreNLP 3.6.0: no {' and no '.join(missing)} in {folder / 'lib'}")
    return java, folder


def _run(
    java: str, folder: Path, references: Sequence[Sequence[str]], hypotheses: Sequence[str], seconds: float
) -> list[float]:
    pairs = enumerate(zip(references, hypotheses, strict=True))
    question = [{"image_id": i, "test": hypothesis, "refs": list(rs)} for i, (rs, hypothesis) in pairs]
    with TemporaryDirectory(prefix="changecap-spice-") as temporary:
        asked, answered = Path(temporary, "in.json"), Path(temporary, "out.json")
        asked.write_text(json.dumps(question), "utf-8")
        command = [java, "-Xmx8G", "-jar", _JAR, str(asked), "-out", str(answered), "-subset", "-silent"]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
            if done.returncode:
                said = done.stderr.decode("utf-8", "replace").strip().splitlines()[:3]
                raise DataError(f"SPICE ended with code {done.returncode}: {' / '.join(said) or 'it said nothing'}")
            return _read(json.loads(answered.read_text("utf-8")), len(question))
        except subprocess.TimeoutExpired:
            raise DataError(f"SPICE took more than {seconds:g} seconds for {len(question)} pairs") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"SPICE gave no answer that can be read: {error!r}") from error


def _read(answer: Any, pairs: int) -> list[float]:
    values = {int(item["image_id"]): float(item["scores"]["All"]["f"]) for item in answer}
    if values.keys() != set(range(pairs)):
        raise DataError(f"SPICE answered for {len(values)} of {pairs} pairs")
    return [0.0 if math.isnan(values[i]) else values[i] for i in range(pairs)]
