"""From a scene to pixels: two images and two land-cover maps, natively at any size."""

from functools import lru_cache

import numpy as np

from ...facts import Fact
from .scene import (
    BUILDING,
    LOW,
    PLAYGROUND,
    TREE,
    WATER,
    WORLD,
    Box,
    Light,
    Parcel,
    Plot,
    Scene,
    draw_scene,
    river_offset,
)

# Styles of ground: colour, then the weight of each texture of _textures(), in 8-bit steps.
_LOOK = np.array(
    # R    G    B    fine lump cloud crown rows
    [
        (0, 0, 0, 0, 0, 0, 0, 0),
        (44, 74, 92, 2, 0, 5, 0, 0),  # water
        (172, 148, 118, 8, 6, 10, 0, 0),  # ground, sandy
        (150, 132, 112, 9, 10, 8, 0, 0),  # ground, stony
        (158, 124, 92, 6, 2, 6, 0, 12),  # ground, ploughed
        (112, 140, 72, 6, 7, 9, 0, 0),  # low vegetation, meadow
        (94, 134, 62, 5, 2, 6, 0, 11),  # low vegetation, crops
        (132, 148, 80, 6, 9, 8, 0, 0),  # low vegetation, dry grass
        (48, 80, 42, 5, 5, 6, 24, 0),  # trees
        (60, 88, 48, 5, 6, 6, 22, 0),  # trees, lighter
        (128, 126, 122, 4, 0, 4, 0, 0),  # road
        (150, 138, 110, 6, 6, 4, 0, 0),  # bank of a river
    ],
    np.float32,
)
_ROAD, _BANK = 10, 11
_STYLES = {WATER: (1,), 2: (2, 3, 4), LOW: (5, 6, 7), TREE: (8, 9)}
_LUSH = np.array((-14, 7, -6), np.float32)  # what season +1 adds to vegetation
_ROOFS = np.array(
    [(168, 84, 64), (186, 108, 80), (122, 60, 52), (196, 192, 186), (150, 152, 158), (96, 104, 124), (218, 214, 206)],
    np.float32,
)
_COURTS = np.array([(168, 74, 58), (176, 92, 66), (62, 110, 156), (74, 140, 84)], np.float32)  # track, clay, hard, turf
_TILE = 512  # pixels of a texture; periodic


def render_pair(
    seed: int, index: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[Fact, ...]]:
    """Pair ``index`` of the data set ``seed``: images ``(size, size, 3)`` uint8, maps ``(size, size)``, the facts.

    Depends on nothing but its arguments; scene and facts are the same at every size.
    """
    return render(draw_scene(np.random.default_rng([seed, index])), size)


def render(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[Fact, ...]]:
    """Both dates of ``scene`` and their maps; see :func:`render_pair`."""
    images = [_paint(scene, date, size) for date in (0, 1)]
    return *images, *_label(scene, size), scene.facts


