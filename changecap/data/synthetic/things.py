"""What stands on the ground: buildings, sports grounds, trees and cars, painted into an image of planes ``(3, H * W)``.

Things of a kind are drawn all at once, each on its own small square of pixels.
"""

import numpy as np

from .layout import Boxes, Grid
from .scene import Box, Light

# What season +1 adds to vegetation.
LUSH = np.array((-14, 7, -6), np.float32)
_ROOFS = np.array(
    [(172, 90, 68), (188, 112, 84), (128, 66, 56), (196, 192, 186), (150, 152, 158), (98, 106, 126), (222, 219, 212)],
    np.float32,
)
# Track, clay, hard court, turf.
_COURTS = np.array([(170, 80, 62), (176, 96, 70), (62, 110, 156), (74, 140, 84)], np.float32)
_CARS = np.array([(228, 228, 228), (52, 54, 60), (176, 178, 182), (150, 44, 40), (58, 84, 140)], np.float32)
_TURF = np.array((92, 148, 78), np.float32)
_LEAVES = np.array((58, 90, 48), np.float32)
# Shapes of roofs: style modulo 3; 0 is a gable.
_HIP, _FLAT = 1, 2


class Squares:
    """A square of pixels round each of n points.

    Args:
        grid: of the image.
        x: of the points, units ``(n,)``.
        y: of the points, units ``(n,)``.
        reach: half a side, units.
    """

    def __init__(self, grid: Grid, x: np.ndarray, y: np.ndarray, reach: float) -> None:
        step = float(grid.step)
        middles = np.array([x, y]).reshape(2, -1, 1)
        first = np.array([grid.left, grid.top]).reshape(2, 1, 1)
        count = int(2 * reach / grid.step) + 2
        corner = np.floor((middles - reach - first) / step).astype(np.intp)
        pixels = corner + np.arange(count)  # (2, n, k)
        columns, rows = pixels[0, :, None, :], pixels[1, :, :, None]

        # Units from the points.
        away = (pixels * step + first - middles).astype(np.float32)
        self.dx, self.dy = away[0, :, None, :], away[1, :, :, None]

        # Which pixels are in the image, and where they are in its planes.
        seen = (pixels >= 0) & (pixels < grid.size)
        self.ok = seen[0, :, None, :] & seen[1, :, :, None]
        self.at = rows * grid.size + columns

    def paint(
        self, image: np.ndarray, cover: np.ndarray, colours: np.ndarray, shading: np.ndarray | None = None
    ) -> None:
        """Mix ``colours`` times ``shading`` into ``image``.

        Args:
            image: planes ``(3, H * W)``, changed in place.
            cover: share of each pixel, in [0, 1] ``(n, k, k)``.
            colours: one for all ``(3,)``, or one each ``(n, 3)``.
            shading: brightness ``(n, k, k)``, 1 when not given.
        """
        which = np.flatnonzero(self.ok & (cover > 0))
        at = self.at.ravel()[which]
        share = cover.ravel()[which]
        point = which // cover[0].size if colours.ndim == 2 else np.zeros_like(which)
        colour = colours.reshape(-1, 3)[point].T  # (3, m)
        if shading is not None:
            colour = colour * shading.ravel()[which]
        part = image[:, at]
        colour -= part
        colour *= share
        part += colour
        image[:, at] = part

    def darken(self, shade: np.ndarray, dark: np.ndarray) -> None:
        """Raise ``shade`` ``(H * W)`` to ``dark`` in [0, 1] ``(n, k, k)`` where that is darker."""
        which = np.flatnonzero(self.ok & (dark > 0))
        at = self.at.ravel()[which]
        shade[at] = np.maximum(shade[at], dark.ravel()[which])


def cover(distance: np.ndarray, grid: Grid) -> np.ndarray:
    """Share of each pixel that lies inside, from its middle's distance to the edge in units, positive inside."""
    share = distance / grid.step
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def shadows_of_buildings(shade: np.ndarray, boxes: Boxes, grid: Grid, light: Light) -> None:
    """Sweep every building along its shadow."""
    length = np.float32(light.shadow) * boxes.height
    fall_x = length * np.float32(np.cos(light.sun))
    fall_y = length * np.float32(np.sin(light.sun))
    reach = boxes.reach + 0.5 * float(length.max()) + float(grid.step)
    squares = Squares(grid, boxes.x + fall_x / 2, boxes.y + fall_y / 2, reach)

    # The sweep is the building at three places, counted from the middle of the way.
    edges = []
    for part in np.array((-0.15, 0.2, 0.5), np.float32):
        edge, _, _ = boxes.inside(squares.dx - part * fall_x, squares.dy - part * fall_y)
        edges.append(edge)
    dark = np.maximum(np.maximum(edges[0], edges[1]), edges[2])
    squares.darken(shade, cover(dark, grid))


