"""What stands where on both dates: geometry in a world of 256 x 256 units, no pixels.

Nine parcels, one per cell of a 3 x 3 grid, are divided by warped borders, roads and perhaps a river; neighbours of one
land cover may be one field, and a parcel may be split in two. Most parcels hold a plot: an area of its own land cover,
a group of buildings, or a sports ground. A change is a plot that differs between the dates; unchanged pairs have the
same kinds of plots.

The facts are drawn first and do not depend on what the scene looks like: the look may change, the captions stay.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import hypot

import numpy as np

from ...landcover import CLASSES
from ...language.facts import PLACES, Fact

WORLD = 256.0
CELL = WORLD / 3
WATER, GROUND, LOW, TREE, BUILDING, PLAYGROUND = range(1, 7)
# What can be built on, and what is left when buildings go.
OPEN = (GROUND, LOW, TREE)
# What a plot holds; what stands here more than once is more frequent.
STATES = (WATER, GROUND, LOW, TREE, BUILDING, BUILDING, BUILDING, PLAYGROUND)
# The changes that happen: from, to. Buildings are built and pulled down most of all.
KINDS = (
    (GROUND, BUILDING), (GROUND, BUILDING), (LOW, BUILDING), (LOW, BUILDING), (TREE, BUILDING), (BUILDING, GROUND),
    (BUILDING, GROUND), (BUILDING, LOW), (GROUND, PLAYGROUND), (LOW, PLAYGROUND), (PLAYGROUND, GROUND), (LOW, GROUND),
    (GROUND, LOW), (TREE, GROUND), (GROUND, TREE), (TREE, LOW), (WATER, GROUND), (GROUND, WATER), (LOW, WATER),
)  # fmt: skip
MAX_BUILDINGS = 5
# Where buildings of one group stand, in steps of the lattice: two rows of three.
_LATTICE = ((-1, -0.5), (0, -0.5), (1, -0.5), (-1, 0.5), (0, 0.5), (1, 0.5))


@dataclass(frozen=True)
class Box:
    """A building or a sports ground: an upright rectangle turned by ``angle`` (radians), in units.

    ``notch`` is the corner cut off an L-shaped building: where it begins along and across, in half sizes and signed.
    """

    x: float
    y: float
    width: float
    depth: float
    angle: float
    style: int
    height: float = 0.0
    notch: tuple[float, float] | None = None


@dataclass(frozen=True)
class Plot:
    """What one parcel holds: an area filled with one land cover, and what stands on it."""

    fill: int  # class of the area
    boxes: tuple[Box, ...] = ()
    kind: int = 0  # BUILDING, PLAYGROUND, or 0: nothing stands there


@dataclass(frozen=True)
class Split:
    """The far side of a parcel that is cut by a line beyond its plot."""

    angle: float  # of the line's normal, radians
    offset: float  # of the line from the parcel's middle, units
    cover: int
    style: int


@dataclass(frozen=True)
class Parcel:
    """One of the nine parcels and its plot on both dates (``None``: no plot)."""

    x: float
    y: float
    cover: int  # class around the plot
    style: int
    radius: float
    lobes: np.ndarray  # amplitude and phase of the outline's waves (3, 2)
    before: Plot | None = None
    after: Plot | None = None
    rows: float = 0.0  # direction of the furrows, radians
    square: bool = False  # a field rather than a blob
    split: Split | None = None
    drive: int | None = None  # the neighbour that an access road leads towards

    @property
    def changed(self) -> bool:
        """Whether the plot differs between the dates."""
        return self.before != self.after

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """What stands in the parcel on either date."""
        for plot in (self.before, self.after):
            if plot is not None and plot.boxes:
                return plot.boxes
        return ()

    @cached_property
    def reach(self) -> float:
        """How far the plot extends from the parcel's middle, units."""
        reach = 1.15 * self.radius if self.before else 12.0
        for box in self.boxes:
            corner = hypot(box.x - self.x, box.y - self.y) + 0.5 * hypot(box.width, box.depth)
            reach = max(reach, corner)
        return reach


