"""The coarse motion: correlation of orientation maps over a grid of turns and scales, by the Fourier transform."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from . import motion
from .features import gaussian, quick_length

REACH = 0.2  # the longest shift searched, of the longer side


class Coarse(NamedTuple):
    """What the search found; peaks are in standard deviations of the correlation over its whole surface."""

    shift: Tensor  # (B, 3, 3), the best pure shift
    similarity: Tensor  # (B, 3, 3), the best of all
    shift_peak: Tensor  # (B,)
    peak: Tensor  # (B,)


@lru_cache(maxsize=8)
def _grid(turns: tuple[float, ...], scales: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Angles and scales ``(G,)`` that are tried, and the inverse ``(G, 3, 3)`` of each."""
    angle = (torch.tensor(turns, device=device) * (math.pi / 180)).repeat_interleave(len(scales))
    scale = torch.tensor(scales, device=device).repeat(len(turns))
    turned = motion.similarity(angle, scale, torch.zeros_like(angle)[:, None].expand(-1, 2))
    return angle, scale, torch.linalg.inv(turned)


def search(qa: Tensor, qb: Tensor, turns: tuple[float, ...], scales: tuple[float, ...], smooth: float) -> Coarse:
    """The best motions from ``qa`` to ``qb``, orientation maps ``(B, H, W)`` complex.

    Args:
        qa: the map of the first date.
        qb: of the second.
        turns: degrees that are tried, 0 among them.
        scales: factors, 1 among them.
        smooth: sigma of the Gaussian, in pixels, that the correlation is smoothed with: what the grid leaves open.
    """
    _, height, width = qa.shape
    like = qa.real
    angle, scale, back = _grid(turns, scales, qa.device)
    # a point y of a turned is the point S^-1 y of a, so the correlation with b has its peak at the shift after S
    planes = torch.view_as_real(qa).permute(0, 3, 1, 2)
    planes = motion.sample(planes, back.expand(len(qa), -1, -1, -1), (height, width))
    a = torch.complex(planes[:, 0], planes[:, 1])  # (B, G, H, W)
    a = a * torch.polar(torch.ones_like(angle), 2 * angle)[:, None, None]  # orientations turn with the image
    reach = math.ceil(REACH * max(height, width))
    size = (quick_length(height + reach), quick_length(width + reach))
    spectrum = (
        torch.fft.fft2(a, s=size).conj() * (torch.fft.fft2(qb, s=size) * gaussian(smooth, size, qa.device))[:, None]
    )
    surface = torch.fft.ifft2(spectrum).real  # (B, G, h, w)
    deviation = surface.square().mean((-3, -2, -1)).sqrt() + 1e-12
    rows, columns = (torch.arange(-reach, reach + 1, device=like.device) % n for n in size)
    peaks, index = surface[..., rows[:, None], columns].flatten(-2).max(-1)  # (B, G)
    span, unit = 2 * reach + 1, max(height, width) / 2

    def found(chosen: Tensor) -> tuple[Tensor, Tensor]:
        at = index.gather(1, chosen[:, None])[:, 0]
        shift = torch.stack([at % span - reach, at // span - reach], -1).to(like.dtype) / unit
        peak = peaks.gather(1, chosen[:, None])[:, 0] / deviation
        return motion.similarity(angle[chosen], scale[chosen], shift), peak

    still = turns.index(0) * len(scales) + scales.index(1)
    shift, best = found(torch.full_like(index[:, 0], still)), found(peaks.argmax(1))
    return Coarse(shift[0], best[0], shift[1], best[1])
