"""Bring two dates of one place to one light, without painting over what changed.

Every method finds a map of colours from the light of ``b`` to that of ``a`` and knows the way back. A pixel is looked
at where the mask says so, both dates are finite there and neither is black in all channels (no data); the map is
applied everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from kornia.enhance import equalize_clahe
from torch import Tensor

from . import light_model
from .light_model import LEVEL, Curve

LEVELS = 256  # of a histogram


class Light(Protocol):
    """A map from the light of the second date to that of the first, images ``(B, 3, H, W)``, and back."""

    def __call__(self, x: Tensor) -> Tensor:
        """Into the light of the first date."""

    def undo(self, x: Tensor) -> Tensor:
        """Into the light of the second date."""


@dataclass(frozen=True)
class Illumination:
    """Both dates in one light.

    Attributes:
        a: the first date ``(B, 3, H, W)``; itself unless both were brought to a common light (or by ``clahe``).
        b: the second date.
        light: the map that was found, with its parameters; ``light.undo`` is its inverse. ``None`` for ``none`` and
            ``clahe``, which look at each date alone.
        inliers: share ``(B,)`` of the pixels looked at that agree once the light does.
        weak: whether ``(B,)`` so few agreed that ``robust`` took a gain per channel and nothing else.
        clipped: share ``(B,)`` of the pixels looked at that left [0, 1] and were clipped, in either date.
    """

    a: Tensor
    b: Tensor
    light: Light | None
    inliers: Tensor
    weak: Tensor
    clipped: Tensor


def illuminate(
    a: Tensor, b: Tensor, method: str = "robust", onto: str = "a", mask: Tensor | None = None
) -> Illumination:
    """Bring ``b`` to the light of ``a``, or both halfway.

    Args:
        a: first date ``(B, 3, H, W)``, float in [0, 1]; NaN where there are no data.
        b: second date, of the same shape and type.
        method: ``robust`` (power, gain and offset per channel under a smooth field, found where nothing changed, and a
            shadow with an edge on one of the dates), ``histogram`` (matching per channel), ``moments`` (mean and
            deviation of RGB), ``lab`` (of CIE Lab, Reinhard et al. 2001), ``gamma`` (a power per channel that brings
            the medians together), ``pif`` (gain and offset from pseudo-invariant pixels, found by IR-MAD, Nielsen
            2007), ``clahe`` (contrast-limited equalisation of the lightness of both dates), ``none``.
        onto: ``a``, or ``common``: each date becomes the mean of itself and of itself in the other's light.
        mask: where both dates are valid, bool ``(B, H, W)``.

    Raises:
        ValueError: an unknown method or ``onto``, or images that differ in shape or type, are no floats or leave
            [0, 1]; the message says what came.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}, expected one of: {', '.join(METHODS)}")
    if onto not in ("a", "common"):
        raise ValueError(f"onto is 'a' or 'common', got {onto!r}")
    valid = check(a, b, mask)
    with torch.no_grad():
        gaps = bool((~valid).any())  # what costs a pass over every pixel is done where there is something to do
        x, y = (torch.nan_to_num(v.float()) if gaps else v.float() for v in (a, b))
        valid &= torch.minimum(x.amax(1, keepdim=True), y.amax(1, keepdim=True)) > 0
        light, share, weak = METHODS[method](x, y, valid)
        if method == "clahe":
            x, y = _clahe(x), _clahe(y)
        elif light is not None:
            to_a = light(y)
            x, y = (x, to_a) if onto == "a" else ((x + light.undo(x)) / 2, (y + to_a) / 2)
        outside = _outside(y) if onto == "a" and method != "clahe" else _outside(x) | _outside(y)
        clipped = mean(outside, valid)[:, 0]
        x, y = x.clamp(0, 1), y.clamp(0, 1)
        if share is None:
            share = mean((x - y).square().mean(1, keepdim=True).sqrt() < light_model.AGREES, valid)[:, 0]
        empty = ~valid.flatten(1).any(1)
        if gaps:  # What was NaN is NaN again: x - x is nought elsewhere.
            x, y = x + (a - a), y + (b - b)
        x, y = x.to(a.dtype), y.to(b.dtype)
        if empty.any():
            x, y = (torch.where(empty[:, None, None, None], o, v) for v, o in ((x, a), (y, b)))
    return Illumination(x, y, light, share, torch.zeros_like(empty) if weak is None else weak, clipped)