@dataclass(frozen=True)
class Light:
    """How one date was taken."""

    sun: float  # azimuth of the shadows, radians
    shadow: float  # their length per unit of height
    gain: np.ndarray  # per channel
    haze: float  # share of white mixed in at the most
    haze_waves: np.ndarray
    season: float  # -1 dry .. 1 lush
    shift: tuple[float, float]  # units
    noise: float  # sensor noise, 8-bit steps
    noise_seed: int


@dataclass(frozen=True)
class Scene:
    """One place on two dates."""

    parcels: tuple[Parcel, ...]
    warp: np.ndarray  # waves that bend the borders (2, 4, 4): kx, ky, phase, amplitude
    roads: np.ndarray  # half width of the road between parcels i and j, 0: none (9, 9)
    hedges: np.ndarray  # half width of the hedge between parcels i and j, 0: none (9, 9)
    river: np.ndarray | None  # direction (2), offset, half width, then the wave of its course (3)
    trees: np.ndarray  # single trees: x, y, radius (n, 3)
    cars: np.ndarray  # per date: which point of the roads in [0, 1), colour in [0, 1) (2, n, 2)
    tint: np.ndarray  # colour offset of each parcel, its plot and its far side (27, 3)
    origin: np.ndarray  # where the textures are read from (2,)
    lights: tuple[Light, Light]
    facts: tuple[Fact, ...] = field(default=())


def draw_scene(draw: np.random.Generator) -> Scene:
    """Draw one scene: half do not change; of those that do, half have one change, the others two or, rarely, three."""
    stays_as_it_is = draw.random() < 0.5
    changes = 0 if stays_as_it_is else int(draw.choice(3, p=(0.5, 0.46, 0.04))) + 1
    river = _river(draw) if draw.random() < 0.3 else None
    covers = draw.choice(OPEN, size=9, p=(0.36, 0.4, 0.24))
    parcels = [_parcel(i, int(covers[i]), draw) for i in range(9)]

    parcels, facts = _plots(parcels, river, changes, draw)
    parcels, merged, roads, hedges = _landscape(parcels, draw)

    # What is drawn here is drawn in this order: another order gives other scenes for the same seed.
    warp = np.stack([_waves(4, 5.0, draw) for _ in range(2)])
    trees = _trees(draw)
    cars = draw.random((2, int(draw.integers(0, 9)), 2))
    tint = _tint(merged, draw)
    origin = draw.integers(0, 1 << 20, 2)
    light_before = _light(draw, still=True)
    light_after = _light(draw)

    if river is not None and _floods(parcels, river):
        river = None
    return Scene(
        parcels=tuple(parcels),
        warp=warp,
        roads=roads,
        hedges=hedges,
        river=river,
        trees=trees,
        cars=cars,
        tint=tint,
        origin=origin,
        lights=(light_before, light_after),
        facts=tuple(facts),
    )


def _plots(
    parcels: list[Parcel], river: np.ndarray | None, changes: int, draw: np.random.Generator
) -> tuple[list[Parcel], list[Fact]]:
    """The parcels with what stands on them on both dates, ``changes`` of them changed, and the facts of these."""
    # Plots keep off the river, so that it never has to be told what became of one.
    free = []
    for i, parcel in enumerate(parcels):
        if river is None or _river_distance(parcel, river) > parcel.radius + 10:
            free.append(i)
    order = [int(i) for i in draw.permutation(free)]
    changed = order[:changes]

    settled, facts = [], []
    for i, parcel in enumerate(parcels):
        if i in changed:
            before, after = _change(parcel, draw)
            facts.append(_fact(before, after, i))
            settled.append(replace(parcel, before=before, after=after))
        elif i in order and draw.random() < 0.6:
            plot = _plot(parcel, int(draw.choice(STATES)), draw)
            settled.append(replace(parcel, before=plot, after=plot))
        else:
            settled.append(parcel)
    return settled, facts


