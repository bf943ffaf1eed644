"""How much blurrier one date is than the other, what to do about it, and blur drawn on purpose.

The gap is read from the power spectra of both dates, averaged over overlapping tiles (Welch 1967): under a kernel ``h``
the blurrier spectrum is ``c |H|^2 P + n``, the sharper one's power ``P`` under the kernel, a contrast ``c`` and white
noise ``n``. Each kernel of a table is held against that in the logarithm, and the best one wins.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from kornia.filters import filter2d, filter2d_separable
from torch import Tensor

from .illumination import check

KINDS = ("none", "gaussian", "motion")
SIGMAS = torch.arange(0, 5.01, 0.125)
LENGTHS = torch.arange(3, 20.1, 1.0)
ANGLES = torch.arange(0, 180, 10.0)
REACH = 4.0  # sigmas from the middle of a Gaussian to its end
TILES = (64, 128)  # many tiles for a Gaussian; fine frequencies for the zeros of a motion
BANDS = ((0.04, 0.45), (0.03, 0.25))  # cycles per pixel: below, scenes differ; above, there is mostly noise
LOW = 0.1  # below it a kernel changes little: the contrast is first read there
FLOOR = 0.012  # power of rounding to 8 bits under a Hann window: below, a spectrum says nothing
OUTLIER = 1.5  # difference of the log spectra that counts no further: the floor of a motion's zeros
CLEARLY = 0.8  # of the best Gaussian's cost, above which a motion is not believed
LEAST = 0.3  # sigma below which a gap is not worth a blur


class BlurGap(NamedTuple):
    """What makes one date blurrier than the other.

    Attributes:
        sigma: standard deviation ``(B,)`` in pixels of the nearest Gaussian, positive where ``b`` is blurrier.
        length: of the motion ``(B,)`` in pixels, signed as ``sigma``; 0 unless ``kind`` is motion.
        angle: of the motion ``(B,)`` in degrees from the x axis towards the top, in [0, 180).
        kind: index ``(B,)`` into :data:`KINDS`.
    """

    sigma: Tensor
    length: Tensor
    angle: Tensor
    kind: Tensor


def gaussian(x: Tensor, sigma: Tensor, largest: float | None = None) -> Tensor:
    """Blur images ``(B, C, H, W)`` by a Gaussian of ``sigma`` ``(B,)`` pixels; those with 0 stay as they are.

    ``largest`` is what no sigma exceeds, where that is known without looking at them; so for the others below.
    """
    axis, sigma = _axis(REACH * _most(sigma, largest), x), sigma.to(x.device, torch.float32)
    wide = sigma.clamp_min(0.05)[:, None]  # below that the kernel is a single 1
    # its own reach cuts each kernel: an image's blur must not depend on its neighbours in the batch
    kernel = (-(axis / wide).square() / 2).exp() * (axis.abs() <= (REACH * wide).ceil())
    kernel = kernel / kernel.sum(1, keepdim=True)
    return _blur(x, lambda v: filter2d_separable(v, kernel, kernel, "replicate"), sigma > 0)


def motion(x: Tensor, length: Tensor, angle: Tensor, largest: float | None = None) -> Tensor:
    """Blur images ``(B, C, H, W)`` along a line of ``length`` ``(B,)`` pixels at ``angle`` ``(B,)``, see BlurGap."""
    axis, length = _axis(_most(length, largest) / 2 + 1, x), length.to(x.device, torch.float32)
    theta = torch.deg2rad(angle.to(x.device, torch.float32))[:, None, None]
    along = (axis * theta.cos() - axis[:, None] * theta.sin()).abs()  # (B, k, k); rows count downwards
    across = (axis * theta.sin() + axis[:, None] * theta.cos()).abs()
    ends = (length[:, None, None].clamp_min(1) / 2 + 0.5 - along).clamp(0, 1)
    return _under(x, ends * (1 - across).clamp_min(0), length > 1)


def defocus(x: Tensor, radius: Tensor, largest: float | None = None) -> Tensor:
    """Blur images ``(B, C, H, W)`` by a disc of ``radius`` ``(B,)`` pixels; those with 0 stay as they are."""
    axis, radius = _axis(_most(radius, largest), x), radius.to(x.device, torch.float32)
    disc = (radius[:, None, None] + 0.5 - (axis.square() + axis[:, None].square()).sqrt()).clamp(0, 1)
    return _under(x, disc, radius > 0)


def _most(values: Tensor, largest: float | None) -> float:
    return float(values.max()) if largest is None else largest


def _axis(reach: float, like: Tensor) -> Tensor:
    """Pixels ``(k,)`` on both sides of a kernel's middle, up to ``reach``."""
    radius = max(1, math.ceil(reach))
    return torch.arange(-radius, radius + 1, device=like.device, dtype=torch.float32)


