"""From a scene to pixels: two images and two land-cover maps, natively at any size."""

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
from .scene import BUILDING, LOW, TREE, WATER, Light, Parcel, Plot, Scene, draw_scene
from .things import LUSH, footprint, paint_cars, paint_court, paint_roofs, paint_trees, shadows_of_buildings

# Looks of the ground: colour, texture, strength of furrows (8-bit steps), and whether the season changes it.
_LOOKS = (
    ((0, 0, 0), grain.PLAIN, 0, 0),
    ((42, 78, 106), grain.WATER, 0, 0),
    ((176, 158, 122), grain.SAND, 0, 0),
    ((150, 140, 118), grain.STONE, 0, 0),
    ((154, 128, 94), grain.SOIL, 11, 0),
    ((110, 138, 72), grain.MEADOW, 0, 1),
    ((94, 132, 62), grain.CROPS, 10, 1),
    ((130, 145, 80), grain.DRY, 0, 1),
    ((52, 82, 44), grain.PLAIN, 0, 1),
    ((62, 92, 50), grain.PLAIN, 0, 1),
    ((122, 121, 120), grain.PAVED, 0, 0),
    ((168, 148, 118), grain.PAVED, 0, 0),
    ((146, 136, 112), grain.STONE, 0, 0),
    ((176, 176, 170), grain.PAVED, 0, 0),
    ((150, 138, 110), grain.STONE, 0, 0),
)
_STYLES = {WATER: (1,), 2: (2, 3, 4), LOW: (5, 6, 7), TREE: (8, 9)}
_SHARED = {ROAD: 10, TRACK: 11, VERGE: 12, LINE: 13, BANK: 14, RIVER: 1, HEDGE: 8, DRIVE: 11}
_COLOUR = np.array([look[0] for look in _LOOKS], np.float32)
_TEXTURE = np.array([look[1] for look in _LOOKS])
_FURROWS = np.array([look[2] for look in _LOOKS])
_GROWS = np.array([look[3] for look in _LOOKS], np.float32)
_IS_WOOD = np.isin(np.arange(len(_LOOKS)), _STYLES[TREE])
_BETWEEN_ROWS = 7.0  # units
_DARK = np.array((24, 29, 42), np.float32)  # what shadows tend to
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
    a, b = (_paint(scene, date, grids[date], layouts[date]) for date in (0, 1))
    sem_a, sem_b = _label(scene, grids[0], layouts[0])
    return a, b, sem_a, sem_b, scene.facts