def _parcel(i: int, cover: int, draw: np.random.Generator) -> Parcel:
    """A parcel whose middle stays well inside its cell and off the image's edge."""
    row, column = divmod(i, 3)
    x = _inside_its_cell(column, draw)
    y = _inside_its_cell(row, draw)
    amplitudes, phases = draw.uniform(0.02, 0.12, 3), draw.uniform(0, 2 * np.pi, 3)
    lobes = np.stack([amplitudes, phases], axis=1)
    return Parcel(x, y, cover, int(draw.integers(8)), draw.uniform(20, 34), lobes)


def _inside_its_cell(cell: int, draw: np.random.Generator) -> float:
    """One coordinate of a parcel's middle; outer cells draw it towards the middle of the image."""
    inwards = 5 * (cell - 1)
    return (cell + 0.5) * CELL + draw.uniform(-11, 11) - inwards


def _change(parcel: Parcel, draw: np.random.Generator) -> tuple[Plot, Plot]:
    """Two different states of one plot; in half the cases one of them is the land cover around it."""
    here = [kind for kind in KINDS if parcel.cover in kind]
    kinds = here if draw.random() < 0.5 else list(KINDS)
    source, target = kinds[int(draw.integers(len(kinds)))]

    built = max(source, target)
    if built not in (BUILDING, PLAYGROUND):
        return Plot(source), Plot(target)
    ground = min(source, target)
    empty = Plot(ground)
    full = Plot(ground, _boxes(parcel, built, draw), built)
    return (empty, full) if target == built else (full, empty)


def _plot(parcel: Parcel, state: int, draw: np.random.Generator) -> Plot:
    if state not in (BUILDING, PLAYGROUND):
        return Plot(state)
    # Half of what is built stands on the land cover of its parcel.
    fill = parcel.cover if draw.random() < 0.5 else int(draw.choice(OPEN))
    return Plot(fill, _boxes(parcel, state, draw), state)


def _fact(before: Plot, after: Plot, place: int) -> Fact:
    count = max(_things(before), _things(after))
    source, target = before.kind or before.fill, after.kind or after.fill
    return Fact(CLASSES[source], CLASSES[target], count, PLACES[place])


def _things(plot: Plot) -> int:
    """Buildings are counted, everything else is one."""
    return len(plot.boxes) if plot.kind == BUILDING else 1


def _boxes(parcel: Parcel, kind: int, draw: np.random.Generator) -> tuple[Box, ...]:
    """One sports ground, or one to five buildings on a turned 3 x 2 lattice, with room between them."""
    angle = float(draw.uniform(-0.35, 0.35) + draw.choice((0, np.pi / 2)))
    if kind == PLAYGROUND:
        width, depth = draw.uniform(36, 48), draw.uniform(24, 32)
        return (Box(parcel.x, parcel.y, width, depth, angle, int(draw.integers(4))),)

    count = int(draw.integers(1, MAX_BUILDINGS + 1))
    style = int(draw.integers(7))
    taken = draw.permutation(6)[:count] if count > 1 else draw.choice((1, 4), 1)
    spots = [_LATTICE[int(k)] for k in sorted(taken)]
    spacing = draw.uniform(24, 26, 2)

    # The group stands round the parcel's middle.
    places = np.subtract(spots, np.mean(spots, axis=0)) * spacing
    boxes = []
    for u, v in places:
        u, v = u + draw.uniform(-1, 1), v + draw.uniform(-1, 1)
        width, depth = draw.uniform(15, 18, 2) if count > 1 else draw.uniform(18, 28, 2)
        own = style if draw.random() < 0.7 else int(draw.integers(7))
        x = parcel.x + u * np.cos(angle) - v * np.sin(angle)
        y = parcel.y + u * np.sin(angle) + v * np.cos(angle)
        boxes.append(Box(x, y, width, depth, angle, own, draw.uniform(3, 8)))
    return tuple(boxes)


