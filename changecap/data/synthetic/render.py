"""From a scene to pixels: two images and two land-cover maps, natively at any size."""

from typing import NamedTuple

import numpy as np

from ...language.facts import Fact
from . import textures as grain
from .layout import (
    BANK,
    DRIVE,
    FAR,
    HEDGE,
    LINE,
    PAVED,
    PLOT,
    RIVER,
    ROAD,
    SURFACES,
    TRACK,
    VERGE,
    Boxes,
    Grid,
    Layout,
    Plan,
    bands,
    lay_out,
    lookup,
    waves,
)
from .scene import BUILDING, GROUND, LOW, TREE, WATER, Box, Light, Parcel, Plot, Scene, draw_scene
from .things import LUSH, footprint, paint_cars, paint_court, paint_roofs, paint_trees, shadows_of_buildings


class Look(NamedTuple):
    """How a surface looks from above."""

    colour: tuple[int, int, int]
    texture: int
    furrows: int = 0  # strength, 8-bit steps
    grows: bool = False  # whether the season changes it


_LOOKS = (
    Look((0, 0, 0), grain.PLAIN),
    Look((42, 78, 106), grain.WATER),
    Look((176, 158, 122), grain.SAND),
    Look((150, 140, 118), grain.STONE),
    Look((154, 128, 94), grain.SOIL, furrows=11),
    Look((110, 138, 72), grain.MEADOW, grows=True),
    Look((94, 132, 62), grain.CROPS, furrows=10, grows=True),
    Look((130, 145, 80), grain.DRY, grows=True),
    Look((52, 82, 44), grain.PLAIN, grows=True),
    Look((62, 92, 50), grain.PLAIN, grows=True),
    Look((122, 121, 120), grain.PAVED),
    Look((168, 148, 118), grain.PAVED),
    Look((146, 136, 112), grain.STONE),
    Look((176, 176, 170), grain.PAVED),
    Look((150, 138, 110), grain.STONE),
)
# Looks of each land cover, and of the surfaces that all parcels share.
_STYLES = {WATER: (1,), GROUND: (2, 3, 4), LOW: (5, 6, 7), TREE: (8, 9)}
_SHARED = {ROAD: 10, TRACK: 11, VERGE: 12, LINE: 13, BANK: 14, RIVER: 1, HEDGE: 8, DRIVE: 11}
_COLOUR = np.array([look.colour for look in _LOOKS], np.float32)
_TEXTURE = np.array([look.texture for look in _LOOKS])
_FURROWS = np.array([look.furrows for look in _LOOKS])
_GROWS = np.array([look.grows for look in _LOOKS], np.float32)
_IS_WOOD = np.isin(np.arange(len(_LOOKS)), _STYLES[TREE])
# Units from one furrow to the next.
_BETWEEN_ROWS = 7.0
# Colours that shadows and haze tend to.
_DARK = np.array((24, 29, 42), np.float32)
_HAZE = np.array((205, 212, 222), np.float32)


def render_pair(
    seed: int, index: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[Fact, ...]]:
    """Pair ``index`` of the data set ``seed``: images ``(size, size, 3)`` uint8, maps ``(size, size)``, the facts.

    Depends on nothing but its arguments; scene and facts are the same at every size.
    """
    return render(draw_scene(np.random.default_rng([seed, index])), size)


def render(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[Fact, ...]]:
    """Both dates of ``scene`` and their maps; see :func:`render_pair`."""
    grids = [Grid(size, light.shift) for light in scene.lights]
    plan = Plan(scene)
    layouts = [lay_out(plan, grid) for grid in grids]
    a = _paint(scene, 0, grids[0], layouts[0])
    b = _paint(scene, 1, grids[1], layouts[1])
    sem_a, sem_b = _label(scene, grids[0], layouts[0])
    return a, b, sem_a, sem_b, scene.facts


