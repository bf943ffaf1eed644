"""What every benchmark prints around its figures: machine, date, versions; and where the print is kept."""

import datetime
import os
import platform
import sys
import time
from pathlib import Path

import torch


def machine() -> str:
    """One line: processor, cores, memory, versions, date."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB; torch {torch.__version__}, "
        f"python {platform.python_version()}; {datetime.date.today().isoformat()}"
    )


def keep(text: str, name: str) -> None:
    """Print ``text`` under the machine's line, and keep it in ``benchmarks/results/NAME.txt``."""
    module = Path(sys.argv[0]).stem
    whole = f"$ python -m benchmarks.{module} {' '.join(sys.argv[1:])}".rstrip() + f"\n{machine()}\n\n{text}\n"
    print(whole)
    path = Path(__file__).parent / "results" / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(whole, encoding="utf-8")


def matmul_rate(threads: int) -> float:
    """Measured float32 matrix-product rate, GFLOP/s: the field's limit for what is bound by arithmetic."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] / best / 1e9


def read_rate(threads: int) -> float:
    """Measured rate of reading memory, GB/s: the field's limit for what is bound by bandwidth."""
    torch.set_num_threads(threads)
    x = torch.ones(100_000_000)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        x.sum()
        best = min(best, time.perf_counter() - start)
    return x.nbytes / best / 1e9