def paint_roofs(image: np.ndarray, boxes: Boxes, grid: Grid, light: Light) -> None:
    """Gable, hip and flat roofs, lit by the date's sun."""
    squares = Squares(grid, boxes.x, boxes.y, boxes.reach + float(grid.step))
    edge, u, v = boxes.inside(squares.dx, squares.dy)
    shading = _shading(boxes, u, v, light)
    flat = boxes.style % 3 == _FLAT
    if flat.any():
        np.copyto(shading, _flat_shading(boxes, edge, u, v), where=flat)
    colours = _ROOFS[boxes.style.ravel().astype(np.intp)]
    squares.paint(image, cover(edge, grid), colours, shading)


def _shading(boxes: Boxes, u: np.ndarray, v: np.ndarray, light: Light) -> np.ndarray:
    """Brightness of gable and hip roofs ``(n, k, k)`` at coordinates ``u`` along and ``v`` across the boxes."""
    # An L has two wings, one along and one across, and the notch at the far end of both; else they are the same.
    middle_p = (boxes.cut_u - boxes.width) / 2
    middle_q = (boxes.cut_v - boxes.depth) / 2
    p = u * boxes.side_u - middle_p
    q = v * boxes.side_v - middle_q

    # How far up the slopes.
    crest_p = (boxes.cut_u + boxes.width) / 2
    crest_q = (boxes.cut_v + boxes.depth) / 2
    over_p = crest_p - np.abs(p)
    over_q = crest_q - np.abs(q)

    # Whether the slope falls across the box: the one that is lower of a hip, the higher of two wings.
    is_hip = boxes.style % 3 == _HIP
    has_wings = boxes.cut_u < boxes.width
    of_one_wing = np.where(is_hip, over_q < over_p, boxes.width >= boxes.depth)
    across = np.where(has_wings, over_q > over_p, of_one_wing)

    # It is dark where shadows fall.
    c, s = np.float32(np.cos(light.sun)), np.float32(np.sin(light.sun))
    down_p = boxes.side_u * (c * boxes.cos + s * boxes.sin)
    down_q = boxes.side_v * (s * boxes.cos - c * boxes.sin)
    slope_q = np.copysign(down_q, q * down_q)
    slope_p = np.copysign(down_p, p * down_p)
    shading: np.ndarray = 1 - np.float32(0.22) * np.where(across, slope_q, slope_p)

    # The ridge is bright.
    from_ridge = np.where(across, np.abs(q), np.abs(p))
    shading += np.float32(0.1) * (from_ridge < np.float32(0.6))
    return shading