def _waves(count: int, amplitude: float, draw: np.random.Generator) -> np.ndarray:
    """``count`` plane waves (kx, ky, phase, amplitude) with wavelengths of 40 to 160 units."""
    turn = draw.uniform(0, 2 * np.pi, count)
    length = draw.uniform(40, 160, count)
    phase = draw.uniform(0, 2 * np.pi, count)
    k = 2 * np.pi / length
    return np.stack([k * np.cos(turn), k * np.sin(turn), phase, amplitude * length / 100], axis=1)


def _river(draw: np.random.Generator) -> np.ndarray:
    """Direction, offset of the middle line, half width, and the waves of the bank (4 numbers each)."""
    turn = draw.uniform(0, np.pi)
    x, y = draw.uniform(30, WORLD - 30, 2)
    waves = np.array([2 * np.pi / draw.uniform(90, 160), draw.uniform(0, 6.3), draw.uniform(6, 16)])
    c, s = np.cos(turn), np.sin(turn)
    half_width = draw.uniform(6, 11)
    return np.array([c, s, x * c + y * s, half_width, *waves])


def river_offset(x: np.ndarray, y: np.ndarray, river: np.ndarray) -> np.ndarray:
    """Signed distance (about) of points to the middle line of ``river``, units."""
    c, s, offset, _, k, phase, amplitude = river
    return x * c + y * s - offset + amplitude * np.sin(k * (y * c - x * s) + phase)


def _river_distance(parcel: Parcel, river: np.ndarray) -> float:
    offset = river_offset(np.array(parcel.x), np.array(parcel.y), river)
    return float(abs(offset) - river[3])


def _floods(parcels: list[Parcel], river: np.ndarray) -> bool:
    """Whether the river would run through what stands in a parcel."""
    for parcel in parcels:
        for box in parcel.boxes:
            offset = river_offset(np.array(box.x), np.array(box.y), river)
            if abs(offset) < river[3] + (box.width + box.depth) / 2:
                return True
    return False


def _landscape(
    parcels: list[Parcel], draw: np.random.Generator
) -> tuple[list[Parcel], np.ndarray, np.ndarray, np.ndarray]:
    """How the parcels lie in the land: the parcels; which of them are one field, the roads and hedges between them."""
    square, split, join_left, join_up, access = draw.random((5, 9))  # chances of each parcel
    rows = draw.uniform(0, np.pi, 9).tolist()
    split_angles = draw.uniform(0, 2 * np.pi, 9).tolist()
    split_covers = draw.choice(OPEN, 9).tolist()
    split_styles = draw.integers(8, size=9).tolist()

    merged, styles = _merged(parcels, join_left, join_up, rows)
    roads, hedges = _borders(parcels, merged, draw)
    notches = draw.random((3, 9, MAX_BUILDINGS)).tolist()
    corners = draw.integers(4, size=(9, MAX_BUILDINGS)).tolist()

    shaped = []
    for i, parcel in enumerate(parcels):
        notch = [part[i] for part in notches]
        before, after, drives = _built(parcel, corners[i], notch, access[i])
        cut = None
        # A large plot leaves no room for another field behind it.
        if split[i] < 0.6 and parcel.reach < 38:
            cut = Split(split_angles[i], parcel.reach + 4, split_covers[i], split_styles[i])
        shaped.append(
            replace(
                parcel,
                before=before,
                after=after,
                style=styles[i],
                rows=rows[i],
                square=bool(square[i] < 0.5),
                split=cut,
                drive=_nearest_road(parcels, i, roads) if drives else None,
            )
        )
    return shaped, merged, roads, hedges


