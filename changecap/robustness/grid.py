"""What a robustness benchmark asks: which corruptions, severities and variants, and which pairs they are tried on.

A variant is what is done about a corruption before a captioner looks; what its own checkpoint prepares follows in every
variant. ``none`` does nothing; ``register``, ``illuminate`` or ``register+illuminate`` are steps of
:mod:`preprocess.pipeline`. ``oracle`` undoes what truly happened, the bound of all cures: a plane motion is taken back
by its inverse matrix, so that only what was interpolated or left the image is lost; all else has no inverse, and the
clean images stand in for it. The grid shows images alone, as true maps give the flag away; `MAPS` are a table of their
own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from preprocess import build
from preprocess.corruption import CORRUPTIONS, GROUPS, SIDES, named

from ..errors import ConfigError

HELD_OUT = "held_out"  # from any training
NONE, ORACLE = "none", "oracle"
SEVERITIES = (1, 2, 3, 4, 5)
MAPS = {
    "true": "the maps of the data",
    "absent": "maps without any label, as those of an unchanged pair",
    "corrupted": "the later map seen from elsewhere: viewpoint of severity 3",
    "another": "the maps of another pair",
}


class Setting(NamedTuple):
    """What happens to the pairs: nothing, where ``corruption`` is None; or which ``maps`` go in with clean images."""

    corruption: str | None = None
    severity: int = 0
    maps: str | None = None


class Condition(NamedTuple):
    """What a captioner is shown: a setting and the variant that follows it."""

    setting: Setting
    variant: str = NONE


CLEAN = Setting()


class Grid(NamedTuple):
    """All that is asked for; made by :func:`grid_of`."""

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    variants: tuple[str, ...]
    side: str
    seed: int

    @property
    def settings(self) -> list[Setting]:
        """Of the core grid, the clean one first."""
        return [CLEAN, *(Setting(name, s) for name in self.corruptions for s in self.severities)]


def group_of(corruption: str) -> str:
    """The group that ``corruption`` is in."""
    return next(group for group, names in GROUPS.items() if corruption in names)


def grid_of(
    corruptions: str | Sequence[str] = "all",
    severities: Sequence[int] = SEVERITIES,
    variants: Sequence[str] = (NONE, "register", "register+illuminate", ORACLE),
    side: str = "b",
    seed: int = 0,
) -> Grid:
    """The grid that these words ask for.

    Args:
        corruptions: ``all``, groups and names, in a list or with commas between.
        severities: from 1 to 5.
        variants: see the module; ``none`` is always among them, since it is what they are compared with.
        side: the date that suffers: ``"a"``, ``"b"``, or ``"both"``, alike.
        seed: of the corruptions' draws.

    Raises:
        ConfigError: one of them is not known; the message names the nearest.
    """
    asked = corruptions.split(",") if isinstance(corruptions, str) else corruptions
    try:
        wanted = named([name.strip() for name in asked])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if wrong := [s for s in severities if s not in SEVERITIES]:
        raise ConfigError(f"severities must be among 1, 2, 3, 4 and 5, got {wrong[0]!r}")
    if side not in SIDES:
        raise ConfigError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    for variant in variants:
        steps(variant)
    if not wanted:
        raise ConfigError(f"there is no corruption in {', '.join(asked)}; expected some of: {', '.join(CORRUPTIONS)}")
    return Grid(wanted, tuple(sorted(set(severities))), tuple(dict.fromkeys((NONE, *variants))), side, seed)


def steps(variant: str) -> tuple[str, ...]:
    """The steps of preprocessing that ``variant`` names; of ``none`` and ``oracle`` there are none.

    Raises:
        ConfigError: a step is not known, or is an augmentation.
    """
    if variant in (NONE, ORACLE):
        return ()
    names = tuple(variant.split("+"))
    try:
        chain = build(names)
    except ValueError as error:
        raise ConfigError(f"variant {variant!r}: {error}; or none, or oracle") from None
    if chain.draws:
        raise ConfigError(f"variant {variant!r} is an augmentation, which only training draws; give others")
    return names


def same_as(condition: Condition, is_undone: bool) -> Condition:
    """The condition whose images are those of ``condition``: where the oracle shows clean images, the clean one.

    Args:
        condition: any.
        is_undone: whether what its setting does to a pair has an inverse.
    """
    if condition.variant != ORACLE or (condition.setting.corruption is not None and is_undone):
        return condition
    return Condition(CLEAN)


def choose(changed: Mapping[str, bool], count: int | None) -> list[str]:
    """``count`` pairs of a data set, the same for everyone: changed and unchanged ones in its own proportion.

    Pairs stand in the order of the SHA-256 of their names, changed and unchanged ones apart, and the first of each are
    taken, so that few pairs are always among many.

    Args:
        changed: Whether each pair changed.
        count: How many; all where there are fewer, or where it is None.
    """
    order = sorted(changed, key=lambda i: hashlib.sha256(i.encode()).digest())
    kinds = [[i for i in order if changed[i] is kind] for kind in (True, False)]
    if count is None or count >= len(order):
        return [*kinds[0], *kinds[1]]
    some = round(count * len(kinds[0]) / len(order))
    if all(kinds) and count > 1:
        some = min(max(some, 1), count - 1)  # none of both kinds is left out
    return [*kinds[0][:some], *kinds[1][: count - some]]


def described(name: str, severity: int) -> dict[str, Any]:
    """What ``severity`` of a corruption is: ``level`` in its ``unit``."""
    corruption = CORRUPTIONS[name]
    return {"corruption": name, "level": corruption.levels[severity - 1], "unit": corruption.unit}