def _under(x: Tensor, kernel: Tensor, where: Tensor) -> Tensor:
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    return _blur(x, lambda v: filter2d(v, kernel, "replicate"), where)


def _blur(x: Tensor, filtered: Callable[[Tensor], Tensor], where: Tensor) -> Tensor:
    """``x`` as kernels that sum to one have it ``where`` ``(B,)``, borders repeated; NaN is left out and stays."""
    if x.sum().isfinite():  # a mask of every pixel costs as much as a small blur
        out = filtered(x.float()).to(x.dtype)
    else:
        holes = x.isnan()
        out = filtered(torch.nan_to_num(x).float()) / filtered((~holes).float()).clamp_min(1e-6)
        out = torch.where(holes, x, out.to(x.dtype))
    return out if where.all() else torch.where(where[:, None, None, None], out, x)


@torch.no_grad()
def blur_gap(a: Tensor, b: Tensor, mask: Tensor | None = None) -> BlurGap:
    """How much blurrier ``b`` is than ``a``, both ``(B, 3, H, W)`` in [0, 1], NaN where there are no data.

    Images below 16 pixels a side and those with nothing to see have no gap.

    Raises:
        ValueError: as :func:`preprocess.illumination.check`.
    """
    valid = check(a, b, mask)
    if min(a.shape[-2:]) < 16:
        nothing = torch.zeros(len(a), device=a.device)
        return BlurGap(nothing, nothing, nothing, nothing.long())
    a, b = ((torch.nan_to_num(x.float()).mean(1, keepdim=True) * 255) for x in (a, b))
    pa, pb = (_spectrum(x, valid, TILES[0]) for x in (a, b))
    curve = torch.stack([_cost(p, q, _gaussians(p.shape[1], a.device), BANDS[0]) for p, q in ((pa, pb), (pb, pa))], 1)
    sigma = _lowest(curve)
    pa, pb = (_spectrum(x, valid, TILES[1]) for x in (a, b))
    ahead = _is_softer(pb, pa)
    sharp, soft = torch.where(ahead[:, None, None], torch.stack([pa, pb]), torch.stack([pb, pa]))
    lines = _cost(sharp, soft, _lines(pa.shape[1], a.device), BANDS[1])
    nearest = _cost(sharp, soft, _gaussians(pa.shape[1], a.device), BANDS[1]).amin(1)
    gap = _choose(sigma, lines, nearest, ahead)
    flat = torch.minimum(pa.amax((1, 2)), pb.amax((1, 2))) < 1  # of a date without a structure of a level
    return BlurGap(*(x.masked_fill(flat, 0) for x in gap))