def _merged(
    parcels: list[Parcel], join_left: np.ndarray, join_up: np.ndarray, rows: list[float]
) -> tuple[np.ndarray, list[int]]:
    """Which parcels are one field (9, 9), and the style of each; ``rows`` takes the direction of the field joined."""
    styles = [p.style for p in parcels]
    merged = np.eye(9, dtype=bool)
    for i, parcel in enumerate(parcels):
        left = i - 1 if i % 3 else -1
        up = i - 3
        for chance, j in ((join_left[i], left), (join_up[i], up)):
            same_cover = j >= 0 and parcels[j].cover == parcel.cover
            if same_cover and chance < 0.75:
                field_of_both = merged[i] | merged[j]
                merged[np.ix_(field_of_both, field_of_both)] = True
                styles[i], rows[i] = styles[j], rows[j]
    return merged, styles


def _built(
    parcel: Parcel, corners: list[int], notch: list[list[float]], chance: float
) -> tuple[Plot | None, Plot | None, bool]:
    """Both plots of ``parcel``, some buildings L-shaped now, and whether an access road leads to them."""
    before, after = parcel.before, parcel.after
    if before is None or after is None:
        return before, after, before is None and chance < 0.15
    if BUILDING not in (before.kind, after.kind):
        return before, after, False

    boxes = tuple(map(_notched, parcel.boxes, corners, *notch))
    if before.boxes:
        before = replace(before, boxes=boxes)
    if after.boxes:
        after = replace(after, boxes=boxes)
    return before, after, chance < 0.9


def _nearest_road(parcels: list[Parcel], i: int, roads: np.ndarray) -> int | None:
    """The nearest neighbour of parcel ``i`` with a road between them."""
    near = [j for j in range(9) if roads[i, j] > 0]
    parcel = parcels[i]
    return min(near, key=lambda j: hypot(parcels[j].x - parcel.x, parcels[j].y - parcel.y), default=None)


def _notched(box: Box, corner: int, chance: float, along: float, across: float) -> Box:
    """Some of the buildings with one corner cut off."""
    if chance > 0.4:
        return box
    sign_u = 1 - 2 * (corner % 2)
    sign_v = 1 - 2 * (corner // 2)
    return replace(box, notch=(sign_u * (0.25 * along + 0.05), sign_v * (0.25 * across + 0.05)))


def _borders(parcels: list[Parcel], merged: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half widths of the roads and of the hedges along the borders of neighbouring parcels."""
    chance, width = draw.random((2, 9, 9))
    x, y, reach = np.array([(p.x, p.y, p.reach) for p in parcels]).T
    gap = np.hypot(x - x[:, None], y - y[:, None])
    apart = gap > reach + reach[:, None] + 4
    room = np.triu(apart & ~merged)

    roads = np.where(room & (chance < 0.5), 1.5 + 1.8 * width, 0)
    hedges = np.where(room & (chance > 0.75), 1.2 + 1.2 * width, 0)
    return roads + roads.T, hedges + hedges.T


def _tint(merged: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Colour offsets, mostly of brightness; one field has one."""
    brightness, colour = draw.normal(0, 7, (27, 1)), draw.normal(0, 2, (27, 3))
    tint = brightness + colour
    tint[:9] = tint[merged.argmax(1)]
    return tint


def _trees(draw: np.random.Generator) -> np.ndarray:
    count = int(draw.integers(10, 50))
    x, y = draw.uniform(0, WORLD, (2, count))
    radius = draw.uniform(1.6, 3.6, count)
    return np.stack([x, y, radius], axis=1)


def _light(draw: np.random.Generator, still: bool = False) -> Light:
    """One date's light; ``still``: the date that the maps lie on, seen without a shift."""
    reach = 0.0 if still else 1.0
    return Light(
        # North is up and the sun in the south.
        sun=draw.uniform(-1.0, 0.0) * np.pi,
        shadow=draw.uniform(0.5, 1.4),
        gain=draw.uniform(0.95, 1.05) * draw.uniform(0.99, 1.01, 3),
        haze=draw.uniform(0, 0.08),
        haze_waves=_waves(2, 1.0, draw),
        season=draw.uniform(-0.4, 0.4),
        shift=(draw.uniform(-reach, reach), draw.uniform(-reach, reach)),
        noise=draw.uniform(1.5, 4.0),
        noise_seed=int(draw.integers(1 << 31)),
    )
