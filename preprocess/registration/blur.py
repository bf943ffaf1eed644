"""Blur: how much more of it one date of a pair has than the other.

Not the estimator of :mod:`preprocess.sharpness`, which weighs tables of kernels to say which blur it was, for a person
or an image that is to be kept. Here a covariance is enough, of a date that may be moved, and it costs a twentieth.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NOISE = 0.45  # cycles per pixel above which there is nothing but noise
BAND = (0.02, 0.4)  # cycles per pixel that tell of blur


def blur_gap(a: Tensor, b: Tensor) -> Tensor:
    """By how much ``b`` is more blurred than ``a``: the covariance of the Gaussian between them.

    The logarithm of the ratio of the power spectra falls with the square of the frequency, by 4 pi^2 times the
    covariance; a motion blur has one along its direction. Frequencies that noise fills have no say.

    Args:
        a: grey images ``(B, H, W)``.
        b: the same of the other date.

    Returns:
        ``(B, 3)``: xx, xy, yy in square pixels, negative where ``a`` is the more blurred one.
    """
    height, width = a.shape[-2:]
    window = torch.outer(*(torch.hann_window(n, False, dtype=a.dtype, device=a.device) for n in (height, width)))
    fy = torch.fft.fftfreq(height, dtype=a.dtype, device=a.device)[:, None]
    fx = torch.fft.rfftfreq(width, dtype=a.dtype, device=a.device)
    r = (fx**2 + fy**2).sqrt()
    noisy = (r > NOISE).to(a.dtype)
    weight = ((r > BAND[0]) & (r < BAND[1])) / r.clamp_min(BAND[0])  # as many rings as there are frequencies
    powers = []
    for x in (a, b):
        spectrum = torch.fft.rfft2((x - x.mean((-2, -1), keepdim=True)) * window, norm="ortho")
        power = spectrum.real.square() + spectrum.imag.square()
        power = F.avg_pool2d(power[:, None], 3, 1, 1)[:, 0]  # the logarithm wants it steady
        noise = (power * noisy).sum((-2, -1), keepdim=True) / noisy.sum()
        weight = weight * (power / (power + 3 * noise + 1e-12)).square()
        powers.append(power.clamp_min(1e-10).log())
    one = torch.ones_like(r)
    basis = torch.stack([one, fx**2 * one, 2 * fx * fy, fy**2 * one], -1).flatten(0, 1)  # (N, 4)
    weight = weight.flatten(1)
    normal = (weight @ (basis[:, :, None] * basis[:, None, :]).flatten(1)).unflatten(1, (4, 4))
    right = (weight * (powers[1] - powers[0]).flatten(1)) @ basis
    ridge = 1e-6 * torch.eye(4, dtype=a.dtype, device=a.device)
    return torch.linalg.solve_ex(normal + ridge, right)[0][:, 1:] / (-4 * math.pi**2)


def shares(gap: Tensor) -> tuple[Tensor, Tensor]:
    """The blur that makes both dates alike, ``(B, 3)`` each: that of ``a``, and that of ``b``.

    Neither is sharpened: along each axis of the ``gap`` of :func:`blur_gap` the sharper date is blurred.
    """
    xx, xy, yy = gap.unbind(-1)
    mean, half = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    long, short = mean + half, mean - half
    cos, sin = (xx - yy) / 2 / half.clamp_min(1e-9), xy / half.clamp_min(1e-9)
    parts = []
    for one, two in ((long.clamp_min(0), short.clamp_min(0)), ((-long).clamp_min(0), (-short).clamp_min(0))):
        m, d = (one + two) / 2, (one - two) / 2
        parts.append(torch.stack([m + d * cos, d * sin, m - d * cos], -1))
    return parts[0], parts[1]
