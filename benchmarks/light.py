"""Light and blur of pairs against the anchors of their field, by the harnesses in ``$CHANGECAP_SHARED/tools``.

``python -m benchmarks.light``: needs OpenCV (on ``PYTHONPATH``), the harnesses and the real pairs beside them. The
harnesses' own ``ms`` is wall time; the last table is CPU time on one thread, one pair at a time and in batches.
"""

import contextlib
import importlib
import io
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks import plug_light
from benchmarks.report import keep
from preprocess.illumination import illuminate
from preprocess.sharpness import blur_gap

SHARED = Path(os.environ.get("CHANGECAP_SHARED", "../shared")).resolve()
TOOLS, PAIRS = SHARED / "tools", SHARED / "pairs" / "public"
ANCHORS = "none,hist,reinhard,meanstd,robust_field,oracle_lin"
SIZE, BATCH, REPEATS = 256, 16, 15


def harness(script: str, *arguments: str) -> str:
    """What ``script`` prints."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", [script, *arguments]), contextlib.redirect_stdout(out):
        runpy.run_path(str(TOOLS / script), run_name="__main__")
    return out.getvalue().strip()


def milliseconds(call: Callable[[], object], pairs: int) -> float:
    """Least CPU time of a pair: what else runs on the machine only adds to it."""
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return 1e3 * min(spent) / pairs


def main() -> None:
    """Print both tables of the harnesses and the times."""
    if not TOOLS.is_dir():
        raise SystemExit(f"no harnesses in {TOOLS}; set CHANGECAP_SHARED")
    sys.path[:0] = [str(TOOLS), str(Path.cwd())]
    torch.set_num_threads(1)
    light = harness(
        "bench_photometric.py", "--pairs", str(PAIRS), "--methods", ANCHORS, "--plug", "benchmarks.plug_light:normalise"
    )
    blur = harness("bench_blur.py", str(PAIRS), "lap_var,grad_energy,spectral_slope,benchmarks.plug_blur:estimate")
    prototype = importlib.import_module("bench_photometric").robust_field
    torch.manual_seed(0)
    a, b = (
        torch.nn.functional.interpolate(torch.rand(BATCH, 3, 64, 64), SIZE, mode="bicubic").clamp(0, 1) for _ in "ab"
    )
    b = (0.8 * a**1.2 + 0.02 * b).clamp(0, 1)
    x, y = ((v[0].permute(1, 2, 0) * 255).byte().numpy() for v in (a, b))
    rows = {
        "light, prototype, one pair": (lambda: prototype(x, y, None), 1),
        "light, uint8 to uint8, one pair": (lambda: plug_light.normalise(np.asarray(x), np.asarray(y)), 1),
        "light, one pair": (lambda: illuminate(a[:1], b[:1]), 1),
        f"light, batch of {BATCH}": (lambda: illuminate(a, b), BATCH),
        "blur gap, one pair": (lambda: blur_gap(a[:1], b[:1]), 1),
        f"blur gap, batch of {BATCH}": (lambda: blur_gap(a, b), BATCH),
    }
    spent = {name: milliseconds(call, pairs) for name, (call, pairs) in rows.items()}
    plain = next(iter(spent.values()))
    times = [f"{name:34} {ms:8.1f} {ms / plain:8.2f}" for name, ms in spent.items()]
    head = f"CPU ms a pair of {SIZE} x {SIZE}, one thread; and over those of the light's prototype"
    keep("\n".join([light, "", blur, "", head, *times]), "light")


if __name__ == "__main__":
    main()
