"""SPICE (Anderson et al. 2016): F over the tuples of scene graphs, by the authors' Java tool, where the user has it.

The tool is that of an installed pycocoevalcap, which brings neither Java nor the Stanford CoreNLP 3.6.0 models that it
parses with (``pycocoevalcap/spice/get_stanford_models.py`` fetches them). It is old: under a new Java it may fail to
start. So it has to score one made-up pair first, and whatever goes wrong is a reason, never a broken pipe.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..errors import DataError
from .ngrams import Floats

_JAR, _MODELS = "spice-1.0.jar", ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_START, _PAIR = 300.0, 2.0  # seconds that it may take to start and parse one pair, and for each pair more
_MEMORY = "8G"


def scores(references: Sequence[Sequence[str]], hypotheses: Sequence[str], jar: Path | None = None) -> Floats:
    """The value in [0, 1] of each pair ``(P,)``; 0 without references, which the tool is not asked about.

    Args:
        references: Of each of P pairs.
        hypotheses: One of each pair.
        jar: The tool; by default that of an installed pycocoevalcap.

    Raises:
        DataError: The tool, its models or Java are not there, or it does not do its work; says which.
    """
    java, jar = _java(), _tool(jar)
    _run(java, jar, [["a house is built"]], ["a house is built"], _START)  # health, before minutes of work
    values = np.zeros(len(hypotheses))
    asked = [p for p, several in enumerate(references) if several]
    if asked:
        limit = _START + _PAIR * len(asked)
        values[asked] = _run(java, jar, [references[p] for p in asked], [hypotheses[p] for p in asked], limit)
    return values


def _java() -> str:
    found = shutil.which("java")
    if found is None:
        raise DataError("SPICE needs Java, and there is no java on the PATH")
    return found


def _tool(jar: Path | None) -> Path:
    if jar is None:
        package = find_spec("pycocoevalcap")
        if package is None or not package.submodule_search_locations:
            raise DataError("SPICE needs its Java tool, and there is no installed pycocoevalcap to bring it")
        jar = Path(package.submodule_search_locations[0]) / "spice" / _JAR
    for file in (jar, *(jar.parent / "lib" / name for name in _MODELS)):
        if not file.is_file():
            raise DataError(
                f"SPICE needs {file.name}, and there is no {file}; get_stanford_models.py fetches the models"
            )
    return jar


def _run(java: str, jar: Path, references: Sequence[Sequence[str]], hypotheses: Sequence[str], limit: float) -> Floats:
    """Let the tool score the pairs, in at most ``limit`` seconds."""
    asked = [
        {"image_id": p, "test": hypothesis, "refs": list(several)}
        for p, (several, hypothesis) in enumerate(zip(references, hypotheses, strict=True))
    ]
    with TemporaryDirectory(prefix="spice-") as folder:
        given, told, cache = (Path(folder) / name for name in ("in.json", "out.json", "cache"))
        given.write_text(json.dumps(asked), encoding="utf-8")
        cache.mkdir()
        call = [
            java,
            f"-Xmx{_MEMORY}",
            "-jar",
            str(jar),
            str(given),
            "-cache",
            str(cache),
            "-out",
            str(told),
            "-silent",
        ]
        try:
            done = subprocess.run(call, cwd=jar.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
            if done.returncode:
                last = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-1:]
                raise DataError(
                    f"SPICE's tool failed with status {done.returncode}: {''.join(last) or 'no word of why'}"
                )
            found = {entry["image_id"]: entry["scores"]["All"]["f"] for entry in json.loads(told.read_bytes())}
            values = np.array([float(found[p]) for p in range(len(asked))])
        except subprocess.TimeoutExpired:
            raise DataError(f"SPICE's tool was stopped after {limit:.0f} s for {len(asked)} pairs") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"SPICE's tool did not write what it was asked for: {error!r}") from error
    return np.nan_to_num(values)  # a sentence without any tuple
