"""What captioners are shown: pairs after a corruption and what is done about it, made once for all captioners."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from preprocess import Chain, Pair, build, corrupt
from preprocess.corruption import CORRUPTIONS, as_float, parameters

from .grid import ORACLE, Grid, Setting, steps
from .pairs import Pairs

_CHUNK = 32  # pairs worked on at a time


class Look(NamedTuple):
    """How a captioner sees a pair: ``prepare`` of its checkpoint, then its size; None leaves the pair as it is."""

    prepare: Chain | None
    size: int | None
    maps: bool

    @property
    def key(self) -> str:
        """Equal for captioners that see the same."""
        return f"{None if self.prepare is None else self.prepare.config} {self.size} {self.maps}"

    def __call__(self, pair: Pair) -> Pair:
        """The batched ``pair`` as it is seen, uint8."""
        pair = pair if self.maps else pair._replace(sem_a=None, sem_b=None)
        pair = pair if self.prepare is None else self.prepare(pair)
        return pair if self.size is None else pair.resize(self.size)


@lru_cache
def is_undone(setting: Setting) -> bool:
    """Whether what ``setting`` does to a pair has an inverse: whether it is a plane motion."""
    name = setting.corruption
    return name is not None and "matrix" in parameters(name, setting.severity, ["any"], "any")


def views(
    pairs: Pairs,
    setting: Setting,
    wanted: Mapping[str, Sequence[Look]],
    grid: Grid,
    device: str = "cpu",
) -> dict[tuple[str, str], Pair]:
    """What is seen in one setting.

    Args:
        pairs: Those to show; of the clean setting all, of others those of the grid.
        setting: What happens to them.
        wanted: For each variant, who looks.
        grid: Says which side suffers, and the seed.
        device: Where the work is done.

    Returns:
        Variant and key of a look -> the pairs ``(P, ...)`` as they are seen, uint8, on the CPU.
    """
    number = pairs.number(setting.corruption is None and setting.maps is None)
    found: dict[tuple[str, str], list[Pair]] = {}
    chains = {name: build([name]).eval() for variant in wanted for name in steps(variant)}
    for start in range(0, number, _CHUNK):
        places = range(start, min(start + _CHUNK, number))
        worse = shown(pairs, places, setting, grid, device)
        after: dict[tuple[str, ...], Pair] = {(): worse}  # steps -> pair: variants share how they begin
        for variant, looks in wanted.items():
            if variant == ORACLE:
                pair = _undone(worse, pairs.ids[start : places.stop], pairs.dataset, setting, grid)
            else:
                names = steps(variant)
                for n in range(1, len(names) + 1):
                    if names[:n] not in after:
                        after[names[:n]] = chains[names[n - 1]](after[names[: n - 1]])
                pair = after[names]
            for look in {look.key: look for look in looks}.values():
                found.setdefault((variant, look.key), []).append(look(pair).to("cpu"))
    return {key: _joined(parts) for key, parts in found.items()}


def shown(pairs: Pairs, places: range, setting: Setting, grid: Grid, device: str = "cpu") -> Pair:
    """Pairs ``places`` after what ``setting`` does to them, in the size they are stored in, uint8."""
    rows = slice(places.start, places.stop)
    clean = Pair(*(None if x is None else x[rows] for x in pairs.images)).to(device)  # type: ignore[arg-type]
    ids = pairs.ids[rows]
    if setting.corruption is not None:
        return corrupt(clean, setting.corruption, setting.severity, ids, pairs.dataset, grid.seed, grid.side)
    if setting.maps in (None, "true"):
        return clean
    if clean.sem_a is None or clean.sem_b is None or pairs.images.sem_a is None or pairs.images.sem_b is None:
        raise ValueError(f"maps={setting.maps} needs pairs with maps")
    if setting.maps == "absent":
        return clean._replace(sem_a=torch.zeros_like(clean.sem_a), sem_b=torch.zeros_like(clean.sem_b))
    if setting.maps == "corrupted":
        moved = corrupt(clean, "viewpoint", 3, ids, pairs.dataset, grid.seed, "b")
        return clean._replace(sem_b=moved.sem_b)
    others = [(n + pairs.count // 2) % pairs.count for n in places]  # a changed pair gets those of an unchanged one
    sem_a, sem_b = (x[others].to(device) for x in (pairs.images.sem_a, pairs.images.sem_b))
    return clean._replace(sem_a=sem_a, sem_b=sem_b)


def _undone(worse: Pair, ids: Sequence[str], dataset: str, setting: Setting, grid: Grid) -> Pair:
    """Pairs with the plane motion of their setting taken back."""
    assert setting.corruption is not None
    drawn = parameters(setting.corruption, setting.severity, ids, dataset, grid.seed)
    inverse = torch.linalg.inv(drawn["matrix"])
    move = CORRUPTIONS[setting.corruption].apply

    def back(x: Tensor, sem: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return as_float(lambda y: move(y, matrix=inverse), x), None if sem is None else move(sem, matrix=inverse)

    a, b, sem_a, sem_b = worse
    if grid.side in ("a", "both"):
        a, sem_a = back(a, sem_a)
    if grid.side in ("b", "both"):
        b, sem_b = back(b, sem_b)
    return Pair(a, b, sem_a, sem_b)


def _joined(parts: Sequence[Pair]) -> Pair:
    columns = zip(*parts, strict=True)
    return Pair(*(None if column[0] is None else torch.cat(column) for column in columns))  # type: ignore[arg-type]
