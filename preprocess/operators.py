"""What can happen to one date: light, sharpness and viewpoint, each with a parameter for every image of a batch.

Images are ``(B, 3, H, W)`` in [0, 1] and stay so; maps ``(B, H, W)`` keep their classes. Nothing is drawn here, but for
the noise of every pixel, from seeds that are handed in. Lengths are shares of an image's shorter side, so that they
mean the same at any size; what varies smoothly over an image is given on a lattice ``(B, n, n)`` that spans it.
"""

import kornia
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from . import sharpness


def gamma(x: Tensor, exponent: Tensor) -> Tensor:
    """``x ** exponent``; ``exponent`` ``(B,)`` above 1 darkens."""
    return x.log().mul_(exponent.to(x)[:, None, None, None]).exp_()  # twice as fast as a power; of 0 it is 0


def brightness(x: Tensor, shift: Tensor) -> Tensor:
    """``x + shift``, saturating; ``shift`` ``(B,)`` in [-1, 1]."""
    return kornia.enhance.adjust_brightness(x, shift.to(x))


def color_temperature(x: Tensor, mired: Tensor) -> Tensor:
    """Record the scene with a white balance that is wrong; grey keeps its luminance.

    The gains are those of a black body's light against daylight's of 6504 K, in linear RGB (von Kries);
    :class:`kornia.augmentation.RandomPlanckianJitter` has them in steps of 500 K only, and draws them itself.

    Args:
        x: images.
        mired: by how much the reciprocal colour temperature is wrong ``(B,)``, in 1 / MK: above 0 the light was that
            much warmer than daylight, for which the sensor was balanced; below 0 the other way round.
    """
    gains = _black_body(_DAYLIGHT + mired.abs()) / _black_body(torch.full_like(mired, _DAYLIGHT))
    gains = torch.where(mired[:, None] < 0, 1 / gains, gains)
    gains = gains / (gains @ gains.new_tensor(_LUMINANCE))[:, None]
    lit = kornia.color.rgb_to_linear_rgb(x) * gains.to(x)[:, :, None, None]
    return kornia.color.linear_rgb_to_rgb(lit.clamp(0, 1))


_DAYLIGHT = 1e6 / 6504  # mired
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear RGB, ITU-R BT.709


def _black_body(mired: Tensor) -> Tensor:
    """Linear RGB ``(B, 3)`` of a black body, of any brightness, by Krystek's chromaticities (1985)."""
    t = 1e6 / mired
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2)
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2)
    x, y, z = 3 * u, 2 * v, 4 - u - 10 * v  # CIE 1960 to CIE 1931, times 2u - 8v + 4
    return kornia.color.xyz_to_rgb(torch.stack([x, y, z], 1)[..., None, None])[..., 0, 0]


def haze(x: Tensor, depth: Tensor, thickness: Tensor, airlight: Tensor) -> Tensor:
    """Veil the scene: ``x t + airlight (1 - t)`` of transmission ``t = exp(-optical depth)`` (Koschmieder 1924).

    Args:
        x: images.
        depth: mean optical depth in green ``(B,)``; blue is scattered more and red less (Ångström's law).
        thickness: of the haze, as a share of the mean, on a lattice.
        airlight: brightness of the haze itself, ``(B,)`` in [0, 1].
    """
    depth = depth.to(x)[:, None, None, None] * _over(x, thickness).clamp(min=0)
    seen = (-depth * x.new_tensor(_SCATTERING)[:, None, None]).exp()
    return x * seen + airlight.to(x)[:, None, None, None] * (1 - seen)


_SCATTERING = (0.80, 1.0, 1.30)  # (550 nm / wavelength) ** 1.3 at 650, 550 and 450 nm


def clouds(x: Tensor, density: Tensor, threshold: Tensor) -> Tensor:
    """Hide the scene behind clouds with soft edges.

    Args:
        x: images.
        density: of the air's moisture on a lattice, in units of the width of an edge.
        threshold: density at the middle of an edge, ``(B,)``.
    """
    above = _over(x, density) - threshold.to(x)[:, None, None, None]
    opacity = (above + 0.5).clamp(0, 1)
    opacity = opacity**2 * (3 - 2 * opacity)  # Hermite: no crease where a cloud begins
    white = 0.82 + 0.14 * (0.3 * above).clamp(0, 1)  # thick clouds are brighter
    return x + opacity * (white - x)


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
    return sharpness.gaussian(x, sigma * side, largest * side)


