"""What each severity of each corruption does to simulated pairs, as a table and as a contact sheet.

``python -m benchmarks.corruptions``: PSNR and SSIM of the degraded against the clean image at 256 pixels, mean of 24
pairs; how far pixels move; CPU time. The sheet is written to ``docs/corruptions.png``. ``python -m
benchmarks.corruptions levels`` prints the levels at which the corruptions of a group are comparably bad; those of the
table in ``preprocess/corruption.py`` are made so.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.report import keep
from changecap.data.synthetic import render_pair
from preprocess import Pair, corrupt
from preprocess.corruption import CORRUPTIONS, GROUPS, SEVERITIES, degraded, drawn, seeds_of

PAIRS, SIZE, SEED = 24, 256, 5
NAMES, DATASET = [str(i) for i in range(PAIRS)], "simulated"
REPEATS = 3
THUMB, LEFT, TOP, GAP = 112, 110, 18, 4  # of the sheet, pixels
# What the five severities aim at, evenly spaced; and the levels that are tried
PSNR, SSIM, MOVED = (24, 21, 18, 15, 12), (0.96, 0.87, 0.78, 0.69, 0.6), (1, 2, 4, 8, 16)
TRIED = {
    "brightness": (0.03, 0.5),
    "gamma": (1.05, 4),
    "color_temperature": (20, 600),
    "haze": (0.05, 2),
    "cast_shadow": (0.1, 1),
    "gaussian_blur": (0.4, 6),
    "motion_blur": (1.5, 30),
    "resolution": (1.1, 10),
    "jpeg": (1, 100),
    "noise": (0.005, 0.1),
    "translation": (0.5, 20),
    "viewpoint": (0.5, 40),
    "parallax": (0.5, 30),
    "clouds": (0.005, 0.6),
}


def simulated() -> Pair:
    """Simulated pairs with their maps."""
    rendered = [render_pair(SEED, i, SIZE)[:4] for i in range(PAIRS)]
    a, b, sem_a, sem_b = (torch.from_numpy(np.stack(column)) for column in zip(*rendered, strict=True))
    return Pair(a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2), sem_a, sem_b)


def psnr(pair: Pair, there: Pair) -> float:
    """Mean of the second dates, dB."""
    return float(np.mean([peak_signal_noise_ratio(*images) for images in _images(pair, there)]))


def ssim(pair: Pair, there: Pair) -> float:
    """Mean of the second dates."""
    return float(np.mean([structural_similarity(*images, channel_axis=2) for images in _images(pair, there)]))


def _images(pair: Pair, there: Pair) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(pair.b.permute(0, 2, 3, 1).numpy(), there.b.permute(0, 2, 3, 1).numpy(), strict=True))


def moved(name: str, level: float) -> float:
    """Mean distance over a grid of points by which a geometry moves them, pixels."""
    what = drawn(name, level, seeds_of(name, NAMES, DATASET))
    if "relief" in what:
        height = torch.nn.functional.interpolate(what["relief"][:, None], (33, 33), mode="bicubic", align_corners=True)
        distance = height.abs() * what["shift"].norm(dim=1)[:, None, None, None]
    else:
        line = torch.linspace(-0.5, 0.5, 33, dtype=torch.float64)
        points = torch.stack([*torch.meshgrid(line, line, indexing="xy"), torch.ones(33, 33)], -1).flatten(0, 1)
        there = points @ what["matrix"].transpose(1, 2)
        distance = (there[..., :2] / there[..., 2:] - points[:, :2]).norm(dim=-1)
    return float(distance.mean() * SIZE)


def _at(name: str, level: float, x: torch.Tensor) -> torch.Tensor:
    """Images ``x`` under a corruption of a level of its own."""
    return degraded(x, None, name, drawn(name, level, seeds_of(name, NAMES, DATASET)))[0]


def levels(pair: Pair) -> str:
    """The levels that reach what their group aims at, read between twelve that are tried, to two digits."""
    lines = []
    for name, corruption in CORRUPTIONS.items():
        tried = np.geomspace(*TRIED[name], 12)
        if name == "jpeg":
            tried = tried.round()
        if corruption.is_geometry:
            aims, found = MOVED, [moved(name, level) for level in tried]
        else:
            aims, measure = (SSIM, ssim) if name in GROUPS["sharpness"] else (PSNR, psnr)
            found = [measure(pair, pair._replace(b=_at(name, level, pair.b))) for level in tried]
        order = np.argsort(found)
        reached = np.exp(np.interp(aims, np.array(found)[order], np.log(tried)[order]))
        within = all(min(found) <= aim <= max(found) for aim in aims)
        shown = ", ".join(f"{level:.2g}" for level in reached)
        lines.append(f"{name:18} {shown}{'' if within else '  # beyond what is tried'}")
    return "\n".join(lines)


def sheet(pair: Pair) -> Image.Image:
    """A row for each corruption, clean and at the five severities, each of another pair; sharpness is seen close up."""
    image = Image.new("RGB", (LEFT + 6 * (THUMB + GAP), TOP + len(CORRUPTIONS) * (THUMB + GAP)), "white")
    draw = ImageDraw.Draw(image)
    for column, title in enumerate(("clean", *(f"severity {s}" for s in SEVERITIES))):
        draw.text((LEFT + column * (THUMB + GAP), 3), title, "black")
    for row, name in enumerate(CORRUPTIONS):
        top, one = TOP + row * (THUMB + GAP), slice(row, row + 1)
        draw.text((2, top + THUMB // 2), name, "black")
        clean = Pair(*(x[one] for x in pair))  # type: ignore[index]
        shown = [clean, *(corrupt(clean, name, s, NAMES[one], DATASET) for s in SEVERITIES)]
        start = (SIZE - THUMB) // 2 if name in GROUPS["sharpness"] else 0
        for column, there in enumerate(shown):
            whole = Image.fromarray(there.b[0].permute(1, 2, 0).numpy())
            thumb = whole.crop((start, start, SIZE - start, SIZE - start)).resize((THUMB, THUMB))
            image.paste(thumb, (LEFT + column * (THUMB + GAP), top))
    return image


def table(pair: Pair) -> str:
    """A row for each corruption and severity."""
    corrupt(pair, "jpeg", 1, NAMES, DATASET)  # what is imported at first use is nobody's time
    lines = [
        f"{'corruption':18}{'severity':>9}{'level':>8}  {'':25}{'PSNR dB':>8}{'SSIM':>7}{'moved px':>10}"
        f"{'CPU ms':>8}{'pairs/s':>9}"
    ]
    for name, corruption in CORRUPTIONS.items():
        for severity, level in zip(SEVERITIES, corruption.levels, strict=True):
            spent = []
            for _ in range(REPEATS):
                started = time.process_time()
                there = corrupt(pair, name, severity, NAMES, DATASET)
                spent.append((time.process_time() - started) / PAIRS)
            distance = f"{moved(name, level):.1f}" if corruption.is_geometry else "-"
            lines.append(
                f"{name:18}{severity:9}{level:8g}  {corruption.unit:25}{psnr(pair, there):8.1f}"
                f"{ssim(pair, there):7.3f}{distance:>10}{1000 * min(spent):8.1f}{1 / min(spent):9.0f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Print and keep the table, write the sheet; or print levels."""
    torch.set_num_threads(1)
    pair = simulated()
    if sys.argv[1:] == ["levels"]:
        print(levels(pair))
        return
    docs = Path(__file__).parents[1] / "docs"
    sheet(pair).quantize(256, kmeans=2).save(docs / "corruptions.png", optimize=True)
    keep(table(pair), "corruptions")


if __name__ == "__main__":
    main()
