"""What stands on the ground: buildings, sports grounds, trees and cars, painted into an image of planes ``(3, H * W)``.

Things of a kind are drawn all at once, each on its own small square of pixels.
"""

import numpy as np

from .layout import Boxes, Grid
from .scene import Box, Light

LUSH = np.array((-14, 7, -6), np.float32)  # what season +1 adds to vegetation
_ROOFS = np.array(
    [(172, 90, 68), (188, 112, 84), (128, 66, 56), (196, 192, 186), (150, 152, 158), (98, 106, 126), (222, 219, 212)],
    np.float32,
)
_COURTS = np.array([(170, 80, 62), (176, 96, 70), (62, 110, 156), (74, 140, 84)], np.float32)  # track, clay, hard, turf
_CARS = np.array([(228, 228, 228), (52, 54, 60), (176, 178, 182), (150, 44, 40), (58, 84, 140)], np.float32)
_HIP, _FLAT = 1, 2  # style modulo 3; 0 is a gable


class Squares:
    """A square of pixels round each of n points.

    Args:
        grid: of the image.
        x: of the points, units ``(n,)``.
        y: of the points, units ``(n,)``.
        reach: half a side, units.
    """

    def __init__(self, grid: Grid, x: np.ndarray, y: np.ndarray, reach: float) -> None:
        middles, first = np.array([x, y]).reshape(2, -1, 1), np.array([grid.left, grid.top]).reshape(2, 1, 1)
        count = int(2 * reach / grid.step) + 2
        pixels = np.floor((middles - reach - first) / float(grid.step)).astype(np.intp) + np.arange(count)  # (2, n, k)
        away = (pixels * float(grid.step) + first - middles).astype(np.float32)
        self.dx, self.dy = away[0, :, None, :], away[1, :, :, None]  # units from the points
        seen = (pixels >= 0) & (pixels < grid.size)
        self.ok = seen[0, :, None, :] & seen[1, :, :, None]
        self.at = pixels[1, :, :, None] * grid.size + pixels[0, :, None, :]

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
        at, share = self.at.ravel()[which], cover.ravel()[which]
        colour = colours.reshape(-1, 3)[which // cover[0].size if colours.ndim == 2 else 0 * which].T  # (3, m)
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
    fall_x, fall_y = length * np.float32(np.cos(light.sun)), length * np.float32(np.sin(light.sun))
    reach = boxes.reach + 0.5 * float(length.max()) + float(grid.step)
    squares = Squares(grid, boxes.x + fall_x / 2, boxes.y + fall_y / 2, reach)
    dark = None
    for part in np.array((-0.15, 0.2, 0.5), np.float32):  # of the way, from the middle of the sweep
        edge, _, _ = boxes.inside(squares.dx - part * fall_x, squares.dy - part * fall_y)
        dark = edge if dark is None else np.maximum(dark, edge, out=dark)
    assert dark is not None
    squares.darken(shade, cover(dark, grid))


def paint_roofs(image: np.ndarray, boxes: Boxes, grid: Grid, light: Light) -> None:
    """Gable, hip and flat roofs, lit by the date's sun."""
    squares = Squares(grid, boxes.x, boxes.y, boxes.reach + float(grid.step))
    edge, u, v = boxes.inside(squares.dx, squares.dy)
    # an L has two wings, one along and one across, and the notch at the far end of both; else they are the same
    middle_p, middle_q = (boxes.cut_u - boxes.width) / 2, (boxes.cut_v - boxes.depth) / 2
    crest_p, crest_q = (boxes.cut_u + boxes.width) / 2, (boxes.cut_v + boxes.depth) / 2
    p, q = u * boxes.side_u - middle_p, v * boxes.side_v - middle_q
    over_p, over_q = crest_p - np.abs(p), crest_q - np.abs(q)  # how far up the slopes
    shape = boxes.style % 3
    angled = boxes.cut_u < boxes.width
    across = np.where(angled, over_q > over_p, np.where(shape == _HIP, over_q < over_p, boxes.width >= boxes.depth))
    c, s = np.float32(np.cos(light.sun)), np.float32(np.sin(light.sun))  # where shadows fall it is dark
    down_p, down_q = boxes.side_u * (c * boxes.cos + s * boxes.sin), boxes.side_v * (s * boxes.cos - c * boxes.sin)
    shading = 1 - np.float32(0.22) * np.where(across, np.copysign(down_q, q * down_q), np.copysign(down_p, p * down_p))
    shading += np.float32(0.1) * (np.where(across, np.abs(q), np.abs(p)) < np.float32(0.6))
    flat = shape == _FLAT
    if flat.any():
        rim = np.float32(0.12) * (edge < 1.1) - np.float32(0.1) * ((edge >= 1.1) & (edge < 2))
        vents = np.abs(np.abs(u) - boxes.width * np.float32(0.45)) < 1
        vents &= np.abs(v - boxes.depth * np.float32(0.3)) < np.float32(0.9)
        np.copyto(shading, 1 + rim - np.float32(0.25) * vents, where=flat)
    squares.paint(image, cover(edge, grid), _ROOFS[boxes.style.ravel().astype(np.intp)], shading)


def _each(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]


def paint_court(image: np.ndarray, box: Box, grid: Grid, light: Light) -> None:
    """A sports ground: a running track round a pitch, or a court, with white lines."""
    boxes = Boxes.of([box])
    squares = Squares(grid, boxes.x, boxes.y, boxes.reach)
    edge, u, v = _court(box, squares.dx, squares.dy)
    track = oval(box)
    field = (
        edge - np.float32(0.17 * box.depth)
        if track
        else np.minimum(np.float32(0.38 * box.width) - np.abs(u), np.float32(0.36 * box.depth) - np.abs(v))
    )
    base = _COURTS[box.style]
    turf = (
        np.array((92, 148, 78), np.float32) + light.season * LUSH * np.float32(0.5)
        if track
        else base * np.float32(0.86) + 12
    )
    squares.paint(image, cover(edge, grid), base)
    squares.paint(image, cover(field, grid), turf)
    pitch = np.minimum(
        np.float32((0.27 if track else 0.38) * box.width) - np.abs(u),
        np.float32(0.26 * box.depth if track else 0.36 * box.depth) - np.abs(v),
    )
    circle = np.abs(np.sqrt(u * u + v * v) - np.float32(0.11 * box.depth))
    lines = np.minimum(np.abs(pitch), np.where(pitch > 0, np.minimum(np.abs(u), circle), np.float32(9)))
    if track:
        lanes = np.abs(edge - np.float32(0.085 * box.depth)) + np.float32(0.35)
        lines = np.minimum(lines, lanes)
    line = np.clip(np.float32(1.0) - lines, 0, 1) * (edge > 0) * np.float32(0.75)
    squares.paint(image, line, np.full(3, 232, np.float32))


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
    window = grid.window(box.x, box.y, float(np.sqrt(box.width**2 + box.depth**2) / 2))
    dx, dy = (grid.x[:, window[1]] - np.float32(box.x))[None], (grid.y[window[0]] - np.float32(box.y))[None]
    edge = (Boxes.of([box]).inside(dx, dy) if building else _court(box, dx, dy))[0]
    return window, edge[0] > 0


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
    lit = 1 - np.float32(0.3) * (squares.dx * np.float32(along) + squares.dy * np.float32(down)) / size
    colour = np.array((58, 90, 48), np.float32) + np.float32(light.season) * LUSH
    squares.paint(image, crown, colour, lit)


def paint_cars(image: np.ndarray, cars: np.ndarray, grid: Grid) -> None:
    """Cars ``(n, 4)``: x, y, direction of the road, colour in [0, 1)."""
    x, y, turn, colour = cars.T
    squares = Squares(grid, x, y, 2.5 + float(grid.step))
    c, s = _each(np.cos(turn)), _each(np.sin(turn))
    u, v = squares.dx * c + squares.dy * s, squares.dy * c - squares.dx * s
    edge = np.minimum(np.float32(1.9) - np.abs(u), np.float32(0.85) - np.abs(v))
    paint = _CARS[(colour * len(_CARS)).astype(np.intp)]
    squares.paint(image, cover(edge, grid), paint)
