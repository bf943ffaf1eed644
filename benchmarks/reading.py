"""Reading: images/s from each kind of file, and pairs/s from PNG against the pack, on one core.

Simulated scenes of 256 x 256 pixels, for the content decides what a decoder takes. Everything is in the page cache, so
these are costs of decoding and copying; a cold disk adds its own time to each alike.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image
from tqdm import tqdm

from benchmarks.report import keep
from changecap.data import Example
from changecap.data.dataset import PairDataset, read_image
from changecap.data.synthetic.render import render_pair
from changecap.io.sources import Stored
from changecap.landcover import to_rgb

PAIRS, SIZE, BATCH, ROUNDS = 64, 256, 32, 5
GOAL = 20  # times as many pairs/s from the pack as from PNG


def rates(ways: Mapping[str, Callable[[], object]], count: int) -> dict[str, float]:
    """``count`` a second of this process's own time, the best of :data:`ROUNDS` that take turns."""
    took = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, read in ways.items():
            start = time.process_time()  # other jobs on the machine count little
            read()
            took[name] = min(took[name], time.process_time() - start)
    return {name: count / seconds for name, seconds in took.items()}


def make(folder: Path) -> list[Example]:
    """Pairs as PNG, with their images as JPEG (quality 95), GeoTIFF (deflate) and, with h5py, HDF5 beside."""
    examples, stored = [], np.zeros((PAIRS, 2, 3, SIZE, SIZE), np.uint8)
    georeference = rasterio.transform.from_origin(5e5, 4e6, 0.5, 0.5)
    for i in tqdm(range(PAIRS), desc="simulating", file=sys.stderr):
        a, b, *maps = render_pair(0, i, SIZE)[:4]
        pictures = (a, b, *map(to_rgb, maps))
        paths = [folder / f"{i}-{kind}.png" for kind in ("a", "b", "sem_a", "sem_b")]
        for slot, (path, picture) in enumerate(zip(paths, pictures, strict=True)):
            Image.fromarray(picture).save(path)
            if slot < 2:
                stored[i, slot] = picture.transpose(2, 0, 1)
                Image.fromarray(picture).save(path.with_suffix(".jpg"), quality=95)
                shape = {"width": SIZE, "height": SIZE, "count": 3, "dtype": "uint8"}
                place = {"crs": "EPSG:32631", "transform": georeference, "compress": "deflate"}
                with rasterio.open(path.with_suffix(".tif"), "w", driver="GTiff", **shape, **place) as file:
                    file.write(picture.transpose(2, 0, 1))
        examples.append(Example(str(i), *paths, ("a house",), True))
    try:
        import h5py
    except ImportError:
        return examples
    for name, options in (("plain", {}), ("gzip", {"chunks": (1, 1, 3, SIZE, SIZE), "compression": "gzip"})):
        with h5py.File(folder / f"{name}.hdf5", "w") as file:
            file.create_dataset("images", data=stored, **options)
    return examples


def read_geotiff(path: Path) -> torch.Tensor:
    """The image ``(3, H, W)`` uint8 as rasterio gives it."""
    with rasterio.open(path) as file:
        return torch.from_numpy(file.read())


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = make(folder)
        keep("\n".join([*images(folder, examples), "", *pairs(folder, examples)]), "reading")


def images(folder: Path, examples: Sequence[Example]) -> list[str]:
    """Lines of the table of images/s."""
    ways: dict[str, Callable[[], object]] = {}
    sizes = {}
    for kind, suffix, read in (
        ("PNG", "png", read_image),
        ("JPEG, quality 95", "jpg", read_image),
        ("GeoTIFF, deflate (rasterio)", "tif", read_geotiff),
    ):
        files = [folder / f"{e.id}-{date}.{suffix}" for e in examples for date in "ab"]
        ways[kind] = lambda files=files, read=read: [read(f) for f in files]
        sizes[kind] = sum(f.stat().st_size for f in files)
    for kind, file in (("HDF5, contiguous", folder / "plain.hdf5"), ("HDF5, gzip", folder / "gzip.hdf5")):
        if file.exists():
            stored = [Stored(file, i, slot) for i in range(PAIRS) for slot in (0, 1)]
            ways[kind] = lambda stored=stored: [read_image(s) for s in stored]
            sizes[kind] = file.stat().st_size
    packed = PairDataset(examples, "images", maps=False)
    packed.pack(folder)
    ways["pack, pair by pair"] = lambda: [packed[i] for i in range(PAIRS)]
    sizes["pack, pair by pair"] = next((folder / ".changecap").glob("images-*.pack")).stat().st_size
    lines = [f"images/s on one core, RGB, {SIZE} x {SIZE}", f"{'':30}{'images/s':>10}{'KB/image':>10}"]
    for kind, speed in rates(ways, 2 * PAIRS).items():
        lines.append(f"{kind:30}{speed:10.0f}{sizes[kind] / (2 * PAIRS) / 1e3:10.0f}")
    if "HDF5, gzip" not in ways:
        lines.append("HDF5: h5py is not installed here")
    return lines


def pairs(folder: Path, examples: Sequence[Example]) -> list[str]:
    """Lines of the table of pairs/s."""
    lines = [
        f"pairs/s on one core, two images and, with maps, two maps; batches of {BATCH} in random order",
        f"{'':12}{'PNG':>10}{'pack':>10}{'ratio':>8}{'to build':>12}{'floor':>10}{'of it':>8}{'GB/s':>8}",
    ]
    order = torch.randperm(PAIRS, generator=torch.Generator().manual_seed(0)).tolist()
    batches = [order[i : i + BATCH] for i in range(0, PAIRS, BATCH)]
    for maps in (False, True):
        plain, packed = (PairDataset(examples, "pairs", SIZE, maps) for _ in "ab")
        start = time.process_time()
        packed.pack(folder, workers=1)
        built = PAIRS / (time.process_time() - start)
        memory = np.ones((PAIRS // BATCH, BATCH * (8 if maps else 6) * SIZE**2), np.uint8)
        ways: dict[str, Callable[[], object]] = {
            "png": lambda s=plain: [s.batch(rows) for rows in batches],  # type: ignore[misc]
            "pack": lambda s=packed: [s.batch(rows) for rows in batches],  # type: ignore[misc]
            "floor": lambda m=memory: [part.copy() for part in m],  # type: ignore[misc]
        }
        speed = rates(ways, PAIRS)
        ratio = speed["pack"] / speed["png"]
        lines.append(
            f"{'with maps' if maps else 'images':12}{speed['png']:10.1f}{speed['pack']:10.0f}{ratio:7.0f}x"
            f"{built:10.1f}/s{speed['floor']:10.0f}{speed['pack'] / speed['floor']:8.0%}"
            f"{speed['floor'] * memory.nbytes / PAIRS / 1e9:8.1f}"
            + ("" if ratio >= GOAL else f"   below the goal of {GOAL}x")
        )
    return [
        *lines,
        "floor: as many bytes copied from memory into new memory, and its GB/s, the bandwidth that bounds a reader",
        f"goal: {GOAL} times PNG. CPU time of the process, best of {ROUNDS} rounds, files in the page cache",
    ]


if __name__ == "__main__":
    main()
