"""The simulator: how fast it renders and writes, and how hard its data is to caption by looking up a similar pair.

    python benchmarks/synth.py [out=benchmarks/results/synth.txt] [sheet=sheet.png] [pairs=200] [train=4000]
                                [test=1000]

``pairs=0`` leaves the speed out, ``train=0`` the difficulty. ``sheet`` draws pairs, maps and a caption each at 256
pixels.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes must not share out one core's threads

import numpy as np
from PIL import Image, ImageDraw

from changecap import data
from changecap.data.synthetic import render_pair, write
from changecap.data.synthetic.grammar import captions
from changecap.evaluation import baselines
from changecap.landcover import to_rgb
from changecap.language.no_change import says_no_change
from changecap.metrics import score
from changecap.metrics.facts import fact_scores

SIZES = (64, 128, 256)
PROCESSES = (1, 2)
DEFAULTS = {"out": "", "sheet": "", "pairs": "200", "train": "4000", "test": "1000"}


def main(arguments: list[str]) -> None:
    """Print the tables, and write them to ``out`` if that is given."""
    settings = DEFAULTS | dict(argument.split("=", 1) for argument in arguments)
    if unknown := set(settings) - set(DEFAULTS):
        raise SystemExit(f"unknown setting {', '.join(unknown)}, expected some of: {', '.join(DEFAULTS)}")
    pairs, train, test = (int(settings[name]) for name in ("pairs", "train", "test"))
    lines = []
    for line in (*machine(), *(speed(pairs) if pairs else ()), *(difficulty(train, test) if train else ())):
        print(line, flush=True)
        lines.append(line)
    if settings["out"]:
        Path(settings["out"]).write_text("\n".join(lines) + "\n")
    if settings["sheet"]:
        sheet().save(settings["sheet"])


def machine() -> Iterator[str]:
    """Where and when."""
    info = Path("/proc/cpuinfo")
    names = [line.split(": ")[1] for line in info.read_text().splitlines() if line.startswith("model name")]
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} x {names[0] if names else platform.processor()}"
    yield f"python {platform.python_version()}, numpy {np.__version__}; load average {os.getloadavg()[0]:.1f}"


def speed(pairs: int) -> Iterator[str]:
    """Pairs per second, beside what moving and writing the bytes alone would take."""
    copied = np.ones(1 << 26, np.uint8)
    seconds = min(_timed(copied.copy) for _ in range(5))
    bandwidth = 2 * copied.size / seconds
    yield ""
    yield f"Pairs per second ({pairs} pairs each); one core copies {bandwidth / 1e9:.1f} GB/s"
    yield "| size | processes | rendered | CPU ms a pair | written | MB a pair | floor: memory | floor: disk |"
    yield "|---|---|---|---|---|---|---|---|"
    for size in SIZES:
        for processes in PROCESSES:
            rendered, cpu = rendering(pairs, size, processes)
            with tempfile.TemporaryDirectory() as folder:
                job = partial(write, Path(folder) / "data", pairs, size=size, workers=processes, progress=False)
                written = pairs / _timed(job)
                volume = sum(path.stat().st_size for path in Path(folder).rglob("*.png")) / pairs
                block = b"\0" * int(volume * pairs)
                disk = pairs / _timed(partial((Path(folder) / "block").write_bytes, block))
            moved = bandwidth * processes / (size * size * 3 * 4 * 2)  # two images of float32 planes
            yield (
                f"| {size} | {processes} | {rendered:.0f} | {1e3 * cpu:.1f} | {written:.0f} | {volume / 1e6:.3f} "
                f"| {moved:,.0f} | {disk:,.0f} |"
            )
    yield "Written: with the start of the processes and all files. Floors are pairs per second as well: the float32"
    yield "planes of both images copied once in memory, and the files' bytes written as one file."


def rendering(pairs: int, size: int, processes: int) -> tuple[float, float]:
    """Pairs rendered per second by all processes, and the processor seconds one pair takes."""
    job = partial(_render, size=size)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(job, range(processes), [2] * processes))  # imports and textures
        share = pairs // 10
        start = time.perf_counter()
        cpu = sum(pool.map(job, range(0, share * 10, share), [share] * 10))
        return share * 10 / (time.perf_counter() - start), cpu / (share * 10)


def _render(first: int, count: int, size: int) -> float:
    start = time.process_time()
    for index in range(first, first + count):
        render_pair(0, index, size)
    return time.process_time() - start


def _timed(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def difficulty(train: int, test: int) -> Iterator[str]:
    """What the captions of the most similar training pair score."""
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder) / "data", train + test, size=64, seed=0, val=0, test=test)
        known, asked = (data.load("second_cc", root, split) for split in ("train", "test"))
        known.preload()
        asked.preload()
        rows = baselines.every(known, asked, maps=True)
    facts = {example.id: example.facts or () for example in asked.examples}
    flags = {example.id: bool(example.changed) for example in asked.examples}
    references = {example.id: example.captions for example in asked.examples}
    yield ""
    yield f"Lookup among {train} training pairs for {test} test pairs of 64 pixels, seed 0"
    yield "| baseline | given | facts | roles | place | count | flag | CIDEr-D, changed pairs |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        scores = fact_scores(row.sentences, facts)
        report = score(references, row.sentences, flags)
        right = np.mean([says_no_change(row.sentences[i]) != flags[i] for i in flags])
        yield (
            f"| {name} | {row.inputs} | {' | '.join(f'{value:.3f}' for value in scores.values())} "
            f"| {right:.3f} | {report['subsets']['change']['CIDEr']:.3f} |"
        )


def sheet(rows: int = 6, size: int = 256) -> Image.Image:
    """Pairs with a caption each: on the left changed ones with their maps, on the right unchanged ones."""
    strip, index = 14, 0
    columns: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    while min(map(len, columns)) < rows:
        a, b, sem_a, sem_b, facts = render_pair(7, index, size)
        index += 1
        pictures = [a, b, to_rgb(sem_a), to_rgb(sem_b)] if facts else [a, b]
        row = Image.new("RGB", (size * len(pictures), size + strip))
        row.paste(Image.fromarray(np.concatenate(pictures, 1)))
        words = captions(facts, np.random.default_rng(index))[0]
        ImageDraw.Draw(row).text((2, size + 1), words[: row.width // 6], fill=(255, 255, 255))
        columns[0 if facts else 1].append(np.asarray(row))
    return Image.fromarray(np.concatenate([np.concatenate(column[:rows]) for column in columns], 1))


if __name__ == "__main__":
    main(sys.argv[1:])