def _label(scene: Scene, grid: Grid, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Classes before and after, ``(size, size)`` uint8, inside the changed area only."""
    before, after = np.zeros((2, grid.size, grid.size), np.uint8)
    if not any(parcel.changed for parcel in scene.parcels):
        return before, after

    for i, parcel in enumerate(scene.parcels):
        first, second = parcel.before, parcel.after
        if parcel.changed and first and second and not parcel.boxes:
            area = layout.surface == PLOT + i
            before[area], after[area] = first.fill, second.fill

    # Whatever stands somewhere hides the ground there.
    for parcel in scene.parcels:
        for box in parcel.boxes:
            first, second = parcel.before, parcel.after
            assert first is not None
            assert second is not None
            window, area = footprint(box, BUILDING in (first.kind, second.kind), grid)
            before[window][area] = (first.kind or first.fill) if parcel.changed else 0
            after[window][area] = (second.kind or second.fill) if parcel.changed else 0
    return before, after


def _paint(scene: Scene, date: int, grid: Grid, layout: Layout) -> np.ndarray:
    """One date as seen by its sensor, ``(size, size, 3)`` uint8."""
    light = scene.lights[date]
    plots = [parcel.before if date == 0 else parcel.after for parcel in scene.parcels]
    looks = _looks(scene.parcels, plots)
    image = _ground(scene, light, looks, grid, layout)
    shade = _shadows_of_woods(_IS_WOOD[looks], light, grid, layout)
    houses, courts = _standing(plots)

    for box in courts:
        paint_court(image, box, grid, light)
    trees = _free(scene, grid, layout, looks)
    if len(trees):
        paint_trees(image, shade, trees, grid, light)
    cars = _parked(scene, date, grid, layout)
    # Pixels of two units and more do not show cars.
    if len(cars) and grid.step < 2:
        paint_cars(image, cars, grid)

    # Shadows fall on everything but the roofs.
    buildings = Boxes.of(houses) if houses else None
    if buildings:
        shadows_of_buildings(shade, buildings, grid, light)
    dark = np.flatnonzero(shade)
    image[:, dark] += shade[dark] * np.float32(0.55) * (_DARK[:, None] - image[:, dark])
    if buildings:
        paint_roofs(image, buildings, grid, light)
    return _sense(image.reshape(3, grid.size, grid.size), grid, light)


def _standing(plots: list[Plot | None]) -> tuple[list[Box], list[Box]]:
    """What stands on ``plots``: the buildings, and the sports grounds."""
    houses: list[Box] = []
    courts: list[Box] = []
    for plot in plots:
        if plot is not None:
            (houses if plot.kind == BUILDING else courts).extend(plot.boxes)
    return houses, courts


def _looks(parcels: tuple[Parcel, ...], plots: list[Plot | None]) -> np.ndarray:
    """The look of every surface on one date ``(SURFACES,)``."""
    looks = np.zeros(SURFACES, np.intp)
    for i, (parcel, plot) in enumerate(zip(parcels, plots, strict=True)):
        looks[i] = _style(parcel.cover, parcel.style)
        if plot is not None:
            # Of another style than the land around it, so that its outline is seen.
            look = _style(plot.fill, parcel.style + (plot.fill == parcel.cover))
            # There are no furrows between buildings; the look before one with furrows has none.
            looks[PLOT + i] = look - 1 if parcel.boxes and _FURROWS[look] else look
        if parcel.split is not None:
            looks[FAR + i] = _style(parcel.split.cover, parcel.split.style)
    for surface, look in _SHARED.items():
        looks[surface] = look
    return looks


def _style(cover: int, style: int) -> int:
    looks = _STYLES[cover]
    return looks[style % len(looks)]


def _ground(scene: Scene, light: Light, looks: np.ndarray, grid: Grid, layout: Layout) -> np.ndarray:
    """The land without what stands on it, ``(3, size * size)`` float32."""
    size = grid.size
    tiles = grain.textures(size)
    colours = _COLOUR[looks] + _GROWS[looks][:, None] * (np.float32(light.season) * LUSH)
    colours[:ROAD] += scene.tint.astype(np.float32)
    channels = np.ascontiguousarray(colours.T)

    # Which texture a surface shows; woods have one that the sun lights.
    wood = len(tiles.surfaces)
    shown = np.where(_IS_WOOD[looks], wood, _TEXTURE[looks]).astype(np.uint8)
    wet = (looks == _STYLES[WATER][0]) & (np.arange(SURFACES) < ROAD)
    furrows = _furrows_of(scene, looks, grid)
    left = _first_of_texture(scene.origin[0], light.shift[0], grid, tiles.period)
    top = _first_of_texture(scene.origin[1], light.shift[1], grid, tiles.period)

    image = np.empty((3, size, size), np.float32)
    for rows in bands(size):
        surface = layout.surface[rows].astype(np.intp)
        here = np.bincount(surface.ravel(), minlength=SURFACES) > 0
        window = slice(top + rows.start, top + rows.stop), slice(left, left + size)
        texture_of = lookup(shown, surface)
        relief = np.empty(surface.shape, np.float32)
        for texture in set(shown[here].tolist()):
            tile = _lit_crowns(tiles, window, light) if texture == wood else tiles.surfaces[texture][window]
            np.copyto(relief, tile, where=texture_of == texture)
        relief *= np.float32(1 / grain.STEPS)
        relief += layout.relief[rows]
        if (wet & here).any():
            relief += layout.shore[rows] * lookup(wet, surface)
        if furrows.strength[here].any():
            relief += furrows.relief(surface, grid.x, grid.y[rows])
        for plane, channel in zip(image, channels, strict=True):
            np.add(lookup(channel, surface), relief, out=plane[rows])
    return image.reshape(3, -1)


class _Furrows(NamedTuple):
    """Waves on each surface ``(SURFACES,)`` float32: per unit to the right and down, and how strong."""

    across: np.ndarray
    down: np.ndarray
    strength: np.ndarray

    def relief(self, surface: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What they add where columns ``x`` cross rows ``y``, 8-bit steps."""
        phase = lookup(self.across, surface) * x
        phase += lookup(self.down, surface) * y
        phase -= np.floor(phase)
        # Two parabolas, near enough to a sine.
        phase -= np.float32(0.5)
        phase *= np.abs(phase) - np.float32(0.5)
        phase *= lookup(self.strength, surface)
        return phase


def _furrows_of(scene: Scene, looks: np.ndarray, grid: Grid) -> _Furrows:
    """The furrows of all surfaces; a plot's and a far side's are turned against those of the parcel."""
    turn = np.zeros(SURFACES)
    turn[:ROAD] = np.repeat([0.0, 0.9, 1.8], 9) + np.tile([p.rows for p in scene.parcels], 3)
    # Rows finer than the pixels fade.
    fade = max(0.0, float(np.sinc(float(grid.step) / _BETWEEN_ROWS)))
    across = np.cos(turn) / _BETWEEN_ROWS
    down = np.sin(turn) / _BETWEEN_ROWS
    strength = 16 * fade * _FURROWS[looks]
    return _Furrows(across.astype(np.float32), down.astype(np.float32), strength.astype(np.float32))


def _first_of_texture(origin: int, shift: float, grid: Grid, period: int) -> int:
    """The first row or column of a texture that an image shows."""
    return int(origin + round(float(shift / grid.step))) % period


def _lit_crowns(tiles: grain.Textures, window: tuple[slice, slice], light: Light) -> np.ndarray:
    """The canopy from above, its slopes lit by the date's sun."""
    to_right, down = tiles.slopes
    tile: np.ndarray = to_right[window] * np.float32(np.cos(light.sun))
    tile += down[window] * np.float32(np.sin(light.sun))
    tile += tiles.crowns[window]
    return tile


def _shadows_of_woods(wood: np.ndarray, light: Light, grid: Grid, layout: Layout) -> np.ndarray:
    """How dark it is behind the edges of woods and hedges, in [0, 1] ``(size * size,)``."""
    size = grid.size
    trees = lookup(wood, layout.surface)
    dark = np.zeros_like(trees)
    # Half the way and the whole, so that there is no gap between the trees and their shadow.
    for part in (0.5, 1.0):
        length = part * 4.5 * light.shadow
        right = round(float(length * np.cos(light.sun) / grid.step))
        down = round(float(length * np.sin(light.sun) / grid.step))
        to = _moved(down, size), _moved(right, size)
        of = _moved(-down, size), _moved(-right, size)
        dark[to] |= trees[of]
    dark &= ~trees
    shade: np.ndarray = dark.ravel() * np.float32(0.75)
    return shade


def _moved(by: int, size: int) -> slice:
    """The rows or columns that something moved ``by`` pixels falls on."""
    return slice(max(by, 0), size + min(by, 0))


def _free(scene: Scene, grid: Grid, layout: Layout, looks: np.ndarray) -> np.ndarray:
    """The single trees that stand in the open, off every plot."""
    x, y, _ = scene.trees.T
    columns = _pixels(x, grid.left, grid)
    rows = _pixels(y, grid.top, grid)
    surface = layout.surface[rows, columns]
    open_land = (looks >= 2) & (looks <= 7)
    open_land[PLOT:FAR] = False
    clear = open_land[surface]
    for parcel in scene.parcels:
        for box in parcel.boxes:
            reach = (box.width + box.depth) / 2
            clear &= (x - box.x) ** 2 + (y - box.y) ** 2 > reach**2
    return scene.trees[clear]


def _pixels(units: np.ndarray, first: np.float32, grid: Grid) -> np.ndarray:
    """Columns or rows of points, kept in the image; ``first`` is the middle of the first pixel."""
    at = ((units - first) / grid.step + 0.5).astype(np.intp)
    return np.clip(at, 0, grid.size - 1)


def _parked(scene: Scene, date: int, grid: Grid, layout: Layout) -> np.ndarray:
    """Cars on the paved roads ``(n, 4)``: x, y, direction, colour."""
    road = np.flatnonzero(layout.surface == ROAD)
    spot, colour = scene.cars[date].T if len(road) else np.empty((2, 0))
    at = road[(spot * len(road)).astype(np.intp)]
    x, y = grid.x[0, at % grid.size], grid.y[at // grid.size, 0]

    # A road runs square to the line between the middles of the parcels that it parts.
    middles = np.array([(p.x, p.y) for p in scene.parcels])
    own = layout.parcel.ravel()[at]
    away = np.hypot(x[:, None] - middles[:, 0], y[:, None] - middles[:, 1])
    other_side = np.where(scene.roads[own] > PAVED, away, np.inf).argmin(1)
    across = middles[other_side] - middles[own]
    direction = np.arctan2(across[:, 1], across[:, 0]) + np.pi / 2
    return np.stack([x, y, direction, colour], axis=1)


def _sense(image: np.ndarray, grid: Grid, light: Light) -> np.ndarray:
    """What the sensor makes of it: blur, gain, haze, noise, eight bits."""
    # The share of a pixel that its neighbour sees.
    spread = np.float32(min(0.25, 0.25 * (grid.size / 256) ** 2))
    if spread > 0.05:
        for plane in image:
            _mix(plane[:, :-1], plane[:, 1:], spread)
            _mix(plane[:-1], plane[1:], spread)

    haze = waves(grid.node_x, grid.node_y, light.haze_waves)
    haze /= max(0.1, float(light.haze_waves[:, 3].sum()))
    haze = grid.smooth(light.haze * (0.7 + 0.3 * haze))
    drawn = np.random.default_rng(light.noise_seed).bytes(image.size)
    noise = np.frombuffer(drawn, np.int8).reshape(image.shape)
    # Uniform on 256 steps has a deviation of 74.
    strength = np.float32(light.noise / 74)

    out = np.empty((grid.size, grid.size, 3), np.uint8)
    for rows in bands(grid.size):
        veil = haze[rows]
        clear = 1 - veil
        for c in range(3):
            plane = image[c, rows] * np.float32(light.gain[c])
            plane *= clear
            plane += veil * _HAZE[c]
            plane += noise[c, rows] * strength
            plane += np.float32(0.5)
            np.clip(plane, 0, 255, out=plane)
            np.copyto(out[rows, :, c], plane, casting="unsafe")
    return out


def _mix(line: np.ndarray, following: np.ndarray, share: np.float32) -> None:
    """Let neighbouring lines of pixels see ``share`` of each other, in place."""
    edge = following - line
    edge *= share
    line += edge
    following -= edge
