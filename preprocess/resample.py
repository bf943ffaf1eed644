"""Images and maps of the second date brought onto the grid of the first, or the other way round."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .pair import Pair
from .registration import Registration, motion
from .registration.flow import inverse


def warp(
    x: Tensor, matrix: Tensor, size: tuple[int, int], mode: str = "bilinear", flow: Tensor | None = None
) -> Tensor:
    """``x`` seen from a grid of ``size``: the value at a pixel p is that of ``x`` at ``matrix`` p.

    Args:
        x: images ``(B, C, H, W)``, float or uint8, or maps ``(B, H, W)`` of any type, which are never mixed.
        matrix: ``(B, 3, 3)``, from pixel coordinates (x, y, 1) of the result to those of ``x``.
        size: height and width of the result.
        mode: ``bilinear`` or ``bicubic``, of images; maps are always warped by nearest neighbour.
        flow: ``(B, 2, *size)``, pixels that are added to p first.

    Returns:
        As ``x``, of ``size``; images are 0 outside of ``x``, maps have there the value of its nearest border pixel, so
        they never hold a class that was not there: ask the overlap of a registration what to believe.

    Raises:
        ValueError: shapes or a mode that are not these.
    """
    if mode not in ("bilinear", "bicubic"):
        raise ValueError(f"unknown mode {mode!r}, expected bilinear or bicubic; maps are always warped by nearest")
    if x.ndim not in (3, 4) or matrix.shape != (len(x), 3, 3):
        raise ValueError(
            "expected images (B, C, H, W) or maps (B, H, W) and a matrix (B, 3, 3) of as many, got "
            f"{tuple(x.shape)} and {tuple(matrix.shape)}"
        )
    height, width = x.shape[-2:]
    if flow is not None and flow.shape != (len(x), 2, *size):
        raise ValueError(f"a flow is (B, 2, H, W), here {(len(x), 2, *size)}, got {tuple(flow.shape)}")
    points = motion.grid(size, x.device)
    if flow is not None:
        points = points + flow.float().flatten(2).mT
    where = motion.apply(matrix.float(), points).unflatten(1, size)  # (B, h, w, 2)
    if x.ndim == 3:
        at = where.round().long()
        column, row = at[..., 0].clamp(0, width - 1), at[..., 1].clamp(0, height - 1)
        return x.flatten(1).gather(1, (row * width + column).flatten(1)).unflatten(1, size)
    grid = (2 * where + 1) / where.new_tensor([width, height]) - 1
    out = F.grid_sample(x.float(), grid, mode=mode, padding_mode="zeros", align_corners=False)
    if not x.is_floating_point():
        out = out.round().clamp(0, torch.iinfo(x.dtype).max)
    return out.to(x.dtype)


def warp_pair(pair: Pair, registration: Registration, onto: str = "a", mode: str = "bilinear") -> tuple[Pair, Tensor]:
    """A batch of pairs with both dates, and their maps, on the grid of one of them.

    Args:
        pair: the pairs that were registered, batched.
        registration: what :func:`register` found.
        onto: the date that stays as it is, ``a`` or ``b``.
        mode: ``bilinear`` or ``bicubic``, of the image that is warped.

    Returns:
        The pairs, and where both dates show the place, ``(B, H, W)``, bool.

    Raises:
        ValueError: an unknown date, or pairs that are not batched.
    """
    if onto not in ("a", "b"):
        raise ValueError(f"a pair is warped onto its date a or b, got {onto!r}")
    pair = pair.check()
    size = (pair.a.shape[-2], pair.a.shape[-1])
    matrix, flow = registration.matrix, registration.flow
    if onto == "a":
        sem_b = None if pair.sem_b is None else warp(pair.sem_b, matrix, size, flow=flow)
        return pair._replace(b=warp(pair.b, matrix, size, mode, flow), sem_b=sem_b), registration.overlap
    matrix, flow = (torch.linalg.inv(matrix), None) if flow is None else inverse(matrix, flow)
    sem_a = None if pair.sem_a is None else warp(pair.sem_a, matrix, size, flow=flow)
    overlap = warp(registration.overlap[:, None].float(), matrix, size, flow=flow)[:, 0] > 0.99
    return pair._replace(a=warp(pair.a, matrix, size, mode, flow), sem_a=sem_a), overlap