def _flat_shading(boxes: Boxes, edge: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Brightness of flat roofs ``(n, k, k)``: a light rim, its shadow, and two vents."""
    light_rim = np.float32(0.12) * (edge < 1.1)
    behind_rim = (edge >= 1.1) & (edge < 2)
    rim = light_rim - np.float32(0.1) * behind_rim

    vents = np.abs(np.abs(u) - boxes.width * np.float32(0.45)) < 1
    vents &= np.abs(v - boxes.depth * np.float32(0.3)) < np.float32(0.9)
    shading: np.ndarray = 1 + rim - np.float32(0.25) * vents
    return shading


def _each(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]


def paint_court(image: np.ndarray, box: Box, grid: Grid, light: Light) -> None:
    """A sports ground: a running track round a pitch, or a court, with white lines."""
    boxes = Boxes.of([box])
    squares = Squares(grid, boxes.x, boxes.y, boxes.reach)
    edge, u, v = _court(box, squares.dx, squares.dy)
    track = oval(box)
    base = _COURTS[box.style]
    turf: np.ndarray

    # The ground, and the turf of a track or the playing field of a court.
    if track:
        field = edge - np.float32(0.17 * box.depth)
        turf = _TURF + light.season * LUSH * np.float32(0.5)
        half_length, half_width = np.float32(0.27 * box.width), np.float32(0.26 * box.depth)
    else:
        field = _in_rectangle(u, v, np.float32(0.38 * box.width), np.float32(0.36 * box.depth))
        turf = base * np.float32(0.86) + 12
        half_length, half_width = np.float32(0.38 * box.width), np.float32(0.36 * box.depth)
    squares.paint(image, cover(edge, grid), base)
    squares.paint(image, cover(field, grid), turf)

    # White lines: round the pitch, across its middle, and a circle there; of a track one between the lanes too.
    pitch = _in_rectangle(u, v, half_length, half_width)
    circle = np.abs(np.sqrt(u * u + v * v) - np.float32(0.11 * box.depth))
    on_pitch = np.where(pitch > 0, np.minimum(np.abs(u), circle), np.float32(9))
    lines = np.minimum(np.abs(pitch), on_pitch)
    if track:
        lanes = np.abs(edge - np.float32(0.085 * box.depth)) + np.float32(0.35)
        lines = np.minimum(lines, lanes)
    line = np.clip(np.float32(1.0) - lines, 0, 1) * (edge > 0) * np.float32(0.75)
    squares.paint(image, line, np.full(3, 232, np.float32))


def _in_rectangle(u: np.ndarray, v: np.ndarray, half_u: np.float32, half_v: np.float32) -> np.ndarray:
    """Distance to the outline of a rectangle round 0, positive inside."""
    out: np.ndarray = np.minimum(half_u - np.abs(u), half_v - np.abs(v))
    return out


def oval(box: Box) -> bool:
    """Whether the sports ground ``box`` is a running track, round at both ends."""
    return box.style < 2


def _court(box: Box, dx: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance to the outline of a sports ground, units, positive inside, and the coordinates along and across."""
    edge, u, v = Boxes.of([box]).inside(dx, dy)
    if oval(box):
        end = np.maximum(np.abs(u) - np.float32((box.width - box.depth) / 2), 0)
        edge = np.float32(box.depth / 2) - np.sqrt(end * end + v * v)
    return edge, u, v


def footprint(box: Box, building: bool, grid: Grid) -> tuple[tuple[slice, slice], np.ndarray]:
    """A window of the image, and which of its pixels the thing stands on."""
    reach = float(np.sqrt(box.width**2 + box.depth**2) / 2)
    rows, columns = grid.window(box.x, box.y, reach)
    dx = (grid.x[:, columns] - np.float32(box.x))[None]
    dy = (grid.y[rows] - np.float32(box.y))[None]
    edge, _, _ = Boxes.of([box]).inside(dx, dy) if building else _court(box, dx, dy)
    return (rows, columns), edge[0] > 0


def paint_trees(image: np.ndarray, shade: np.ndarray, trees: np.ndarray, grid: Grid, light: Light) -> None:
    """Single trees ``(n, 3)`` and their shadows."""
    x, y, radius = trees.T
    size = _each(radius)
    reach = float(radius.max() + grid.step)
    along, down = np.cos(light.sun), np.sin(light.sun)

    fall = 1.1 * light.shadow * radius
    below = Squares(grid, x + fall * along, y + fall * down, reach)
    below.darken(shade, cover(size - np.sqrt(below.dx**2 + below.dy**2), grid))

    squares = Squares(grid, x, y, reach)
    crown = cover(size - np.sqrt(squares.dx**2 + squares.dy**2), grid)
    away_from_sun = squares.dx * np.float32(along) + squares.dy * np.float32(down)
    lit = 1 - np.float32(0.3) * away_from_sun / size
    colour = _LEAVES + np.float32(light.season) * LUSH
    squares.paint(image, crown, colour, lit)


def paint_cars(image: np.ndarray, cars: np.ndarray, grid: Grid) -> None:
    """Cars ``(n, 4)``: x, y, direction of the road, colour in [0, 1)."""
    x, y, turn, colour = cars.T
    squares = Squares(grid, x, y, 2.5 + float(grid.step))
    c, s = _each(np.cos(turn)), _each(np.sin(turn))
    u = squares.dx * c + squares.dy * s
    v = squares.dy * c - squares.dx * s
    edge = np.minimum(np.float32(1.9) - np.abs(u), np.float32(0.85) - np.abs(v))
    paint = _CARS[(colour * len(_CARS)).astype(np.intp)]
    squares.paint(image, cover(edge, grid), paint)