def _label(scene: Scene, grid: Grid, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Classes before and after, ``(size, size)`` uint8, inside the changed area only."""
    before, after = np.zeros((2, grid.size, grid.size), np.uint8)
    changed = [(i, p.before, p.after) for i, p in enumerate(scene.parcels) if p.changed and p.before and p.after]
    if not changed:
        return before, after
    for i, plot, later in changed:
        if not (plot.boxes or later.boxes):
            area = layout.surface == PLOT + i
            before[area], after[area] = plot.fill, later.fill
    for parcel in scene.parcels:  # whatever stands somewhere hides the ground there
        for box in parcel.boxes:
            first, second = parcel.before, parcel.after
            assert first is not None
            assert second is not None
            window, area = footprint(box, BUILDING in (first.kind, second.kind), grid)
            for classes, plot in ((before, first), (after, second)):
                classes[window][area] = (plot.kind or plot.fill) if parcel.changed else 0
    return before, after


def _paint(scene: Scene, date: int, grid: Grid, layout: Layout) -> np.ndarray:
    """One date as seen by its sensor, ``(size, size, 3)`` uint8."""
    light = scene.lights[date]
    plots = [(p.before, p.after)[date] for p in scene.parcels]
    looks = _looks(scene.parcels, plots)
    image = _ground(scene, light, looks, grid, layout)
    shade = _shadows_of_woods(_IS_WOOD[looks], light, grid, layout)
    standing = [(plot.kind, box) for plot in plots if plot for box in plot.boxes]
    for kind, box in standing:
        if kind != BUILDING:
            paint_court(image, box, grid, light)
    trees = _free(scene, grid, layout, looks)
    if len(trees):
        paint_trees(image, shade, trees, grid, light)
    cars = _parked(scene, date, grid, layout)
    if len(cars) and grid.step < 2:  # units; coarser pixels do not show cars
        paint_cars(image, cars, grid)
    houses = [box for kind, box in standing if kind == BUILDING]
    buildings = Boxes.of(houses) if houses else None
    if buildings:
        shadows_of_buildings(shade, buildings, grid, light)
    dark = np.flatnonzero(shade)
    image[:, dark] += shade[dark] * np.float32(0.55) * (_DARK[:, None] - image[:, dark])
    if buildings:
        paint_roofs(image, buildings, grid, light)
    return _sense(image.reshape(3, grid.size, grid.size), grid, light)


def _looks(parcels: tuple[Parcel, ...], plots: list[Plot | None]) -> np.ndarray:
    """The look of every surface on one date ``(SURFACES,)``."""
    looks = np.zeros(SURFACES, np.intp)
    for i, (parcel, plot) in enumerate(zip(parcels, plots, strict=True)):
        looks[i] = _style(parcel.cover, parcel.style)
        if plot is not None:  # of another style than the land around it, and no furrows between buildings
            look = _style(plot.fill, parcel.style + (plot.fill == parcel.cover))
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
    size, tiles = grid.size, grain.textures(grid.size)
    colours = _COLOUR[looks] + _GROWS[looks][:, None] * (np.float32(light.season) * LUSH)
    colours[:ROAD] += scene.tint.astype(np.float32)
    channels = np.ascontiguousarray(colours.T)
    wood = len(tiles.surfaces)
    shown = np.where(_IS_WOOD[looks], wood, _TEXTURE[looks]).astype(np.uint8)
    wet = (looks == _STYLES[WATER][0]) & (np.arange(SURFACES) < ROAD)
    turn = np.zeros(SURFACES)
    turn[:ROAD] = np.repeat([0.0, 0.9, 1.8], 9) + np.tile([p.rows for p in scene.parcels], 3)
    fade = max(0.0, float(np.sinc(float(grid.step) / _BETWEEN_ROWS)))  # of rows finer than the pixels
    across, down = ((f(turn) / _BETWEEN_ROWS).astype(np.float32) for f in (np.cos, np.sin))
    furrows = (16 * fade * _FURROWS[looks]).astype(np.float32)
    left, top = (
        int(o + round(float(s / grid.step))) % tiles.period for o, s in zip(scene.origin, light.shift, strict=True)
    )
    sun = np.float32(np.cos(light.sun)), np.float32(np.sin(light.sun))
    image = np.empty((3, size, size), np.float32)
    for rows in bands(size):
        surface = layout.surface[rows].astype(np.intp)
        here = np.bincount(surface.ravel(), minlength=SURFACES) > 0
        window = slice(top + rows.start, top + rows.stop), slice(left, left + size)
        textures = set(shown[here].tolist())
        texture_of = lookup(shown, surface)
        relief = np.empty(surface.shape, np.float32)
        for texture in textures:
            if texture == wood:
                tile = tiles.slopes[0][window] * sun[0]
                tile += tiles.slopes[1][window] * sun[1]
                tile += tiles.crowns[window]
            else:
                tile = tiles.surfaces[texture][window]
            np.copyto(relief, tile, where=texture_of == texture)
        relief *= np.float32(1 / grain.STEPS)
        relief += layout.relief[rows]
        if (wet & here).any():
            relief += layout.shore[rows] * lookup(wet, surface)
        if furrows[here].any():
            phase = lookup(across, surface) * grid.x
            phase += lookup(down, surface) * grid.y[rows]
            phase -= np.floor(phase)
            phase -= np.float32(0.5)
            phase *= np.abs(phase) - np.float32(0.5)  # two parabolas, near enough to a sine
            phase *= lookup(furrows, surface)
            relief += phase
        for plane, channel in zip(image, channels, strict=True):
            np.add(lookup(channel, surface), relief, out=plane[rows])
    return image.reshape(3, -1)


def _shadows_of_woods(wood: np.ndarray, light: Light, grid: Grid, layout: Layout) -> np.ndarray:
    """How dark it is behind the edges of woods and hedges, in [0, 1] ``(size * size,)``."""
    size = grid.size
    trees = lookup(wood, layout.surface)
    dark = np.zeros_like(trees)
    for part in (0.5, 1.0):
        right, down = (round(float(part * 4.5 * light.shadow * f(light.sun) / grid.step)) for f in (np.cos, np.sin))
        to = slice(max(down, 0), size + min(down, 0)), slice(max(right, 0), size + min(right, 0))
        of = slice(max(-down, 0), size + min(-down, 0)), slice(max(-right, 0), size + min(-right, 0))
        dark[to] |= trees[of]
    dark &= ~trees
    shade: np.ndarray = dark.ravel() * np.float32(0.75)
    return shade


def _free(scene: Scene, grid: Grid, layout: Layout, looks: np.ndarray) -> np.ndarray:
    """The single trees that stand in the open, off every plot."""
    columns, rows = _pixels(scene.trees[:, 0], scene.trees[:, 1], grid)
    surface = layout.surface[rows, columns]
    open_land = (looks >= 2) & (looks <= 7)
    open_land[PLOT:FAR] = False
    clear = open_land[surface]
    boxes = np.array([(b.x, b.y, (b.width + b.depth) / 2) for p in scene.parcels for b in p.boxes])
    if len(boxes):
        x, y, reach = boxes.T[..., None]
        clear &= ((scene.trees[:, 0] - x) ** 2 + (scene.trees[:, 1] - y) ** 2 > reach**2).all(0)
    return scene.trees[clear]


def _pixels(x: np.ndarray, y: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of points, kept in the image."""
    columns, rows = (
        np.clip(((v - first) / grid.step + 0.5).astype(np.intp), 0, grid.size - 1)
        for v, first in ((x, grid.left), (y, grid.top))
    )
    return columns, rows


def _parked(scene: Scene, date: int, grid: Grid, layout: Layout) -> np.ndarray:
    """Cars on the paved roads ``(n, 4)``: x, y, direction, colour."""
    road = np.flatnonzero(layout.surface == ROAD)
    spot, colour = scene.cars[date].T if len(road) else np.empty((2, 0))
    at = road[(spot * len(road)).astype(np.intp)]
    x, y = grid.x[0, at % grid.size], grid.y[at // grid.size, 0]
    middles = np.array([(p.x, p.y) for p in scene.parcels])
    own = layout.parcel.ravel()[at]
    away = np.hypot(x[:, None] - middles[:, 0], y[:, None] - middles[:, 1])
    across = middles[np.where(scene.roads[own] > PAVED, away, np.inf).argmin(1)] - middles[own]
    return np.stack([x, y, np.arctan2(across[:, 1], across[:, 0]) + np.pi / 2, colour], axis=1)


def _sense(image: np.ndarray, grid: Grid, light: Light) -> np.ndarray:
    """What the sensor makes of it: blur, gain, haze, noise, eight bits."""
    spread = np.float32(min(0.25, 0.25 * (grid.size / 256) ** 2))  # share of a pixel that its neighbour sees
    if spread > 0.05:
        for plane in image:
            for line, following in ((plane[:, :-1], plane[:, 1:]), (plane[:-1], plane[1:])):
                edge = following - line
                edge *= spread
                line += edge
                following -= edge
    haze = waves(grid.node_x, grid.node_y, light.haze_waves) / max(0.1, float(light.haze_waves[:, 3].sum()))
    haze = grid.smooth(light.haze * (0.7 + 0.3 * haze))
    noise = np.frombuffer(np.random.default_rng(light.noise_seed).bytes(image.size), np.int8).reshape(image.shape)
    out = np.empty((grid.size, grid.size, 3), np.uint8)
    for rows in bands(grid.size):
        veil = haze[rows]
        clear = 1 - veil
        for c in range(3):
            plane = image[c, rows] * np.float32(light.gain[c])
            plane *= clear
            plane += veil * _HAZE[c]
            plane += noise[c, rows] * np.float32(light.noise / 74)  # uniform on 256 steps has a deviation of 74
            plane += np.float32(0.5)
            np.clip(plane, 0, 255, out=plane)
            np.copyto(out[rows, :, c], plane, casting="unsafe")
    return out
