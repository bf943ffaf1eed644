"""A window of a large scene: seconds and memory of captioning 256 x 256 pixels of two GeoTIFFs of 20,000 x 20,000.

``python -m benchmarks.geo``: the files are made in a temporary folder, of a tile of noise repeated. Each reading is a
process of its own: date after on the grid of the date before (8-bit and, with percentiles, 16-bit), and on another.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import zoo
from benchmarks.report import keep
from changecap.checkpoints import checkpoint
from changecap.language.vocabulary import Vocabulary

SIDE, TILE, WINDOW = 20_000, 512, (9_000, 11_000, 256, 256)
BACKBONE = {"name": "resnet18", "stride": 16}
WORDS = Vocabulary.build(["a building appears on bare land"])  # what is said is of no interest here
READ = f"""
import sys, time
import changecap, changecap.io.geotiff
def peak():  # not getrusage: its ru_maxrss begins with that of the process that started this one
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) / 1024
captioner = changecap.load(sys.argv[3])
before, start = peak(), time.perf_counter()
found = changecap.io.geotiff.read_pair(*sys.argv[1:3], window={WINDOW})
assert found.valid.all() and found.pair.b.float().std() > 10
took = time.perf_counter() - start
captioner(*sys.argv[1:3], window={WINDOW})
print(f"{{took:.2f}} {{peak():.0f}} {{before:.0f}}")
"""


def write(path: Path, kind: str, shift: float, seed: int) -> Path:
    """A tiled, compressed scene of 10 m pixels that begins ``shift`` pixels east of the others."""
    import rasterio
    from rasterio.transform import from_origin

    profile = {"driver": "GTiff", "count": 3, "height": SIDE, "width": SIDE, "dtype": kind, "crs": "EPSG:32633"}
    layout = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "compress": "deflate", "interleave": "pixel"}
    # noise of 16 x 16 pixels repeated: deflate makes little of it
    random = np.random.default_rng(seed)
    noise = np.tile(random.integers(0, 256 if kind == "uint8" else 4000, (3, 16, 16)), (1, TILE // 16, TILE // 16))
    transform = from_origin(500_000 + 10 * shift, 5_000_000, 10, 10)
    with rasterio.open(path, "w", **profile, **layout, transform=transform) as file:
        for _, window in file.block_windows(1):
            file.write(noise[:, : window.height, : window.width].astype(kind), window=window)
    return path


def main() -> None:
    """Print a line per pair."""
    lines = [
        f"{SIDE} x {SIDE} pixels, 3 bands; window {WINDOW[2]} x {WINDOW[3]}",
        "seconds to read the window; peak with the caption (MModalCC, ResNet-18, width 512)",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = zoo.create_model("mmodalcc", inputs="rgb", backbone=BACKBONE, vocab=len(WORDS))
        config = {"size": 256, "inputs": "rgb", "model": {"name": "mmodalcc", "inputs": "rgb", "backbone": BACKBONE}}
        checkpoint.save(Path(folder, "model"), model, WORDS, config)
        for kind in ("uint8", "uint16"):
            a = write(Path(folder, f"{kind}-a.tif"), kind, 0, 1)
            for grid, shift in (("one grid", 0), ("shifted by half a pixel", 0.5)):
                b = write(Path(folder, f"{kind}-b.tif"), kind, shift, 2)
                command = [sys.executable, "-W", "ignore", "-c", READ, str(a), str(b), f"{folder}/model"]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, peak, before = out.split()
                disk = (a.stat().st_size + b.stat().st_size) / 1e6
                lines.append(
                    f"{kind:6} {grid:24} {seconds:>6} s, peak {peak} MiB, {before} MiB before the files were opened; "
                    f"{disk:.0f} MB on disk"
                )
    keep("\n".join(lines), "geo")


if __name__ == "__main__":
    main()
