"""What two dates of a place have in common whatever the light: orientation of edges and locally normalised brightness.

All filters are Gaussians applied in the frequency domain, where a derivative, a blur that makes both dates equally
sharp and a smoothing cost one product.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

PAD = 12  # pixels of mirrored border, against the wrap-around of the filters


@lru_cache(maxsize=64)
def quick_length(least: int) -> int:
    """The first length from ``least`` on whose Fourier transform is quick: a multiple of 8 without a prime above 7.

    Of 232 = 8 * 29 it takes five times as long as of 240.
    """
    length = -(-least // 8) * 8
    while 210**20 % length:  # 210 = 2 * 3 * 5 * 7
        length += 8
    return length


@lru_cache(maxsize=64)
def gaussian(sigma: float, size: tuple[int, int], device: torch.device) -> Tensor:
    """Transfer function ``(H, W)`` of a Gaussian of ``sigma`` pixels."""
    fx, fy = frequencies(size, device)
    return torch.exp(-2 * (math.pi * sigma) ** 2 * (fx.square() + fy.square()))


@lru_cache(maxsize=64)
def frequencies(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Frequencies of the columns ``(W,)`` and of the rows ``(H, 1)``, in cycles per pixel."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float32, device=device) for n in size)
    return fx, fy[:, None]


@lru_cache(maxsize=64)
def _gradient(sigma: float, size: tuple[int, int], device: torch.device) -> Tensor:
    """Transfer function ``(H, W)`` of the gradient of a Gaussian: along x the real part, along y the imaginary one."""
    fx, fy = frequencies(size, device)
    return torch.complex(-fy.expand(size), fx.expand(size)) * (2 * math.pi * gaussian(sigma, size, device))


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """``x`` ``(..., H, W)``, complex, smoothed by a Gaussian; beyond its borders is nothing."""
    height, width = x.shape[-2:]
    size = (quick_length(height + PAD), quick_length(width + PAD))
    spectrum = torch.fft.fft2(x, s=size) * gaussian(sigma, size, x.device)
    return torch.fft.ifft2(spectrum)[..., :height, :width]


def window_max(x: Tensor, side: int) -> Tensor:
    """The largest value of ``x`` ``(..., H, W)`` in each square of ``side``: ``(..., H - side + 1, W - side + 1)``."""
    for axis in (-2, -1):
        span = 1  # doubled as long as it fits: a few comparisons of whole images, where pooling compares pixel by pixel
        while span < side:
            by = min(span, side - span)
            n = x.shape[axis] - by
            x = torch.maximum(x.narrow(axis, 0, n), x.narrow(axis, by, n))
            span += by
    return x


class Spectrum:
    """The spectrum of grey images ``(B, H, W)``, mirrored at their borders, to be filtered in several ways."""

    def __init__(self, grey: Tensor) -> None:
        self.size = (grey.shape[-2], grey.shape[-1])
        below, right = (quick_length(n + 2 * PAD) - n - PAD for n in self.size)
        padded = F.pad(grey[:, None], (PAD, right, PAD, below), mode="reflect")[:, 0]
        self.padded = (padded.shape[-2], padded.shape[-1])
        self.values = torch.fft.fft2(padded)

    def soften(self, covariance: Tensor) -> None:
        """Blur by a Gaussian of ``covariance`` ``(B, 3)``: xx, xy, yy in square pixels."""
        xx, xy, yy = (c[:, None, None] for c in covariance.unbind(-1))
        fx, fy = frequencies(self.padded, covariance.device)
        exponent = xx * fx**2 + 2 * xy * (fx * fy) + yy * fy**2
        self.values = self.values * torch.exp(-2 * math.pi**2 * exponent)

    def orientation(self, sigma: float, floor: float) -> Tensor:
        """Orientation of edges ``(B, H, W)``: complex, its angle twice theirs, its length 0 to 1.

        Blind to contrast and to its sign.

        Args:
            sigma: of the Gaussian that the gradient is taken of.
            floor: the gradient energy, relative to the image's mean, at which an edge has half its weight.
        """
        g = self._crop(torch.fft.ifft2(self.values * _gradient(sigma, self.padded, self.values.device)))
        energy = g.real.square() + g.imag.square()
        return g * g / (energy + floor * energy.mean((-2, -1), keepdim=True) + 1e-10)

    def normalised(self, sigma: float, window: float, floor: float) -> Tensor:
        """Brightness ``(B, H, W)`` smoothed by ``sigma``, less its mean and over its deviation in a ``window``.

        ``floor`` is the variance, relative to the image's mean, at which a place has half its weight.
        """
        wide, narrow = (gaussian(s, self.padded, self.values.device) for s in (window, sigma))
        x = torch.fft.ifft2(self.values * (narrow - wide)).real
        energy = torch.fft.ifft2(torch.fft.fft2(x * x) * wide).real.clamp_min(0)
        return self._crop(x / (energy + floor * energy.mean((-2, -1), keepdim=True) + 1e-10).sqrt())

    def _crop(self, x: Tensor) -> Tensor:
        return x[..., PAD : PAD + self.size[0], PAD : PAD + self.size[1]]
