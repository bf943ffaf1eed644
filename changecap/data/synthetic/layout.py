"""Which surface each pixel of a scene shows. Integers and single operations only, so that every machine agrees.

Borders and plots are straight or round in *warped* coordinates and so bend gently in the image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import copysign, cos, sin
from typing import NamedTuple

import numpy as np

from .scene import WATER, WORLD, Box, Parcel, Scene, river_offset

# Surfaces: 0-8 parcels, 9-17 their plots, 18-26 their far sides, then those that all share.
PLOT, FAR = 9, 18
ROAD, TRACK, VERGE, LINE, BANK, RIVER, HEDGE, DRIVE = range(27, 35)
SURFACES = 35
PAVED = 2.3  # units; roads of more than this half width are paved
_BAND = 1 << 14  # pixels
_NODES = 66  # per side, of the coarse grid on which smooth fields are computed
_PITCH = 4.0  # units between nodes
_FINE = 32  # steps per unit of warped coordinates
_SITE = 4  # steps per unit of the parcels' middles
_NEAR = 2 * 5 * 125 * _FINE * _SITE  # nearer to a border than this: 5 units where the middles are 125 units apart


class Grid:
    """The pixels of an image in the world.

    Args:
        size: side in pixels.
        shift: of the sensor against the ground, units.
    """

    def __init__(self, size: int, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        self.size, self.step = size, np.float32(WORLD / size)
        self.left, self.top = (np.float32(0.5 * WORLD / size + s) for s in shift)
        line = np.arange(size, dtype=np.float32) * self.step
        self.x, self.y = (line + self.left)[None, :], (line + self.top)[:, None]  # pixel middles
        nodes = (np.arange(_NODES) - 0.5) * _PITCH
        self.node_x, self.node_y = nodes[None, :] + shift[0], nodes[:, None] + shift[1]

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Rows and columns of the pixels within ``reach`` units of a point; perhaps none."""
        spans = []
        for middle, first in ((y, self.top), (x, self.left)):
            begin, end = (middle - reach - first) / self.step, (middle + reach - first) / self.step
            spans.append(slice(min(max(int(begin), 0), self.size), min(max(int(end) + 2, 0), self.size)))
        return spans[0], spans[1]

    def smooth(self, nodes: np.ndarray) -> np.ndarray:
        """A field known at the nodes, at every pixel; float32."""
        at, share = _between(self.size)
        nodes = nodes.astype(np.float32)
        columns = nodes[:, at] + share * (nodes[:, at + 1] - nodes[:, at])
        if self.size == _NODES - 2:
            return columns[1:-1]
        low, high = columns[at], columns[at + 1]
        high -= low
        high *= share[:, None]
        high += low
        return high


