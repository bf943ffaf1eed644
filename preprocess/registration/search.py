"""The coarse motion: what parts of one date look like in the other, and the motions that most parts agree on.

Each block of one date is correlated with the other date over all shifts. A motion displaces the blocks, so its worth is
the sum of what their surfaces hold at these places: a vote of the blocks (generalised Hough transform, Ballard 1981)
for a motion as a whole, of which thousands can be asked. What changed votes at random.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import motion
from .features import gaussian, quick_length

REACH = 0.2  # the longest shift searched, of the longer side
SPREAD = (0.06, 0.06, 0.05, 0.05, 0.05, 0.05)  # of turn, scale, shears and perspective, in centred units
CHARGE = 0.1  # for a parameter at its spread, in deviations of the votes
SHIFT = 0.1  # the same of the shift that a round tries
APART = 3  # pixels, the nearest that another shift can be
TOGETHER = 8  # pairs, the fewest whose votes are counted at once
SMOOTH = 0.4  # sigma in pixels of the Gaussian that surfaces are smoothed with


class Effort(NamedTuple):
    """How many motions are asked."""

    blocks: int  # along each side
    shapes: int  # motions but for their shift, for each model that has more freedom
    kept: int  # of the best of them
    drawn: int  # around each of these
    rounds: int  # each with half the spread of the one before


class Coarse(NamedTuple):
    """What the search found."""

    starts: Tensor  # (B, M, 3, 3), the best motion of each model
    votes: Tensor  # (B, M), in standard deviations of those for a shift, less what its parameters cost
    margin: Tensor  # (B,), how many more votes the best shape has at its best shift than anywhere else
    breadth: Tensor  # (B,), mean vote of a block for the best motion, each in standard deviations of its own


@lru_cache(maxsize=16)
def _normal(count: int, dims: int, seed: int) -> Tensor:
    """Evenly spread numbers ``(count, dims)`` of a normal distribution, 0 first; the same in every process."""
    u = torch.quasirandom.SobolEngine(dims, scramble=True, seed=seed).draw(count)
    x = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.999, 0.999))
    x[0] = 0
    return x


def _freely(x: Tensor, count: int) -> Tensor:
    """Parameters of which only the first ``count`` may differ from 0."""
    return x * (torch.arange(8) < count)


@lru_cache(maxsize=8)
def _shapes(counts: tuple[int, ...], effort: Effort, device: torch.device) -> tuple[Tensor, list[int]]:
    """Shapes to be tried ``(S, 8)``, those of freer models behind, and how many of them each model may take."""
    spread = torch.tensor((0.0, 0.0, *SPREAD))
    tried, ends = [torch.zeros(1, 8)], []
    for i, count in enumerate(counts):
        if count > 2:
            drawn = F.pad(_normal(effort.shapes + 1, 6, i)[1:], (2, 0)) * spread
            tried.append(_freely(drawn, count))
        ends.append(sum(map(len, tried)))
    return torch.cat(tried).to(device), ends


@lru_cache(maxsize=8)
def _centres(blocks: int, height: int, width: int, device: torch.device) -> Tensor:
    """The middles of the blocks ``(K, 2)``, row by row, in centred units; the last of a side may be cut."""
    middles = []
    for along, n in zip(motion.axes(height, width, device), (width, height), strict=True):
        side = -(-n // blocks)
        first = torch.arange(blocks, device=device) * side
        last = (first + side).clamp_max(n) - 1
        middles.append((along[first.clamp_max(n - 1)] + along[last]) / 2)
    return torch.stack(torch.broadcast_tensors(middles[0], middles[1][:, None]), -1).flatten(0, 1)


@lru_cache(maxsize=32)
def _waves(first: int, places: int, length: int, count: int, device: torch.device) -> Tensor:
    """The first ``count`` waves of a Fourier transform of ``length``, at places from ``first`` on, complex.

    ``(places, count)``
    """
    at = torch.arange(first, first + places, dtype=torch.float64)
    angle = 2 * math.pi / length * torch.outer(at, torch.arange(count, dtype=torch.float64))
    return torch.complex(angle.cos().float(), angle.sin().float()).to(device)


@lru_cache(maxsize=8)
def _places(counts: tuple[int, ...], effort: Effort, size: tuple[int, int], device: torch.device) -> tuple[Tensor, int]:
    """Where each block's surface holds what it votes for every shape at every shift, and how far surfaces reach.

    Returns:
        places in the surfaces of all blocks, one after the other, ``(S * side^2, K)``, to the nearest pixel.
    """
    shapes, _ = _shapes(counts, effort, device)
    centres = _centres(effort.blocks, *size, device)
    reach = _reach(size)
    nearest = (_displaced(centres, motion.step(shapes)[None])[0] * (max(size) / 2)).round().long()  # (K, 2, S)
    border = int(nearest.abs().max()) + 1
    stride = 2 * (reach + border) + 1
    steps = torch.arange(2 * reach + 1, device=device) + border
    row, column = nearest[:, 1, :, None, None] + steps[:, None], nearest[:, 0, :, None, None] + steps
    block = torch.arange(len(centres), device=device)[:, None, None, None] * stride**2
    return (block + row * stride + column).flatten(1).T.int().contiguous(), reach + border


def _reach(size: tuple[int, int]) -> int:
    return math.ceil(REACH * max(size))


def search(a: Tensor, b: Tensor, counts: tuple[int, ...], effort: Effort) -> Coarse:
    """The best motions from ``a`` to ``b`` of each model.

    Args:
        a: feature maps of the first date, ``(B, C, H, W)``, 0 where it shows nothing.
        b: of the second.
        counts: degrees of freedom of the models.
        effort: how many motions are tried.
    """
    batch, size, device = len(a), (a.shape[-2], a.shape[-1]), a.device
    centres = _centres(effort.blocks, *size, device)
    places, span = _places(counts, effort, size, device)
    votes = _votes(a, b, effort.blocks, span)
    found, margin = _everywhere(votes, places, size, counts, effort)
    starts, best = _around(votes, centres, found, max(size), counts, effort)
    winner = starts[torch.arange(batch, device=device), best.argmax(1)]
    each = _read(votes, centres, winner[:, None], max(size))[..., 0] / (votes.flatten(2).std(-1) + 1e-6)
    return Coarse(starts, best, margin, each.mean(1))


def _everywhere(
    votes: Tensor, places: Tensor, size: tuple[int, int], counts: tuple[int, ...], effort: Effort
) -> tuple[Tensor, Tensor]:
    """Every shape at every shift: parameters of the best of each model ``(B, M, T, 8)``, and the margin ``(B,)``."""
    batch, device = len(votes), votes.device
    shapes, ends = _shapes(counts, effort, device)
    # so many columns are summed up as fast as one
    columns = F.pad(votes.flatten(1).T, (0, -batch % TOGETHER)).contiguous()
    worth = F.embedding_bag(places, columns, mode="sum")[:, :batch].T.unflatten(1, (len(shapes), -1))  # (B, S, side^2)
    best, place = worth.max(-1)
    best = best - _charge(shapes)
    reach = _reach(size)
    side = 2 * reach + 1
    shift = torch.stack([place % side - reach, place // side - reach], -1) / (max(size) / 2)
    tried = torch.cat([shift, shapes[:, 2:].expand(batch, -1, -1)], -1)  # (B, S, 8)
    mine = torch.arange(len(shapes), device=device) < torch.tensor(ends, device=device)[:, None]  # (M, S)
    top = torch.where(mine, best[:, None], -torch.inf).topk(min(effort.kept, len(shapes)), -1).indices  # (B, M, T)
    # a model with fewer shapes than are kept takes freer ones, as far as it can follow them
    found = tried[torch.arange(batch, device=device)[:, None, None], top] * motion.freedom(counts, device)[:, None]
    return found, _margin(worth, best, place, side)


def _around(
    votes: Tensor, centres: Tensor, found: Tensor, side: int, counts: tuple[int, ...], effort: Effort
) -> tuple[Tensor, Tensor]:
    """The best motions ``(B, M, 3, 3)`` around those with parameters ``found`` ``(B, M, T, 8)``, and their votes."""
    free = motion.freedom(counts, votes.device)[:, None, None]
    for i in range(effort.rounds):
        drawn = found[:, :, :, None] + _drawn(effort.drawn, i, votes.device) * free  # (B, M, T, D, 8)
        worth = _read(votes, centres, motion.step(drawn.flatten(1, 3)), side).sum(1).unflatten(1, drawn.shape[1:4])
        best, which = (worth - _charge(drawn)).max(-1)  # (B, M, T)
        found = drawn.gather(3, which[..., None, None].expand(-1, -1, -1, 1, 8))[:, :, :, 0]
        best, order = best.topk(max(1, best.shape[2] // 2), -1)
        found = found.gather(2, order[..., None].expand(-1, -1, -1, 8))
    return motion.step(found[:, :, 0]), best[:, :, 0]


@lru_cache(maxsize=32)
def _drawn(count: int, turn: int, device: torch.device) -> Tensor:
    """What is added to the parameters of a motion ``(count, 8)`` in the round ``turn``, from 0; the first is 0."""
    spread = torch.tensor((SHIFT, SHIFT, *SPREAD)) / 2 ** (turn + 1)
    return (_normal(count, 8, 10 + turn) * spread).to(device)


def _margin(worth: Tensor, best: Tensor, place: Tensor, side: int) -> Tensor:
    """How far the best of votes ``(B, S, side^2)``, by shape ``best`` and ``place`` ``(B, S)``, is above its rivals."""
    shape = best.argmax(1, keepdim=True)  # (B, 1)
    at = place.gather(1, shape)
    every = torch.arange(side * side, device=worth.device)
    apart = torch.maximum((every % side - at % side).abs(), (every // side - at // side).abs()) > APART
    surface = worth[torch.arange(len(worth), device=worth.device), shape[:, 0]]  # (B, side^2)
    return surface.amax(1) - torch.where(apart, surface, -torch.inf).amax(1)


def _votes(a: Tensor, b: Tensor, blocks: int, span: int) -> Tensor:
    """What each block of ``a`` has in common with ``b`` at shifts of up to ``span`` pixels, ``(B, K, h, w)``.

    In standard deviations of the whole image's. A block is a small part of the image, and the shifts are few: products
    with as many rows of the Fourier matrix cost a fifth of fast transforms of images that are 0 but for a block.
    """
    batch, planes, height, width = a.shape
    least, device = 2 * span + 1, a.device
    rows, columns = (quick_length(max(n + span, least)) for n in (height, width))
    count = columns // 2 + 1  # of frequencies along x; the others are their conjugates
    other = torch.fft.rfft2(b, s=(rows, columns)) * gaussian(SMOOTH, (rows, columns), device)[:, :count]
    a = F.pad(a, (0, -width % blocks, 0, -height % blocks))
    along_x = torch.view_as_real(_waves(0, a.shape[-1], columns, count, device)).flatten(-2).unflatten(0, (blocks, -1))
    along_y = _waves(0, a.shape[-2], rows, rows, device).unflatten(0, (blocks, -1)).mT
    common = other.new_zeros(blocks, rows, batch, blocks, count)
    for i in range(planes):
        x = a[:, i].unflatten(-1, (blocks, -1)).permute(2, 0, 1, 3).flatten(1, 2)
        x = torch.view_as_complex((x @ along_x).unflatten(-1, (-1, 2)))  # (column, B * H, f)
        x = x.unflatten(1, (batch, blocks, -1)).permute(2, 3, 1, 0, 4).flatten(2)  # (row, y, B * column * f)
        common.addcmul_((along_y @ x).view_as(common), other[:, i].transpose(0, 1)[:, :, None])
    votes = (_waves(-span, least, rows, rows, device) @ common.flatten(2)).view(blocks, least, batch, blocks, count)
    twice = torch.full((count,), 2.0, device=device)
    twice[0] = twice[-1] = 1  # these two are their own conjugates
    back = torch.view_as_real((_waves(-span, least, columns, count, device) * twice).conj().resolve_conj())
    votes = (torch.view_as_real(votes).flatten(-2) @ back.flatten(-2).T).permute(2, 0, 3, 1, 4).flatten(1, 2)
    deviation = votes.sum(1).square().mean((-2, -1)).sqrt() + 1e-12
    return votes / deviation[:, None, None, None]


def _charge(d: Tensor) -> Tensor:
    """What parameters ``(..., 8)`` that are far from 0 cost."""
    return CHARGE * (d[..., 2:] / d.new_tensor(SPREAD)).square().sum(-1)


def _displaced(p: Tensor, motions: Tensor) -> Tensor:
    """By how much ``motions`` ``(B, N, 3, 3)`` displace the points ``(K, 2)``: ``(B, K, 2, N)``."""
    at = F.pad(p, (0, 1), value=1) @ motions.permute(0, 3, 2, 1).flatten(2)  # (B, K, 3 * N)
    at = at.unflatten(-1, (3, -1))
    return (at[:, :, :2] / at[:, :, 2:].clamp_min(motion.NEAR)).sub_(p[:, :, None])


def _read(votes: Tensor, centres: Tensor, motions: Tensor, side: int) -> Tensor:
    """Votes ``(B, K, N)`` of the blocks for ``motions`` ``(B, N, 3, 3)`` of maps whose longer side is ``side``."""
    at = _displaced(centres, motions).mul_(side / votes.shape[-1])  # to grid_sample's -1 to 1
    where = at.mT.contiguous().flatten(0, 1)[:, None]
    seen = F.grid_sample(votes.flatten(0, 1)[:, None], where, align_corners=False)
    return seen.view(*votes.shape[:2], -1)
