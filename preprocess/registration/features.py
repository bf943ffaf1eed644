"""What two dates of a place have in common whatever the light: orientation of edges and locally normalised brightness.

What an image is filtered with is applied in the frequency domain, where a derivative and a blur that makes both dates
equally sharp cost one product.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

EDGES, ANGLE = 3, 2  # maps that `edges` gives, and the first of them, which tell the orientation
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


def edges(orientation: Tensor, seen: Tensor) -> Tensor:
    """Edges as maps ``(B, 3, H, W)``, blind to contrast: their orientation and their strength.

    The strength is less its mean. It tells a town from fields, where the town changed and no single edge stayed.

    Args:
        orientation: of edges, ``(B, 2, H, W)``, see :meth:`Spectrum.orientation`.
        seen: ``(B, H, W)``, 1 where the image shows something, else 0; the maps are 0 there.
    """
    x, y = orientation.unbind(1)
    strength = torch.hypot(x, y)
    mean = (strength * seen).sum((-2, -1), keepdim=True) / seen.sum((-2, -1), keepdim=True).clamp_min(1)
    return torch.cat([orientation, (strength - mean)[:, None]], 1) * seen[:, None]


def smoothed(x: Tensor, times: int = 1) -> Tensor:
    """``x`` ``(..., H, W)`` under a binomial filter, a Gaussian of variance ``times / 2``; beyond its borders is 0."""
    for _ in range(times):
        for axis in (-2, -1):
            n = x.shape[axis] - 1
            y = x / 2
            y.narrow(axis, 1, n).add_(x.narrow(axis, 0, n), alpha=0.25)
            y.narrow(axis, 0, n).add_(x.narrow(axis, 1, n), alpha=0.25)
            x = y
    return x


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
        xx, xy, yy = (-2 * math.pi**2 * c[:, None, None] for c in covariance.unbind(-1))
        fx, fy = frequencies(self.padded, covariance.device)
        exponent = (2 * xy * fy * fx).add_(xx * fx**2).add_(yy * fy**2)
        self.values = self.values * exponent.exp_()

    def orientation(self, sigma: float, floor: float) -> Tensor:
        """Orientation of edges ``(B, 2, H, W)``: a vector, its angle twice theirs, its length 0 to 1.

        Blind to contrast and to its sign.

        Args:
            sigma: of the Gaussian that the gradient is taken of.
            floor: the gradient energy, relative to the image's mean, at which an edge has half its weight.
        """
        g = self._crop(torch.fft.ifft2(self.values * _gradient(sigma, self.padded, self.values.device)))
        x, y = g.real.contiguous(), g.imag.contiguous()
        energy = (x * x).addcmul_(y, y)
        weight = (energy + floor * energy.mean((-2, -1), keepdim=True)).add_(1e-10).reciprocal_()
        return torch.stack([(x - y).mul_(x + y).mul_(weight), (2 * x).mul_(y).mul_(weight)], 1)

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
