"""Which classes and directions of change sentences name rightly. Needs facts or land-cover maps, not references.

n-gram scores reward fluent falsehoods: "a pond is replaced with trees" shares five of six words with the truth that
trees were replaced with a pond. Here each class that a sentence claims was lost or gained is right or false.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError
from ..landcover import CLASSES
from ..language.claims import claims

Change = tuple[str, str]  # class before, class after


class Tally(NamedTuple):
    """Classes lost and gained in one pair."""

    right: int  # claimed and true
    claimed: int
    true: int


SHARE = 0.01  # of a pair's pixels: in SECOND's maps less is mostly the rim of something else


def from_maps(sem_a: ArrayLike, sem_b: ArrayLike, share: float = SHARE) -> frozenset[Change]:
    """The changes of class between two maps, each of at least ``share`` of all pixels.

    Args:
        sem_a: Classes before ``(H, W)``, indices of ``landcover.CLASSES``; 0 is unlabelled and no part of any change.
        sem_b: Classes after ``(H, W)``.
        share: The smallest part of the pixels, in (0, 1], that makes a change one to be named.

    Raises:
        DataError: The maps differ in size or are empty, a class is unknown, or ``share`` is out of range.
    """
    a, b = np.asarray(sem_a), np.asarray(sem_b)
    if a.shape != b.shape or not a.size:
        raise DataError(f"both maps must have the same size and a pixel at least, got {a.shape} and {b.shape}")
    if not 0 < share <= 1:
        raise DataError(f"share must be in (0, 1], got {share}")
    for classes in (a, b):
        if classes.dtype.kind not in "ui" or classes.min() < 0 or classes.max() >= len(CLASSES):
            raise DataError(
                f"a map must hold whole numbers from 0 to {len(CLASSES) - 1}, "
                f"got {classes.dtype} from {classes.min()} to {classes.max()}; see data.palette.to_classes"
            )
    count = np.bincount(a.ravel().astype(int) * len(CLASSES) + b.ravel(), minlength=len(CLASSES) ** 2)
    named = range(1, len(CLASSES))
    return frozenset(
        (CLASSES[i], CLASSES[j])
        for i, j in product(named, named)
        if i != j and count[i * len(CLASSES) + j] >= share * a.size
    )


def class_scores(hypotheses: Mapping[str, str], changes: Mapping[str, Collection[Change]]) -> dict:
    """Precision and recall of the classes that sentences say were lost and gained, over all pairs.

    What counts is a class lost or gained in a pair, once however often it is said or true. A sentence that names the
    right classes in swapped roles has two false claims and misses two; one that says nothing misses all. A pair that
    did not change has its say: whatever is claimed of it is false.

    Args:
        hypotheses: One sentence for at least each id of ``changes``.
        changes: The true changes (class before, class after) of each pair, none for a pair that did not change.

    Returns:
        ``{"precision", "recall", "f1", "claimed", "right", "support", "false_claims", "classes": {class: {"lost":
        {...}, "gained": {...}}}, "directions": {"tree>building": {...}}, "direction": {...}}``. Every ``{...}`` has the
        same seven entries: of a class in a role, of one direction, and of all directions together; "support" is how
        many are true, "false_claims" those claimed wrongly. A half claim ("a house is built") names a class and no
        direction. Precision is None where nothing is claimed, recall where nothing is true, f1 where neither is.

    Raises:
        DataError: A sentence is missing, or there is no change in any pair.
    """
    if missing := [i for i in changes if i not in hypotheses]:
        raise DataError(f"no sentence for {len(missing)} of {len(changes)} pairs with changes, such as {missing[0]!r}")
    if not any(changes.values()):
        raise DataError(f"no change of class in {len(changes)} pairs; classes are scored on data with changed pairs")
    roles, directions = _Counts(), _Counts()
    for i, true in changes.items():
        said = claims(hypotheses[i])
        roles.add(_roles(said), _roles(true))
        directions.add({(a, b) for a, b in said if a and b}, set(true))
    return {
        **_scores(roles.total()),
        "classes": {
            name: {role: _scores(roles.of((role, name))) for role in ("lost", "gained")} for name in CLASSES[1:]
        },
        "directions": {f"{a}>{b}": _scores(directions.of((a, b))) for a, b in directions.seen()},
        "direction": _scores(directions.total()),
    }


def tallies(hypotheses: Mapping[str, str], changes: Mapping[str, Collection[Change]]) -> dict[str, Tally]:
    """What `class_scores` sums over pairs: the classes lost and gained of each pair of ``changes``."""
    found = {}
    for i, true in changes.items():
        said, fact = _roles(claims(hypotheses[i])), _roles(true)
        found[i] = Tally(len(said & fact), len(said), len(fact))
    return found


class _Counts:
    """What was claimed, what is true, and what is both, counted by kind over pairs."""

    def __init__(self) -> None:
        self.claimed: Counter[Change] = Counter()
        self.true: Counter[Change] = Counter()
        self.right: Counter[Change] = Counter()

    def add(self, claimed: set[Change], true: set[Change]) -> None:
        self.claimed.update(claimed)
        self.true.update(true)
        self.right.update(claimed & true)

    def of(self, kind: Change) -> tuple[int, int, int]:
        return self.claimed[kind], self.true[kind], self.right[kind]

    def total(self) -> tuple[int, int, int]:
        return self.claimed.total(), self.true.total(), self.right.total()

    def seen(self) -> list[Change]:
        return sorted(self.claimed.keys() | self.true.keys())


def _roles(changes: Collection[tuple[str | None, str | None]]) -> set[Change]:
    lost = {("lost", before) for before, _ in changes if before}
    return lost | {("gained", after) for _, after in changes if after}


def _scores(counts: tuple[int, int, int]) -> dict[str, float | int | None]:
    claimed, support, right = counts
    return {
        "precision": right / claimed if claimed else None,
        "recall": right / support if support else None,
        "f1": 2 * right / (claimed + support) if claimed + support else None,
        "claimed": claimed,
        "support": support,
        "right": right,
        "false_claims": claimed - right,
    }