def _spectrum(grey: Tensor, valid: Tensor, tile: int) -> Tensor:
    """Mean power ``(B, T, T / 2 + 1)`` of overlapping windowed tiles of a grey image; holes take the mean."""
    seen = valid.float()
    average = (grey * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True).clamp_min(1)
    grey = (grey - average) * seen
    size = min(tile, *grey.shape[-2:])
    step = max(1, size // 2)
    tiles = grey.unfold(2, size, step).unfold(3, size, step)[:, 0]  # (B, n, m, T, T)
    share = seen.unfold(2, size, step).unfold(3, size, step)[:, 0].mean((-1, -2))
    window = torch.hann_window(size, periodic=False, device=grey.device)
    tiles = (tiles - tiles.mean((-1, -2), keepdim=True)) * window[:, None] * window
    power = torch.fft.rfft2(tiles, norm="ortho").abs().square()
    weight = (share > 0.9).float() + 1e-6 * share + 1e-12
    return (power * weight[..., None, None]).sum((1, 2)) / weight.sum((1, 2))[..., None, None]


@cache
def _frequencies(tile: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    fy, fx = torch.fft.fftfreq(tile, device=device)[:, None], torch.fft.rfftfreq(tile, device=device)
    return fy, fx, (fy.square() + fx.square()).sqrt()


@cache
def _gaussians(tile: int, device: torch.device) -> Tensor:
    """Power transfer ``(K, T, T / 2 + 1)`` of each of :data:`SIGMAS`."""
    radius = _frequencies(tile, device)[2]
    return torch.exp(-(2 * torch.pi * SIGMAS.to(device)[:, None, None] * radius).square())


@cache
def _lines(tile: int, device: torch.device) -> Tensor:
    """Power transfer ``(K, T, T / 2 + 1)`` of each of :data:`LENGTHS` at each of :data:`ANGLES`."""
    fy, _, _ = _frequencies(tile, device)
    theta = torch.deg2rad(ANGLES.to(device))[:, None, None]
    along = torch.fft.fftfreq(tile, device=device) * theta.cos() - fy * theta.sin()
    power = torch.sinc(LENGTHS.to(device)[:, None, None, None] * along).square()
    for axis in (-1, -2):  # what a Hann window does to a spectrum fills the zeros
        power = power * 2 / 3 + (power.roll(1, axis) + power.roll(-1, axis)) / 6
    return power.flatten(0, 1)[..., : tile // 2 + 1]


def _cost(sharp: Tensor, soft: Tensor, transfer: Tensor, band: tuple[float, float]) -> Tensor:
    """Mean difference ``(B, K)`` of the log spectra ``(B, T, T / 2 + 1)`` under each kernel, squared and cut."""
    radius = _frequencies(sharp.shape[1], sharp.device)[2]
    use, corner = (radius > band[0]) & (radius < band[1]), radius > 0.5
    low = radius[use] < LOW
    model = sharp[:, use][:, None] * transfer[:, use] + 1e-9
    model_high = (sharp[:, corner][:, None] * transfer[:, corner]).mean(-1)
    high = soft[:, corner].mean(-1)[:, None]
    target = (soft[:, use][:, None] + FLOOR).log()
    contrast = (target[..., low] - model[..., low].log()).mean(-1).exp()

    def compare() -> tuple[Tensor, Tensor]:
        noise = (high - contrast * model_high).clamp_min(0)[..., None] + FLOOR
        carried = contrast[..., None] * model
        whole = carried + noise
        return (target - whole.log()).clamp(-OUTLIER, OUTLIER), carried / whole

    for _ in range(2):
        error, slope = compare()
        contrast = contrast * ((error * slope).sum(-1) / slope.square().sum(-1).clamp_min(1e-6)).clamp(-1, 1).exp()
    return compare()[0].square().mean(-1)


def _lowest(cost: Tensor) -> Tensor:
    """Sigma ``(B,)`` at the lowest of ``cost`` ``(B, 2, K)``, where ``b`` is blurrier and where ``a`` is."""
    n = len(SIGMAS)
    cost = torch.cat([cost[:, 1, 1:].flip(1), cost[:, 0]], 1)
    index = cost.argmin(1).clamp(1, 2 * n - 3)
    left, middle, right = (cost.gather(1, index[:, None] + k)[:, 0] for k in (-1, 0, 1))
    shift = ((left - right) / (2 * (left - 2 * middle + right)).clamp_min(1e-9)).clamp(-0.5, 0.5)
    return (index + shift - (n - 1)) * (SIGMAS[1] - SIGMAS[0]).item()


def _is_softer(power: Tensor, other: Tensor) -> Tensor:
    """Whether ``(B,)`` the spectrum ``(B, T, T / 2 + 1)`` falls faster than the other; a motion may fit no Gaussian."""
    radius = _frequencies(power.shape[1], power.device)[2]
    low, high = radius < LOW, (radius > LOW) & (radius < BANDS[1][1])
    ratio = ((power + FLOOR) / (other + FLOOR)).log()
    return ratio[:, high].mean(1) < ratio[:, low & (radius > BANDS[1][0])].mean(1)


def _choose(sigma: Tensor, lines: Tensor, gauss: Tensor, ahead: Tensor) -> BlurGap:
    """A motion where the best of its costs ``(B, K)`` is clearly below that of the best Gaussian ``(B,)``."""
    best, where = lines.min(1)
    moved = best < CLEARLY * gauss
    length = LENGTHS.to(sigma.device)[where // len(ANGLES)] * torch.where(ahead, 1, -1)
    angle = ANGLES.to(sigma.device)[where % len(ANGLES)]
    kind = torch.where(moved, 2, (sigma.abs() >= LEAST).long())
    return BlurGap(sigma, torch.where(moved, length, 0), torch.where(moved, angle, 0), kind)


def equalise(a: Tensor, b: Tensor, gap: BlurGap) -> tuple[Tensor, Tensor]:
    """Both dates ``(B, 3, H, W)`` as blurred as the blurrier one: the sharper date is blurred, none is sharpened."""
    soft, moved = gap.kind == 1, gap.kind == 2
    for sign in (1, -1):
        x = a if sign == 1 else b
        x = gaussian(x, torch.where(soft, sign * gap.sigma, 0).clamp_min(0))
        x = motion(x, torch.where(moved, sign * gap.length, 0).clamp_min(0), gap.angle)
        a, b = (x, b) if sign == 1 else (a, x)
    return a, b
