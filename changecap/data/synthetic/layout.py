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
# Roads of more than this half width, in units, are paved.
PAVED = 2.3
# So many pixels are laid out at a time: their planes stay in the processor's cache.
_BAND = 1 << 14
# The coarse grid on which smooth fields are computed: nodes a side, and units between them.
_NODES = 66
_PITCH = 4.0
# Offset of the line that cuts a parcel where none does.
_NOWHERE = 1e9
# Warped coordinates and the parcels' middles are whole numbers of these steps a unit.
_FINE = 32
_SITE = 4
# Power distances nearer to a border than this may lie on it: 5 units where the middles are 125 units apart.
_NEAR = 2 * 5 * 125 * _FINE * _SITE


class Grid:
    """The pixels of an image in the world.

    Args:
        size: side in pixels.
        shift: of the sensor against the ground, units.
    """

    def __init__(self, size: int, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        self.size = size
        self.step = np.float32(WORLD / size)
        right, down = shift
        self.left = np.float32(0.5 * WORLD / size + right)
        self.top = np.float32(0.5 * WORLD / size + down)

        # Middles of the pixels, as one row and one column.
        line = np.arange(size, dtype=np.float32) * self.step
        self.x = (line + self.left)[None, :]
        self.y = (line + self.top)[:, None]

        nodes = (np.arange(_NODES) - 0.5) * _PITCH
        self.node_x = nodes[None, :] + right
        self.node_y = nodes[:, None] + down

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Rows and columns of the pixels within ``reach`` units of a point; perhaps none."""
        rows = self._span(y - self.top, reach)
        columns = self._span(x - self.left, reach)
        return rows, columns

    def _span(self, middle: float | np.floating, reach: float) -> slice:
        """The pixels within ``reach`` units of one that is ``middle`` units behind the first, cut at the image."""
        begin = int((middle - reach) / self.step)
        end = int((middle + reach) / self.step) + 2
        return slice(min(max(begin, 0), self.size), min(max(end, 0), self.size))

    def smooth(self, nodes: np.ndarray) -> np.ndarray:
        """A field known at the nodes, at every pixel; float32."""
        at, share = _between(self.size)
        nodes = nodes.astype(np.float32)
        left, right = nodes[:, at], nodes[:, at + 1]
        columns = left + share * (right - left)
        # At this size every row of pixels is a row of nodes.
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
    u = kx[:, None] * x.ravel() + phase[:, None]
    v = ky * y.reshape(-1, 1)

    # sin(u + v) = cos(v) sin(u) + sin(v) cos(u), as one product of matrices.
    amplitude = amplitude[:, None]
    of_rows = np.hstack([np.cos(v), np.sin(v)])
    of_columns = np.vstack([amplitude * np.sin(u), amplitude * np.cos(u)])
    out: np.ndarray = of_rows @ of_columns
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
        self.scene = scene
        parcels = scene.parcels
        self.plots = any(p.before for p in parcels)
        self.split = any(p.split for p in parcels)
        self.wet = any(_is_wet(p) for p in parcels)
        self._place_middles(scene)
        self._outline_plots(parcels)

        lines = [(p.split.angle, p.split.offset) if p.split else (0, _NOWHERE) for p in parcels]
        angle, offset = np.array(lines).T
        self.far_x = np.cos(angle).astype(np.float32)
        self.far_y = np.sin(angle).astype(np.float32)
        self.far = offset.astype(np.float32)

    def _place_middles(self, scene: Scene) -> None:
        """Set what the distance of pixels to the parcels and their borders needs."""
        # The parcels' middles in warped coordinates, on the steps of the layout.
        at = np.array([(p.x, p.y) for p in scene.parcels])
        kx, ky, phase, amplitude = scene.warp.transpose(2, 0, 1)[..., None]  # (2, n, 1) each
        bent = (amplitude * np.sin(kx * at[:, 0] + ky * at[:, 1] + phase)).sum(1)
        steps = np.rint((at + bent.T) * _SITE).astype(np.int64)

        # Power distance without the squared coordinates: a constant and two slopes, all whole numbers.
        reach = np.array([p.reach for p in scene.parcels])
        squared = ((steps / _SITE) ** 2).sum(1)
        constant = np.rint(squared * _FINE * _SITE - (reach + 3) ** 2 * _FINE * _SITE).astype(int)
        self.powers = [np.int32(v) for v in (16 * constant + np.arange(9)).tolist()]
        self.slopes = [(np.int32(-32 * x), np.int32(-32 * y)) for x, y in steps.tolist()]

        sites = (steps / _SITE).astype(np.float32)
        self.x, self.y = np.ascontiguousarray(sites.T)
        apart = (sites[:, None] - sites[None]).transpose(2, 0, 1)
        gap = np.hypot(*apart) + np.eye(9)
        self.per_unit = _by_code(1 / (2 * gap * _FINE * _SITE))
        self.roads = _by_code(scene.roads)
        self.hedges = _by_code(scene.hedges)

    def _outline_plots(self, parcels: tuple[Parcel, ...]) -> None:
        """Set radius, shape and direction of every plot."""
        radius = [p.radius if p.before else 0 for p in parcels]
        self.radius = np.array(radius, np.float32)
        self.square = np.array([p.square for p in parcels])
        turn = np.array([p.rows for p in parcels])
        self.cos = np.cos(turn).astype(np.float32)
        self.sin = np.sin(turn).astype(np.float32)

        lobes = np.stack([p.lobes for p in parcels]).transpose(1, 2, 0)  # (3, 2, 9)
        amplitude, phase = lobes[:, 0], lobes[:, 1]
        depth = amplitude * np.where(self.square, 0.4, 1)
        self.lobes = np.stack([depth * np.sin(phase), depth * np.cos(phase)], 1).astype(np.float32)
        farthest = self.radius * (1 + depth.sum(0)) * np.where(self.square, 1.2, 1)
        self.farthest = (farthest**2).astype(np.float32)


def _is_wet(parcel: Parcel) -> bool:
    """Whether the parcel's plot is water on either date."""
    if parcel.before is None or parcel.after is None:
        return False
    return WATER in (parcel.before.fill, parcel.after.fill)


def _by_code(values: np.ndarray) -> np.ndarray:
    """``values`` of two parcels (9, 9) as float32 by their code, 16 i + j."""
    return np.pad(values, ((0, 7), (0, 7))).ravel().astype(np.float32)


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
    bent_x = grid.smooth(grid.node_x + waves(grid.node_x, grid.node_y, scene.warp[0]))
    bent_y = grid.smooth(grid.node_y + waves(grid.node_x, grid.node_y, scene.warp[1]))

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

    # What depends on the border is done where there is one.
    near = np.flatnonzero(margin < _NEAR)
    codes = (own.ravel()[near] << 4) | second.ravel()[near]
    border = margin.ravel()[near] * lookup(plan.per_unit, codes)  # units

    dx = wx - lookup(plan.x, own)
    dy = wy - lookup(plan.y, own)
    if plan.split:
        beyond = dx * lookup(plan.far_x, own)
        beyond += dy * lookup(plan.far_y, own)
        surface = surface + np.uint8(FAR) * (beyond > lookup(plan.far, own))
    if plan.plots:
        on_border = near[border < 3.5]
        _lay_plots(plan, surface, layout.shore[rows], own, dx, dy, on_border)
    _lines(plan, surface.reshape(-1), layout.relief[rows].reshape(-1), near, codes, border)
    layout.surface[rows] = surface


def _lay_plots(
    plan: Plan,
    surface: np.ndarray,
    shore: np.ndarray,
    own: np.ndarray,
    dx: np.ndarray,
    dy: np.ndarray,
    on_border: np.ndarray,
) -> None:
    """Set the pixels of plots in ``surface``, and how light their shallows are in ``shore``."""
    away = dx * dx
    away += dy * dy
    which = np.flatnonzero(away < lookup(plan.farthest, own))
    own, dx, dy = own.ravel()[which], dx.ravel()[which], dy.ravel()[which]
    depth = _depth(plan, own, dx, dy, np.sqrt(away.ravel()[which]))

    clear = np.ones(surface.size, bool)
    clear[on_border] = False
    inside = (depth > 0) & clear[which]
    which = which[inside]
    surface.reshape(-1)[which] = own[inside] + PLOT
    # Water is lighter in the shallows.
    if plan.wet:
        shallow = np.minimum(depth[inside], np.float32(8))
        shore.reshape(-1)[which] = 9 - np.float32(1.6) * shallow


def _nearest(plan: Plan, wx: np.ndarray, wy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parcel of each pixel, the next one, and how much further that is, all by power distance.

    A plot's reach is its parcel's power, so that borders keep off plots. The squared coordinates are the same for all
    parcels and left out; what stays is linear, and carries the parcel's number in its lowest four bits.
    """
    x = np.rint(wx * np.float32(_FINE)).astype(np.int32)
    y = np.rint(wy * np.float32(_FINE)).astype(np.int32)

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
    # Cosine and sine of the direction, and by recurrence of its multiples.
    c, s = dx / away, dy / away
    ck, sk = c, s
    edge = np.ones_like(away)
    for sine, cosine in plan.lobes:
        ck, sk = ck * c - sk * s, sk * c + ck * s
        edge += lookup(sine, own) * ck
        edge += lookup(cosine, own) * sk

    # A square has the outline u^4 + v^4 = 1 in the direction of the furrows.
    square = np.flatnonzero(lookup(plan.square, own))
    if len(square):
        c, s = c[square], s[square]
        cos, sin = lookup(plan.cos, own[square]), lookup(plan.sin, own[square])
        u = c * cos + s * sin
        v = c * sin - s * cos
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

    # A road and its verge.
    on = np.flatnonzero((half > 0) & (border < half + np.float32(0.9)))
    near, border, half = near[on], border[on], half[on]
    lane = border < half
    wide = half > PAVED
    paved = np.where(border < 0.3, LINE, ROAD)
    surface[near] = np.where(lane, np.where(wide, paved, TRACK), VERGE)

    # Wheels have pressed two ruts into a track.
    in_rut = np.abs(border - np.float32(0.9)) < 0.45
    ruts = 10 - 14 * in_rut
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
    # It is deep, and so dark, in the middle.
    layout.relief[wet] = np.minimum(offset[wet] * np.float32(18 / river[3]) - 9, 9)


def _drive(layout: Layout, i: int, parcel: Parcel, towards: Parcel, grid: Grid) -> None:
    """A straight access road from the parcel's middle to its border with ``towards``."""
    dx, dy = towards.x - parcel.x, towards.y - parcel.y
    length = np.sqrt(dx * dx + dy * dy)
    c, s = np.float32(dx / length), np.float32(dy / length)

    rows, columns = window = grid.window(parcel.x + dx / 3, parcel.y + dy / 3, length / 2)
    x = grid.x[:, columns] - np.float32(parcel.x)
    y = grid.y[rows] - np.float32(parcel.y)
    along = x * c + y * s
    across = np.abs(y * c - x * s)

    surface = layout.surface[window]
    open_land = (layout.parcel[window] == i) & (surface < ROAD)
    kept = (across < np.float32(1.3)) & (along > -2) & open_land
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
            half_width, half_depth = b.width / 2, b.depth / 2
            u, v = b.notch or (1.0, 1.0)
            cut_u, cut_v = abs(u) * half_width, abs(v) * half_depth
            side_u, side_v = copysign(1, u), copysign(1, v)
            place = (b.x, b.y, half_width, half_depth, cos(b.angle), sin(b.angle))
            rows.append((*place, cut_u, cut_v, side_u, side_v, b.height, b.style))
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
        u = dx * self.cos + dy * self.sin
        v = dy * self.cos - dx * self.sin
        edge = np.minimum(self.width - np.abs(u), self.depth - np.abs(v))
        if (self.cut_u < self.width).any():
            to_notch = np.maximum(self.cut_u - u * self.side_u, self.cut_v - v * self.side_v)
            np.minimum(edge, to_notch, out=edge)
        return edge, u, v
