"""What can happen to one date: light, sharpness and viewpoint, each with a parameter for every image of a batch.

Images are ``(B, 3, H, W)`` in [0, 1] and stay so; maps ``(B, H, W)`` keep their classes. Nothing is drawn here.
Lengths are shares of an image's shorter side, so that they mean the same at any size.
"""

import kornia
import torch
from torch import Tensor

from . import blur


def gamma(x: Tensor, exponent: Tensor) -> Tensor:
    """``x ** exponent``; ``exponent`` ``(B,)`` above 1 darkens."""
    return x.log().mul_(exponent.to(x)[:, None, None, None]).exp_()  # twice as fast as a power; of 0 it is 0


def brightness(x: Tensor, shift: Tensor) -> Tensor:
    """``x + shift``, saturating; ``shift`` ``(B,)`` in [-1, 1]."""
    return kornia.enhance.adjust_brightness(x, shift.to(x))


def cast_shadow(x: Tensor, strength: Tensor, angle: Tensor, offset: Tensor, width: Tensor, wave: Tensor) -> Tensor:
    """Darken a band across the image; what the sky still lights is bluish.

    Args:
        x: images.
        strength: share of the red light that is missing, ``(B,)`` in [0, 1].
        angle: of the band's normal, radians ``(B,)``.
        offset: of the band's middle from the image's, ``(B,)``.
        width: of the band, ``(B,)``.
        wave: phase of the band's wavy edges, radians ``(B,)``.
    """
    strength, angle, offset, width, wave = (v.to(x)[:, None, None] for v in (strength, angle, offset, width, wave))
    rows, columns = _centred(x)
    across = columns * angle.cos() + rows * angle.sin()
    along = rows * angle.cos() - columns * angle.sin()
    inside = width / 2 - (across + 0.03 * (12 * along + wave).sin() - offset).abs()
    dark = strength * (inside / _PENUMBRA + 0.5).clamp(0, 1)  # (B, H, W)
    return x * (1 - dark[:, None] * x.new_tensor(_SKYLIGHT)[:, None, None])


_PENUMBRA = 0.02  # from full light to full shadow
_SKYLIGHT = (1.0, 0.95, 0.85)  # of what the sun takes away in shadow, by channel: the sky gives blue back


def gaussian_blur(x: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blur by Gaussians of standard deviation ``sigma`` ``(B,)``; none is above ``largest``."""
    side = min(x.shape[-2:])
    return blur.gaussian(x, sigma * side, largest * side)


def motion_blur(x: Tensor, length: Tensor, angle: Tensor, largest: float) -> Tensor:
    """Average along a straight path.

    Args:
        x: images.
        length: of the path, ``(B,)``; none is above ``largest``.
        angle: of the path against the rows, radians ``(B,)``, towards the bottom as in all of this file.
        largest: the longest path there can be.
    """
    side = min(x.shape[-2:])
    return blur.motion(x, length * side, -torch.rad2deg(angle), largest * side)


def warp(x: Tensor, matrix: Tensor) -> Tensor:
    """Move what is at ``p`` to ``matrix @ p``; what comes in from outside is the mirror image of the border.

    Args:
        x: images, taken bilinear; or maps, taken by nearest neighbour.
        matrix: ``(B, 3, 3)`` on coordinates (x, y, 1) that are 0 in the middle of the image, their unit its shorter
            side.
    """
    h, w = x.shape[-2:]
    side = min(h, w)
    to_unit = matrix.new_tensor([[1 / side, 0, (1 - w) / (2 * side)], [0, 1 / side, (1 - h) / (2 * side)], [0, 0, 1]])
    pixels = (to_unit.inverse() @ matrix @ to_unit).to(x.device, torch.float32)
    if x.is_floating_point():
        return _warp(x, pixels, "bilinear")
    return _warp(x[:, None].float(), pixels, "nearest")[:, 0].to(x.dtype)


def _warp(x: Tensor, pixels: Tensor, mode: str) -> Tensor:
    h, w = x.shape[-2:]
    return kornia.geometry.warp_perspective(x, pixels, (h, w), mode=mode, padding_mode="reflection")


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of the pixels of ``x``, ``(H, 1)`` and ``(W,)``, 0 in the middle."""
    h, w = x.shape[-2:]
    rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) - (n - 1) / 2 for n in (h, w))
    return rows[:, None] / min(h, w), columns / min(h, w)