def _grid(size: int, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """World coordinates of the pixels' middles, ``(1, size)`` and ``(size, 1)``."""
    line = ((np.arange(size) + 0.5) * (WORLD / size)).astype(np.float32)
    return line[None, :] + np.float32(shift[0]), line[:, None] + np.float32(shift[1])


def _wave(x: np.ndarray, y: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Sum of plane waves at each pixel."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for kx, ky, phase, amplitude in waves:  # sin(u + v) from the two lines' sines: no sine per pixel
        u, v = (kx * x + phase).astype(np.float64), (ky * y).astype(np.float64)
        total += (amplitude * (np.sin(u) * np.cos(v) + np.cos(u) * np.sin(v))).astype(np.float32)
    return total


class _Layout:
    """Which parcel, plot, road or river each pixel of one date belongs to."""

    def __init__(self, scene: Scene, x: np.ndarray, y: np.ndarray) -> None:
        wx, wy = x + _wave(x, y, scene.warp[0]), y + _wave(x, y, scene.warp[1])
        sites = np.array([(p.x, p.y) for p in scene.parcels], np.float32)
        apart = np.stack([(wx - sx) ** 2 + (wy - sy) ** 2 for sx, sy in sites])
        self.parcel = apart.argmin(0)
        first = np.take_along_axis(apart, self.parcel[None], 0)[0]
        np.put_along_axis(apart, self.parcel[None], np.inf, 0)
        other = apart.argmin(0)
        second = np.take_along_axis(apart, other[None], 0)[0]
        gap = np.hypot(*(sites[:, None] - sites[None]).transpose(2, 0, 1)).astype(np.float32)
        np.fill_diagonal(gap, 1)
        border = (second - first) / (2 * gap[self.parcel, other])  # units to the border
        self.road = border < scene.roads.astype(np.float32)[self.parcel, other]
        # the plot: a lobed disc round the parcel's middle, clear of the border
        dx, dy = wx - sites[self.parcel, 0], wy - sites[self.parcel, 1]
        radius = np.array([p.radius for p in scene.parcels], np.float32)[self.parcel]
        angle = np.arctan2(dy, dx)
        edge = np.ones_like(radius)
        for k in range(3):
            amplitude, phase = (np.array([p.lobes[k, j] for p in scene.parcels], np.float32) for j in (0, 1))
            edge += amplitude[self.parcel] * np.sin((k + 2) * angle + phase[self.parcel])
        self.plot = (first < (radius * edge) ** 2) & (border > 4)
        self.river = np.zeros(border.shape, bool)
        self.bank = self.river
        if scene.river is not None:
            offset = np.abs(river_offset(x, y, scene.river))
            self.river, self.bank = offset < scene.river[3], offset < scene.river[3] + 2.5


def _inside(box: Box, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixels along and across ``box``, 1 at its edges."""
    c, s = np.float32(np.cos(box.angle)), np.float32(np.sin(box.angle))
    dx, dy = x - np.float32(box.x), y - np.float32(box.y)
    return (dx * c + dy * s) / np.float32(box.width / 2), (dy * c - dx * s) / np.float32(box.depth / 2)


def _label(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes before and after, ``(size, size)`` uint8, inside the changed area only."""
    x, y = _grid(size)
    before, after = np.zeros((2, size, size), np.uint8)
    if not scene.facts:
        return before, after
    layout = _Layout(scene, x, y)
    for i, parcel in enumerate(scene.parcels):
        if not parcel.changed or parcel.before is None or parcel.after is None:
            continue
        boxes = parcel.before.boxes or parcel.after.boxes
        if boxes:
            area = np.zeros((size, size), bool)
            for box in boxes:
                u, v = _inside(box, x, y)
                area |= (np.abs(u) < 1) & (np.abs(v) < 1)
        else:
            area = (layout.parcel == i) & layout.plot & ~layout.road & ~layout.bank
        before[area] = parcel.before.kind or parcel.before.fill
        after[area] = parcel.after.kind or parcel.after.fill
    return before, after


def _style(cover: int, style: int) -> int:
    looks = _STYLES[cover]
    return looks[style % len(looks)]


def _paint(scene: Scene, date: int, size: int) -> np.ndarray:
    """One date as seen by its sensor, ``(size, size, 3)`` uint8."""
    light = scene.lights[date]
    x, y = _grid(size, light.shift)
    layout = _Layout(scene, x, y)
    plots = [(p.before, p.after)[date] for p in scene.parcels]
    around = np.array([_style(p.cover, p.style) for p in scene.parcels])
    filled = np.array([_filled(p, plot) for p, plot in zip(scene.parcels, plots, strict=True)])
    look = np.where(layout.plot, filled[layout.parcel], around[layout.parcel])
    look[layout.bank] = _BANK
    look[layout.river] = _STYLES[WATER][0]
    look[layout.road] = _ROAD

    table = _LOOK.copy()
    table[5:10, :3] += light.season * _LUSH
    table[1:10, :3] += np.append(scene.tint, [scene.tint[0]], axis=0).astype(np.float32)
    image = table[look, :3]
    for k, texture in enumerate(_textures(size)):
        grain = _read(texture, scene.origin[k % 4], size, light.shift)
        image += (table[look, 3 + k] * grain)[..., None]
    _shadow_of_water(image, layout)
    for tree_x, tree_y, radius in scene.trees:
        _tree(image, x, y, tree_x, tree_y, radius, look, light)
    for plot in plots:
        for box in plot.boxes if plot else ():
            (_roof if plot and plot.kind == BUILDING else _court)(image, x, y, box, light)
    return _sense(image, x, y, light)


def _filled(parcel: Parcel, plot: Plot | None) -> int:
    """Style inside the plot; the parcel's own where its cover is the same."""
    cover = parcel.cover if plot is None else plot.fill
    return _style(cover, parcel.style if cover == parcel.cover else parcel.style + 1)


def _shadow_of_water(image: np.ndarray, layout: _Layout) -> None:
    """Banks darken towards the river, so that it lies in the land."""
    image[layout.bank & ~layout.river & ~layout.road] *= 0.9


def _window(x: np.ndarray, y: np.ndarray, cx: float, cy: float, reach: float) -> tuple[slice, slice] | None:
    """The pixels within ``reach`` units of a point."""
    step = x[0, 1] - x[0, 0]
    left, top = int((cx - reach - x[0, 0]) / step), int((cy - reach - y[0, 0]) / step)
    right, bottom = int((cx + reach - x[0, 0]) / step) + 2, int((cy + reach - y[0, 0]) / step) + 2
    size = x.shape[1]
    rows, columns = slice(max(top, 0), min(bottom, size)), slice(max(left, 0), min(right, size))
    return None if rows.start >= rows.stop or columns.start >= columns.stop else (rows, columns)


def _blend(image: np.ndarray, window: tuple[slice, slice], cover: np.ndarray, colour: np.ndarray) -> None:
    """Mix ``colour`` into the window by ``cover`` in [0, 1] ``(h, w)``."""
    part = image[window]
    part += cover[..., None] * (colour - part)


def _soft(u: np.ndarray, v: np.ndarray, du: float, dv: float) -> np.ndarray:
    """Coverage of the unit square by pixels of ``du`` x ``dv``: 1 inside, 0 outside, a ramp one pixel wide."""
    return np.clip((1 - np.abs(u)) / du + 0.5, 0, 1) * np.clip((1 - np.abs(v)) / dv + 0.5, 0, 1)


def _roof(image: np.ndarray, x: np.ndarray, y: np.ndarray, box: Box, light: Light) -> None:
    """A building: shadow on the ground, then a flat, gable or hip roof lit by the date's sun."""
    reach = 0.75 * (box.width + box.depth) + 1.5 * box.height
    window = _window(x, y, box.x, box.y, reach)
    if window is None:
        return
    rows, columns = window
    xs, ys = x[:, columns], y[rows]
    step = float(x[0, 1] - x[0, 0])
    du, dv = 2 * step / box.width, 2 * step / box.depth
    fall = light.shadow * box.height
    dark = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    for part in (0.35, 0.7, 1.0):
        sx, sy = np.float32(fall * part * np.cos(light.sun)), np.float32(fall * part * np.sin(light.sun))
        dark = np.maximum(dark, _soft(*_inside(box, xs - sx, ys - sy), du, dv))
    _blend(image, window, 0.55 * dark, np.array((26, 30, 42), np.float32))
    u, v = _inside(box, xs, ys)
    shape = box.style % 3  # 0 gable, 1 hip, 2 flat
    facing = np.cos(light.sun - box.angle), np.sin(light.sun - box.angle)  # where shadows fall is where it is dark
    if shape == 2:
        shade = 1 + 0.12 * ((np.abs(u) > 0.8) | (np.abs(v) > 0.75))
    elif shape == 1:
        side = np.where(np.abs(u) * box.width - box.width > np.abs(v) * box.depth - box.depth, 0, 1)
        shade = 1 - 0.22 * np.where(side == 0, np.sign(u) * facing[0], np.sign(v) * facing[1])
    else:
        shade = 1 - 0.24 * np.sign(v) * facing[1]
    colour = _ROOFS[box.style] * shade[..., None].astype(np.float32)
    _blend(image, window, _soft(u, v, du, dv).astype(np.float32), colour)


def _court(image: np.ndarray, x: np.ndarray, y: np.ndarray, box: Box, light: Light) -> None:
    """A sports ground: a running track round a pitch, or a court, with white lines."""
    window = _window(x, y, box.x, box.y, 0.75 * (box.width + box.depth))
    if window is None:
        return
    rows, columns = window
    step = float(x[0, 1] - x[0, 0])
    u, v = _inside(box, x[:, columns], y[rows])
    du, dv = 2 * step / box.width, 2 * step / box.depth
    _blend(image, window, _soft(u, v, du, dv).astype(np.float32), _COURTS[box.style])
    field = _soft(u / 0.76, v / 0.66, du, dv).astype(np.float32)
    turf = np.array((92, 150, 78) if box.style < 2 else _COURTS[box.style] * 0.86 + 12, np.float32)
    _blend(image, window, field, turf + light.season * _LUSH * 0.5)
    line = np.maximum(np.clip(1.2 - np.abs(u) * box.width / 2, 0, 1) * (np.abs(v) < 0.66), _ring(u, v, box))
    _blend(image, window, (0.8 * line * (np.abs(u) < 1) * (np.abs(v) < 1)).astype(np.float32), np.float32(235))


def _ring(u: np.ndarray, v: np.ndarray, box: Box) -> np.ndarray:
    """The white line round the field."""
    off = np.maximum((np.abs(u) - 0.76) * box.width / 2, (np.abs(v) - 0.66) * box.depth / 2)
    ring: np.ndarray = np.clip(1.0 - np.abs(off), 0, 1)
    return ring


def _tree(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, cx: float, cy: float, radius: float, look: np.ndarray, light: Light
) -> None:
    """A single tree with its shadow, where the ground is open."""
    window = _window(x, y, cx, cy, 4 * radius)
    if window is None:
        return
    rows, columns = window
    middle = look[(rows.start + rows.stop - 1) // 2, (columns.start + columns.stop - 1) // 2]
    if middle not in (2, 3, 4, 5, 6, 7):
        return
    dx, dy = x[:, columns] - np.float32(cx), y[rows] - np.float32(cy)
    step = float(x[0, 1] - x[0, 0])
    sx, sy = (1.2 * light.shadow * radius * f(light.sun) for f in (np.cos, np.sin))
    shadow = np.clip((radius - np.hypot(dx - sx, dy - sy)) / step + 0.5, 0, 1)
    _blend(image, window, (0.45 * shadow).astype(np.float32), np.array((26, 30, 42), np.float32))
    crown = np.clip((radius - np.hypot(dx, dy)) / step + 0.5, 0, 1)
    lit = 1 - 0.25 * (dx * np.cos(light.sun) + dy * np.sin(light.sun)) / radius
    colour = (np.array((56, 88, 46), np.float32) + light.season * _LUSH) * lit[..., None].astype(np.float32)
    _blend(image, window, crown.astype(np.float32), colour)


def _sense(image: np.ndarray, x: np.ndarray, y: np.ndarray, light: Light) -> np.ndarray:
    """What the sensor makes of it: gain, haze, noise, eight bits."""
    image = image * light.gain.astype(np.float32)
    haze = light.haze * (0.7 + 0.3 * _wave(x, y, light.haze_waves) / max(0.1, float(light.haze_waves[:, 3].sum())))
    image += haze[..., None].astype(np.float32) * (np.array((205, 212, 222), np.float32) - image)
    noise = np.random.default_rng(light.noise_seed).integers(-128, 128, image.shape, dtype=np.int8)
    image += noise * np.float32(light.noise / 74)  # uniform on 256 steps has a deviation of 74
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def _textures(size: int) -> tuple[np.ndarray, ...]:
    """Five periodic textures of mean 0 and deviation 1, ``(_TILE, _TILE)``: grain, lumps, clouds, crowns, rows."""
    draw = np.random.default_rng(20250813)
    unit = size / WORLD  # pixels per unit
    white = draw.standard_normal((5, _TILE, _TILE))
    fy, fx = np.meshgrid(np.fft.fftfreq(_TILE), np.fft.fftfreq(_TILE), indexing="ij")
    period = 1 / np.maximum(np.hypot(fx, fy), 1e-9) / unit  # units
    out = []
    for noise, (centre, spread) in zip(white, ((3, 0.5), (9, 0.5), (60, 0.7), (7, 0.35), (14, 0.8)), strict=True):
        gain = np.exp(-0.5 * (np.log(period / centre) / spread) ** 2)
        out.append(np.fft.ifft2(np.fft.fft2(noise) * gain).real)
    crowns = out[3]
    out[3] = np.minimum(crowns, 0.6 * crowns.std()) + 0.35 * (crowns - np.roll(crowns, 1, (0, 1)))  # dark between
    rows = np.arange(_TILE) / unit
    out[4] = np.sin(2 * np.pi * rows / 7.0)[:, None] + 0.25 * out[4] / out[4].std()
    out[4] = out[4] * min(1.0, unit * 2)  # rows vanish when they are finer than the pixels
    return tuple(((t - t.mean()) / max(t.std(), 1e-9)).astype(np.float32) for t in out)


def _read(texture: np.ndarray, origin: np.ndarray, size: int, shift: tuple[float, float]) -> np.ndarray:
    """A window ``(size, size)`` of a periodic texture, moved by ``shift`` units to the nearest half pixel."""
    unit = size / WORLD
    moved = [round(float(2 * s * unit)) / 2 for s in shift]
    whole = [int(np.floor(m)) for m in moved]
    columns = (origin[0] + whole[0] + np.arange(size + 1)) % _TILE
    rows = (origin[1] + whole[1] + np.arange(size + 1)) % _TILE
    part = texture[rows[:, None], columns[None]]
    part = (part[:, :-1] + part[:, 1:]) / 2 if moved[0] != whole[0] else part[:, :-1]
    part = (part[:-1] + part[1:]) / 2 if moved[1] != whole[1] else part[:-1]
    return part