@lru_cache(maxsize=4)
def _between(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the node before it, and how far it is on the way to the next."""
    at = (np.arange(size) + 0.5) * (WORLD / size / _PITCH) + 0.5
    return at.astype(np.intp), (at - np.floor(at)).astype(np.float32)


def waves(x: np.ndarray, y: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Sum of the plane waves ``table`` (kx, ky, phase, amplitude) ``(n, 4)`` where columns ``x`` cross rows ``y``."""
    kx, ky, phase, amplitude = table.T
    u, v = kx[:, None] * x.ravel() + phase[:, None], ky * y.reshape(-1, 1)
    amplitude = amplitude[:, None]  # sin(u + v) from the sines of u and v
    out: np.ndarray = np.hstack([np.cos(v), np.sin(v)]) @ np.vstack([amplitude * np.sin(u), amplitude * np.cos(u)])
    return out


def lookup(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """``table[index]`` for indices known to be inside."""
    return np.take(table, index, mode="clip")


def bands(size: int) -> Iterator[slice]:
    """The rows of an image in portions whose planes stay in the processor's cache."""
    rows = max(1, _BAND // size)
    return (slice(top, min(top + rows, size)) for top in range(0, size, rows))


class Plan:
    """What the layouts of both dates of ``scene`` share: the parcels as columns, for lookup by a pixel's parcel."""

    def __init__(self, scene: Scene) -> None:
        self.scene, parcels = scene, scene.parcels
        # the parcels' middles in warped coordinates, on the steps of the layout
        at = np.array([(p.x, p.y) for p in parcels])
        kx, ky, phase, amplitude = scene.warp.transpose(2, 0, 1)[..., None]  # (2, n, 1) each
        bent = (amplitude * np.sin(kx * at[:, 0] + ky * at[:, 1] + phase)).sum(1)
        steps = np.rint((at + bent.T) * _SITE).astype(np.int64)
        reach = np.array([p.reach for p in parcels])
        constant = np.rint(((steps / _SITE) ** 2).sum(1) * _FINE * _SITE - (reach + 3) ** 2 * _FINE * _SITE).astype(int)
        self.powers = [np.int32(v) for v in (16 * constant + np.arange(9)).tolist()]
        self.slopes = [(np.int32(-32 * x), np.int32(-32 * y)) for x, y in steps.tolist()]
        sites = (steps / _SITE).astype(np.float32)
        self.x, self.y = np.ascontiguousarray(sites.T)
        gap = np.hypot(*(sites[:, None] - sites[None]).transpose(2, 0, 1)) + np.eye(9)
        self.per_unit, self.roads, self.hedges = (
            np.pad(v, ((0, 7), (0, 7))).ravel().astype(np.float32)  # by code, 16 i + j
            for v in (1 / (2 * gap * _FINE * _SITE), scene.roads, scene.hedges)
        )
        self.plots = any(p.before for p in parcels)
        self.radius = np.array([p.radius if p.before else 0 for p in parcels], np.float32)
        turn = np.array([p.rows for p in parcels])
        self.square = np.array([p.square for p in parcels])
        self.cos, self.sin = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
        lobes = np.stack([p.lobes for p in parcels]).transpose(1, 2, 0)  # (3, 2, 9)
        depth = lobes[:, 0] * np.where(self.square, 0.4, 1)
        self.farthest = (self.radius * (1 + depth.sum(0)) * np.where(self.square, 1.2, 1)) ** 2
        self.farthest = self.farthest.astype(np.float32)
        self.lobes = np.stack([depth * np.sin(lobes[:, 1]), depth * np.cos(lobes[:, 1])], 1).astype(np.float32)
        self.split = any(p.split for p in parcels)
        splits = np.array([(p.split.angle, p.split.offset) if p.split else (0, 1e9) for p in parcels]).T
        self.far_x, self.far_y, self.far = (
            v.astype(np.float32) for v in (np.cos(splits[0]), np.sin(splits[0]), splits[1])
        )
        self.wet = any(WATER in (p.before.fill, p.after.fill) for p in parcels if p.before and p.after)


@dataclass
class Layout:
    """What :func:`lay_out` finds; all ``(size, size)``."""

    surface: np.ndarray  # uint8, one of the numbers above
    relief: np.ndarray  # float32, brightness that roads and rivers add, 8-bit steps
    shore: np.ndarray  # float32, what a plot adds if it is water
    parcel: np.ndarray  # uint8, the parcel, under whatever lies there


def lay_out(plan: Plan, grid: Grid) -> Layout:
    """The surfaces of the planned scene as ``grid`` sees them."""
    scene, size = plan.scene, grid.size
    bent_x, bent_y = (
        grid.smooth(nodes + waves(grid.node_x, grid.node_y, table))
        for nodes, table in ((grid.node_x, scene.warp[0]), (grid.node_y, scene.warp[1]))
    )
    surface, parcel = np.empty((2, size, size), np.uint8)
    relief, shore = np.zeros((2, size, size), np.float32)
    layout = Layout(surface, relief, shore, parcel)
    for rows in bands(size):
        _lay_band(plan, layout, rows, bent_x[rows], bent_y[rows])
    if scene.river is not None:
        _river(layout, scene.river, grid)
    for i, land in enumerate(scene.parcels):
        if land.drive is not None:
            _drive(layout, i, land, scene.parcels[land.drive], grid)
    return layout


def _lay_band(plan: Plan, layout: Layout, rows: slice, wx: np.ndarray, wy: np.ndarray) -> None:
    """Parcels, plots, roads and hedges of some rows, whose warped coordinates are ``wx`` and ``wy``."""
    first, second, margin = _nearest(plan, wx, wy)
    own = first.astype(np.intp)
    layout.parcel[rows] = surface = first
    near = np.flatnonzero(margin < _NEAR)  # what depends on the border is done where there is one
    codes = (own.ravel()[near] << 4) | second.ravel()[near]
    border = margin.ravel()[near] * lookup(plan.per_unit, codes)  # units
    dx, dy = wx - lookup(plan.x, own), wy - lookup(plan.y, own)
    if plan.split:
        beyond = dx * lookup(plan.far_x, own)
        beyond += dy * lookup(plan.far_y, own)
        surface = surface + np.uint8(FAR) * (beyond > lookup(plan.far, own))
    if plan.plots:
        away = dx * dx
        away += dy * dy
        which = np.flatnonzero(away < lookup(plan.farthest, own))
        own, dx, dy = own.ravel()[which], dx.ravel()[which], dy.ravel()[which]
        depth = _depth(plan, own, dx, dy, np.sqrt(away.ravel()[which]))
        clear = np.ones(first.size, bool)
        clear[near[border < 3.5]] = False
        inside = (depth > 0) & clear[which]
        which = which[inside]
        surface.reshape(-1)[which] = own[inside] + PLOT
        if plan.wet:  # water is lighter in the shallows
            layout.shore[rows].reshape(-1)[which] = 9 - np.float32(1.6) * np.minimum(depth[inside], np.float32(8))
    _lines(plan, surface.reshape(-1), layout.relief[rows].reshape(-1), near, codes, border)
    layout.surface[rows] = surface


def _nearest(plan: Plan, wx: np.ndarray, wy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parcel of each pixel, the next one, and how much further that is, all by power distance.

    A plot's reach is its parcel's power, so that borders keep off plots. The squared coordinates are the same for all
    parcels and left out; what stays is linear, and carries the parcel's number in its lowest four bits.
    """
    x, y = (np.rint(w * np.float32(_FINE)).astype(np.int32) for w in (wx, wy))
    best = np.full(x.shape, np.iinfo(np.int32).max, np.int32)
    other = best.copy()
    power, part = np.empty_like(best), np.empty_like(best)
    for constant, (across, down) in zip(plan.powers, plan.slopes, strict=True):
        np.multiply(x, across, out=power)
        np.multiply(y, down, out=part)
        power += part
        power += constant
        np.maximum(best, power, out=part)
        np.minimum(best, power, out=best)
        np.minimum(other, part, out=other)
    first, second = (best & 15).astype(np.uint8), (other & 15).astype(np.uint8)
    return first, second, (other >> 4) - (best >> 4)


def _depth(plan: Plan, own: np.ndarray, dx: np.ndarray, dy: np.ndarray, away: np.ndarray) -> np.ndarray:
    """How far pixels ``(n,)`` lie inside the plot of their parcel, units: a lobed disc or square round the middle."""
    np.maximum(away, np.float32(1e-3), out=away)
    c, s = dx / away, dy / away  # cosine and sine of the direction, and by recurrence of its multiples
    ck, sk = c, s
    edge = np.ones_like(away)
    for sine, cosine in plan.lobes:
        ck, sk = ck * c - sk * s, sk * c + ck * s
        edge += lookup(sine, own) * ck
        edge += lookup(cosine, own) * sk
    square = np.flatnonzero(lookup(plan.square, own))
    if len(square):  # u^4 + v^4 = 1 in the direction of the furrows
        turn, c, s = own[square], c[square], s[square]
        u, v = (
            c * lookup(plan.cos, turn) + s * lookup(plan.sin, turn),
            c * lookup(plan.sin, turn) - s * lookup(plan.cos, turn),
        )
        u, v = u * u, v * v
        edge[square] /= np.sqrt(np.sqrt(u * u + v * v))
    edge *= lookup(plan.radius, own)
    edge -= away
    return edge


def _lines(
    plan: Plan, surface: np.ndarray, relief: np.ndarray, near: np.ndarray, codes: np.ndarray, border: np.ndarray
) -> None:
    """Lay hedges and roads along the borders."""
    half = lookup(plan.roads, codes)
    surface[near[border < lookup(plan.hedges, codes)]] = HEDGE
    on = np.flatnonzero((half > 0) & (border < half + np.float32(0.9)))
    near, border, half = near[on], border[on], half[on]
    lane, wide = border < half, half > PAVED
    surface[near] = np.where(lane, np.where(wide, np.where(border < 0.3, LINE, ROAD), TRACK), VERGE)
    ruts = 10 - 14 * (np.abs(border - np.float32(0.9)) < 0.45)
    relief[near] = np.where(lane & ~wide, ruts, 0)


def _river(layout: Layout, river: np.ndarray, grid: Grid) -> None:
    """The river and its banks, under the roads."""
    offset = np.abs(grid.smooth(river_offset(grid.node_x, grid.node_y, river)))
    dry = (layout.surface < ROAD) | (layout.surface == HEDGE)
    bank = (offset < np.float32(river[3] + 2.5)) & dry
    wet = (offset < np.float32(river[3])) & dry
    np.putmask(layout.surface, bank, np.uint8(BANK))
    np.putmask(layout.surface, wet, np.uint8(RIVER))
    layout.relief[bank] = 0
    layout.relief[wet] = np.minimum(offset[wet] * np.float32(18 / river[3]) - 9, 9)  # deep in the middle


def _drive(layout: Layout, i: int, parcel: Parcel, towards: Parcel, grid: Grid) -> None:
    """A straight access road from the parcel's middle to its border with ``towards``."""
    dx, dy = towards.x - parcel.x, towards.y - parcel.y
    length = np.sqrt(dx * dx + dy * dy)
    c, s = np.float32(dx / length), np.float32(dy / length)
    window = grid.window(parcel.x + dx / 3, parcel.y + dy / 3, length / 2)
    x, y = grid.x[:, window[1]] - np.float32(parcel.x), grid.y[window[0]] - np.float32(parcel.y)
    along, across = x * c + y * s, np.abs(y * c - x * s)
    surface = layout.surface[window]
    kept = (across < np.float32(1.3)) & (along > -2) & (layout.parcel[window] == i) & (surface < ROAD)
    np.putmask(surface, kept, np.uint8(DRIVE))
    layout.relief[window][kept] = 0


class Boxes(NamedTuple):
    """Boxes as columns ``(n, 1, 1)`` float32, lengths in units.

    A notch is where it begins along and across and the signs of its corner; a box without one has its own edges there,
    which cuts nothing.
    """

    x: np.ndarray
    y: np.ndarray
    width: np.ndarray  # half of it, as the depth
    depth: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    cut_u: np.ndarray
    cut_v: np.ndarray
    side_u: np.ndarray
    side_v: np.ndarray
    height: np.ndarray
    style: np.ndarray

    @classmethod
    def of(cls, boxes: Iterable[Box]) -> "Boxes":
        """The columns of ``boxes``, at least one."""
        rows = []
        for b in boxes:
            u, v = b.notch or (1.0, 1.0)
            half = b.width / 2, b.depth / 2
            corner = abs(u) * half[0], abs(v) * half[1], copysign(1, u), copysign(1, v)
            rows.append((b.x, b.y, *half, cos(b.angle), sin(b.angle), *corner, b.height, b.style))
        return cls(*np.array(rows, np.float32).T[..., None, None])

    @property
    def reach(self) -> float:
        """Half the longest diagonal."""
        return float(np.sqrt(self.width**2 + self.depth**2).max())

    def inside(self, dx: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance to the outline, units, positive inside, and the coordinates along and across the boxes.

        Args:
            dx: from a box's middle to the right, ``(n, 1, k)``.
            dy: and down ``(n, k, 1)``.
        """
        u, v = dx * self.cos + dy * self.sin, dy * self.cos - dx * self.sin
        edge = np.minimum(self.width - np.abs(u), self.depth - np.abs(v))
        if (self.cut_u < self.width).any():
            np.minimum(edge, np.maximum(self.cut_u - u * self.side_u, self.cut_v - v * self.side_v), out=edge)
        return edge, u, v
