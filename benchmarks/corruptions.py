"""What each severity of each corruption does to simulated pairs, as a table and as a contact sheet.

``python -m benchmarks.corruptions``: PSNR and SSIM of the degraded against the clean image at 256 pixels, mean of 24
pairs; how far the middles of pixels move; CPU time. The sheet is written to ``docs/corruptions.png``.
"""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from benchmarks.report import keep
from changecap.data.synthetic import render_pair
from preprocess import Pair
from preprocess.corrupt import CORRUPTIONS, corrupt, parameters

PAIRS, SIZE, SEED = 24, 256, 5
THUMB, LEFT, TOP, GAP = 112, 100, 18, 4  # of the sheet, pixels


def simulated() -> Pair:
    """Simulated pairs with their maps."""
    rendered = [render_pair(SEED, i, SIZE)[:4] for i in range(PAIRS)]
    a, b, sem_a, sem_b = (torch.from_numpy(np.stack(column)) for column in zip(*rendered, strict=True))
    return Pair(a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2), sem_a, sem_b)


def moved(matrix: Tensor) -> float:
    """Mean distance over a grid of points by which ``matrix`` ``(B, 3, 3)`` moves them, pixels."""
    line = torch.linspace(-0.5, 0.5, 33, dtype=matrix.dtype)
    points = torch.stack([*torch.meshgrid(line, line, indexing="xy"), torch.ones(33, 33)], -1).flatten(0, 1)
    there = points @ matrix.transpose(1, 2)
    return float((there[..., :2] / there[..., 2:] - points[:, :2]).norm(dim=-1).mean() * SIZE)


def main() -> None:
    """Print and keep the table, write the sheet."""
    torch.set_num_threads(1)
    pair = simulated()
    names = [str(i) for i in range(PAIRS)]
    sheet = Image.new("RGB", (LEFT + 6 * (THUMB + GAP), TOP + len(CORRUPTIONS) * (THUMB + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("clean", *(f"severity {s}" for s in range(1, 6)))):
        draw.text((LEFT + column * (THUMB + GAP), 3), title, "black")
    lines = [
        f"{'corruption':15}{'severity':>9}{'level':>8}  {'':26}{'PSNR dB':>8}{'SSIM':>7}{'moved px':>10}{'CPU ms':>8}"
    ]
    for row, (name, corruption) in enumerate(CORRUPTIONS.items()):
        top = TOP + row * (THUMB + GAP)
        draw.text((2, top + THUMB // 2), name, "black")
        for severity in range(6):
            started = time.process_time()
            there = corrupt(pair, name, severity, names, "simulated") if severity else pair
            spent = (time.process_time() - started) / PAIRS
            thumb = Image.fromarray(there.b[row % PAIRS].permute(1, 2, 0).numpy()).resize((THUMB, THUMB))
            sheet.paste(thumb, (LEFT + severity * (THUMB + GAP), top))
            if severity:
                both = list(zip(pair.b.permute(0, 2, 3, 1).numpy(), there.b.permute(0, 2, 3, 1).numpy(), strict=True))
                psnr = np.mean([peak_signal_noise_ratio(*images) for images in both])
                ssim = np.mean([structural_similarity(*images, channel_axis=2) for images in both])
                drawn = parameters(name, severity, names, "simulated")
                distance = f"{moved(drawn['matrix']):10.1f}" if corruption.is_geometry else f"{'-':>10}"
                level = corruption.levels[severity - 1]
                shown = f"{name:15}{severity:9}{level:8}  {corruption.unit:26}"
                lines.append(f"{shown}{psnr:8.1f}{ssim:7.3f}{distance}{1000 * spent:8.1f}")
    sheet.quantize(160).save(Path(__file__).parents[1] / "docs" / "corruptions.png", optimize=True)
    keep("\n".join(lines), "corruptions")


if __name__ == "__main__":
    main()