def motion_blur(x: Tensor, length: Tensor, angle: Tensor, largest: float) -> Tensor:
    """Average along a straight path.

    Args:
        x: images.
        length: of the path, ``(B,)``; none is above ``largest``.
        angle: of the path against the rows, radians ``(B,)``, towards the bottom as in all of this file.
        largest: the longest path there can be.
    """
    side = min(x.shape[-2:])
    return sharpness.motion(x, length * side, -torch.rad2deg(angle), largest * side)


def resolution(x: Tensor, pixel: float) -> Tensor:
    """What a sensor whose pixels have a side of ``pixel`` sees, brought back to the size of ``x``.

    Images whose own pixels are as large stay as they are.
    """
    scale = max(1.0, pixel * min(x.shape[-2:]))
    coarse = [max(1, round(n / scale)) for n in x.shape[-2:]]
    seen = interpolate(x, coarse, mode="bilinear", antialias=True, align_corners=False)
    return interpolate(seen, x.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """Images after a JPEG file of ``quality`` ``(B,)`` from 1 to 100 with halved chroma; they are rounded to bytes.

    Real files by libjpeg, whose integer transform gives the same bytes on any machine; kornia's codec rounds
    differentiably, to numbers that no file can hold.
    """
    from torchvision.io import decode_jpeg, encode_jpeg  # a second to import

    pixels = (x * 255).round().to(torch.uint8).cpu().contiguous()
    files = [encode_jpeg(image, int(q)) for image, q in zip(pixels, quality.tolist(), strict=True)]
    return torch.stack(decode_jpeg(files)).to(x) / 255


def noise(x: Tensor, deviation: Tensor, seed: Tensor) -> Tensor:
    """Add the noise of a sensor, shot noise and a tenth of read noise (Foi et al. 2008, Poissonian-Gaussian).

    Args:
        x: images.
        deviation: standard deviation at half the full brightness, ``(B,)``.
        seed: of each image's noise ``(B,)``. It is drawn pixel by pixel on the CPU: alike on every device and in every
            batch, but another one at another size.
    """
    fields = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(s)) for s in seed.tolist()]
    spread = deviation.to(x)[:, None, None, None] * (0.1 + 0.9 * 2 * x).sqrt()
    return (x + spread * torch.stack(fields).to(x)).clamp(0, 1)


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


def parallax(x: Tensor, relief: Tensor, shift: Tensor) -> Tensor:
    """Displace what stands higher further, as a view from the side does; beyond the border is its mirror image.

    Args:
        x: images, taken bilinear; or maps, taken by nearest neighbour.
        relief: height on a lattice.
        shift: of what stands at height 1, along x and y, ``(B, 2)``.
    """
    h, w = x.shape[-2:]
    image = x if x.is_floating_point() else x[:, None].float()
    height = _over(image, relief)[:, 0, ..., None]  # (B, H, W, 1)
    columns, rows = (torch.arange(n, device=x.device, dtype=image.dtype) for n in (w, h))
    pixels = torch.stack(torch.broadcast_tensors(columns, rows[:, None]), -1)
    where = pixels - height * (min(h, w) * shift).to(image)[:, None, None]
    grid = (2 * where + 1) / image.new_tensor([w, h]) - 1
    mode = "bilinear" if x.is_floating_point() else "nearest"
    there = grid_sample(image, grid, mode=mode, padding_mode="reflection", align_corners=False)
    return there if x.is_floating_point() else there[:, 0].to(x.dtype)


def _over(x: Tensor, lattice: Tensor) -> Tensor:
    """A lattice ``(B, n, n)`` from corner to corner of the images ``x``, smoothly, ``(B, 1, H, W)``."""
    return interpolate(lattice[:, None].to(x), x.shape[-2:], mode="bicubic", align_corners=True)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of the pixels of ``x``, ``(H, 1)`` and ``(W,)``, 0 in the middle."""
    h, w = x.shape[-2:]
    rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) - (n - 1) / 2 for n in (h, w))
    return rows[:, None] / min(h, w), columns / min(h, w)