def _outside(x: Tensor) -> Tensor:
    """Pixels ``(B, 1, H, W)`` that clipping to [0, 1] changes by more than rounding to 8 bits does."""
    return (x.amin(1, keepdim=True) < -LEVEL / 2) | (x.amax(1, keepdim=True) > 1 + LEVEL / 2)


def check(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Where two images ``(B, 3, H, W)`` are both valid, bool ``(B, 1, H, W)``.

    Raises:
        ValueError: they differ in shape or type, are no floats in [0, 1], or the mask has another size.
    """
    if a.ndim != 4 or a.shape[1] != 3 or a.shape != b.shape or not a.numel():
        raise ValueError(f"expected two images (B, 3, H, W) of one size, got shapes {[tuple(x.shape) for x in (a, b)]}")
    if not a.is_floating_point() or a.dtype != b.dtype:
        raise ValueError(f"expected two float images of one type, got {a.dtype} and {b.dtype}; see Pair.float")
    valid = torch.ones_like(a[:, 0], dtype=torch.bool)
    for name, x in (("a", a), ("b", b)):
        low, high = (v.item() for v in x.aminmax())
        if low != low:  # NaN somewhere
            valid &= ~x.sum(1).isnan()
            low, high = (v.item() for v in torch.nan_to_num(x, 0.5, torch.inf, -torch.inf).aminmax())
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(f"image {name} leaves [0, 1]: {low:.4g} to {high:.4g}")
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != valid.shape:
            wanted = tuple(valid.shape)
            raise ValueError(f"mask is bool {wanted}, True where valid, got {mask.dtype} {tuple(mask.shape)}")
        valid = valid & mask
    return valid[:, None]


def mean(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the pixels of ``x`` ``(B, C, H, W)``, weights ``(B, 1, H, W)``; nought where they are."""
    x, weight = x.flatten(2).float(), weight.flatten(2).float()
    return (x * weight).sum(-1) / weight.sum(-1).clamp_min(1e-6)


Found = tuple[Light | None, Tensor | None, Tensor | None]  # the light, its share of inliers and its weakness if known


def _robust(a: Tensor, b: Tensor, valid: Tensor) -> Found:
    return light_model.fit(a, b, valid)


def _moments(a: Tensor, b: Tensor, valid: Tensor) -> Found:
    return _match_moments(a, b, valid, least=LEVEL), None, None


def _match_moments(a: Tensor, b: Tensor, weight: Tensor, least: float) -> Curve:
    """Gain and offset that give ``b`` the mean and deviation of ``a``; where either is flat, the mean alone."""
    means = [mean(x, weight) for x in (a, b)]
    stds = [mean((x - m[..., None, None]).square(), weight).sqrt() for x, m in zip((a, b), means, strict=True)]
    flat = torch.minimum(*stds) < least
    gain = torch.where(flat, 1, stds[0] / stds[1].clamp_min(least))
    return Curve.linear(gain, means[1] - means[0] / gain)


@dataclass(frozen=True)
class Lab:
    """A gain and an offset per channel of CIE Lab."""

    curve: Curve

    def __call__(self, x: Tensor) -> Tensor:
        """Into the light of the first date; unclamped."""
        return lab_to_rgb(_linear(rgb_to_lab(x), self.curve), clip=False)

    def undo(self, x: Tensor) -> Tensor:
        """Into the light of the second date; unclamped."""
        gain, offset = (v[..., None, None] for v in (self.curve.gain.exp(), self.curve.offset))
        return lab_to_rgb(rgb_to_lab(x) / gain + offset, clip=False)


def _linear(x: Tensor, curve: Curve) -> Tensor:
    return (x - curve.offset[..., None, None]) * curve.gain.exp()[..., None, None]


def _lab(a: Tensor, b: Tensor, valid: Tensor) -> Found:
    return Lab(_match_moments(rgb_to_lab(a), rgb_to_lab(b), valid, least=0.1)), None, None


def _gamma(a: Tensor, b: Tensor, valid: Tensor) -> Found:
    middle = [_quantiles(x, valid, torch.tensor([0.5], device=x.device))[..., 0].clamp(0.02, 0.98) for x in (a, b)]
    power = (middle[0].log() / middle[1].log()).clamp(1 / 3, 3).log()
    return Curve.linear(torch.ones_like(power), torch.zeros_like(power))._replace(power=power), None, None


@dataclass(frozen=True)
class Quantiles:
    """A monotone map per channel through the quantiles ``(B, 3, Q)`` of both dates."""

    a: Tensor
    b: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Into the light of the first date."""
        return _interpolate(x, self.b, self.a)

    def undo(self, x: Tensor) -> Tensor:
        """Into the light of the second date; levels that fell together stay so."""
        return _interpolate(x, self.a, self.b)


def _histogram(a: Tensor, b: Tensor, valid: Tensor) -> Found:
    ranks = torch.linspace(0, 1, LEVELS, device=a.device)
    return Quantiles(*(_quantiles(x, valid, ranks) for x in (a, b))), None, None


def _quantiles(x: Tensor, valid: Tensor, ranks: Tensor) -> Tensor:
    """Quantiles ``(B, 3, Q)`` of the valid pixels; those of [0, 1] where there are none."""
    count = valid.flatten(2).sum(-1, keepdim=True)
    ordered = x.masked_fill(~valid, 2).flatten(2).sort(-1).values
    index = ((count - 1).clamp_min(0) * ranks).round().long().expand(-1, 3, -1)
    return torch.where(count > 0, ordered.gather(-1, index), ranks)


def _interpolate(x: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Piecewise linear through ``(source, target)``, the ends held."""
    flat = x.flatten(2).contiguous()
    right = torch.searchsorted(source.contiguous(), flat).clamp(1, source.shape[-1] - 1)
    (x0, x1), (y0, y1) = ((v.gather(-1, right - 1), v.gather(-1, right)) for v in (source, target))
    share = ((flat - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)
    return (y0 + share * (y1 - y0)).view_as(x)


def _pif(a: Tensor, b: Tensor, valid: Tensor, rounds: int = 20) -> Found:
    """IR-MAD: the pixels whose canonical variates do not differ, and the line through their moments."""
    step = max(1, min(a.shape[-2:]) // 64)
    x, y, seen = (v[..., ::step, ::step].flatten(2) for v in (a, b, valid.float()))
    weight, ridge = seen, LEVEL**2 * torch.eye(3, device=a.device)
    for _ in range(rounds):
        share = weight / weight.sum(-1, keepdim=True).clamp_min(1e-6)
        u, v = (z - (z * share).sum(-1, keepdim=True) for z in (x, y))
        aa, bb, ab = ((p * share) @ q.mT for p, q in ((u, u), (v, v), (u, v)))
        root_a, root_b = (torch.linalg.cholesky(m + ridge) for m in (aa, bb))
        left = torch.linalg.solve_triangular(root_a, ab, upper=False)
        whitened = torch.linalg.solve_triangular(root_b, left.mT, upper=False).mT
        p, rho, q = torch.linalg.svd(whitened)
        variates = p.mT @ torch.linalg.solve_triangular(root_a, u, upper=False)
        variates = variates - q @ torch.linalg.solve_triangular(root_b, v, upper=False)
        chi = (variates.square() / (2 * (1 - rho.clamp_max(1 - 1e-6)))[..., None]).sum(1, keepdim=True)
        # probability that three squared normals exceed chi
        tail = torch.erfc((chi / 2).sqrt()) + (2 * chi / torch.pi).sqrt() * (-chi / 2).exp()
        weight = tail * seen + 1e-6 * seen
    share = (((weight > 0.5) * seen).sum(-1) / seen.sum(-1).clamp_min(1e-6))[:, 0]
    x, y, weight = (z[..., None] for z in (x, y, weight))
    return _match_moments(x, y, weight, least=LEVEL), share, None


def _clahe(x: Tensor) -> Tensor:
    if min(x.shape[-2:]) < 16:
        raise ValueError(f"clahe needs images of 16 x 16 pixels and more for its 8 x 8 tiles, got {tuple(x.shape)}")
    lab = rgb_to_lab(x)
    lightness = equalize_clahe((lab[:, :1] / 100).clamp(0, 1), clip_limit=2.0, grid_size=(8, 8)) * 100
    return lab_to_rgb(torch.cat([lightness, lab[:, 1:]], 1), clip=False)


def _none(a: Tensor, b: Tensor, valid: Tensor) -> Found:
    return None, None, None


METHODS: dict[str, Callable[[Tensor, Tensor, Tensor], Found]] = {
    "robust": _robust,
    "histogram": _histogram,
    "moments": _moments,
    "lab": _lab,
    "gamma": _gamma,
    "clahe": _none,
    "pif": _pif,
    "none": _none,
}
