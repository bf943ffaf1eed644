"""The pairs that a benchmark tries, decoded once and held as bytes in the size in which they are stored."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from preprocess import Pair

from .. import data as data_sets
from ..data.dataset import PairDataset
from ..errors import DataError
from ..evaluation.baselines import changed
from ..io.json_file import read_json
from .grid import choose

SIMULATED = "synth"  # what simulated pairs are called
RENDERED = 256  # side at which simulated pairs are corrupted, whatever the size they are stored in


@dataclass(frozen=True)
class Pairs:
    """Chosen pairs of a split, those of the grid first.

    Attributes:
        dataset: What the data set is called; corruptions are drawn by this name.
        split: Of the data set.
        images: ``(P, 3, H, W)`` uint8 each, and maps ``(P, H, W)`` where they were read.
        ids: Of the pairs.
        count: How many of them the grid is tried on; on all of them the clean conditions are.
        references: The captions of every pair of the split: document frequencies come from all of them.
        changed: Whether each pair of the split changed.
    """

    dataset: str
    split: str
    images: Pair
    ids: tuple[str, ...]
    count: int
    references: Mapping[str, tuple[str, ...]]
    changed: Mapping[str, bool]

    @cached_property
    def hashes(self) -> list[str]:
        """Of each pair, SHA-256 of the pixels of both images."""
        return _hashes(self.images.a, self.images.b)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells this data set from another, whichever pairs were chosen: a folder of results belongs to it."""
        told: list[Any] = [[i, list(self.references[i]), self.changed[i]] for i in sorted(self.references)]
        for kind in (True, False):  # whose first is always chosen
            told += [self.hashes[n] for n, i in enumerate(self.ids) if self.changed[i] is kind][:1]
        sha256 = _sha256(told)
        return {"data": self.dataset, "split": self.split, "pairs": len(self.references), "sha256": sha256}

    def number(self, is_clean: bool) -> int:
        """How many of the pairs, from the first, are tried."""
        return len(self.ids) if is_clean else self.count

    def digest(self, number: int, maps: bool) -> str:
        """SHA-256 of the first ``number`` pairs, their names, pixels and perhaps ``maps``."""
        if (number, maps) not in self._digests:
            _, _, *sems = self.images
            classes = _hashes(*(sem[:number] for sem in sems if sem is not None)) if maps else []
            self._digests[number, maps] = _sha256([self.ids[:number], self.hashes[:number], classes])
        return self._digests[number, maps]

    @cached_property
    def _digests(self) -> dict[tuple[int, bool], str]:
        return {}


def read(
    data: PairDataset | Mapping[str, Any],
    count: int | None = 200,
    clean: int | None = 1000,
    maps: bool = False,
    workers: int = 2,
    progress: bool = False,
) -> Pairs:
    """Choose pairs, see :func:`grid.choose`, and decode them.

    Args:
        data: A data set, or the arguments of :func:`changecap.data.load`, ``split`` ``"test"`` unless given. Without
            ``size`` corruptions act on the files' own, and simulated pairs below 256 pixels are rendered at 256.
        count: Pairs of the grid, None for all.
        clean: Pairs of the clean conditions, at least ``count``; None for all.
        maps: Whether maps are needed.
        workers: Threads that decode.
        progress: Whether a bar is shown.

    Raises:
        DataError: The data are broken or of several sizes, lack captions or maps, or hold nothing.
    """
    if isinstance(data, PairDataset):
        dataset, name = data, data.split
    else:
        given = {"split": "test", **data, "maps": maps}
        dataset, name = data_sets.load(**given), str(given["name"])
    examples = {example.id: example for example in dataset.examples}
    bare = next((example.id for example in dataset.examples if not example.captions), None)
    if not examples or bare is not None:
        what = "no pair" if bare is None else f"no caption for {bare!r}"
        raise DataError(f"{what} in the split {dataset.split!r}; a benchmark needs pairs with their true sentences")
    blind = next((e.id for e in dataset.examples if e.sem_a is None or e.sem_b is None), None)
    if maps and (blind is not None or not dataset.maps):
        raise DataError(
            f"a captioner takes maps, and {blind or 'every pair'!r} of the split {dataset.split!r} was read without; "
            "give data with maps, or captioners that were trained with inputs=rgb"
        )
    flags = {i: changed(example) for i, example in examples.items()}
    grid = choose(flags, count)
    many = choose(flags, None if clean is None or count is None else max(clean, count))
    ids = tuple(dict.fromkeys([*grid, *many]))
    place = {example.id: n for n, example in enumerate(dataset.examples)}
    chosen = [place[i] for i in ids]
    simulated = None if isinstance(data, PairDataset) else _simulation(Path(data["root"]))
    if simulated is not None:
        name = SIMULATED  # it is laid out as another data set
    if simulated is not None and simulated["size"] < RENDERED and dataset.size is None:
        images = _rendered(simulated["seed"], ids, maps, progress)
    else:
        images = _decoded(dataset, chosen, maps, workers, progress)
    references = {i: example.captions for i, example in examples.items()}
    return Pairs(name, dataset.split, images, ids, len(grid), references, flags)


def _decoded(dataset: PairDataset, chosen: Sequence[int], maps: bool, workers: int, progress: bool) -> Pair:
    some = PairDataset(
        [dataset.examples[n] for n in chosen],
        dataset.split,
        dataset.size,
        maps,
        dataset.palette,
        dataset.bands,
        dataset.scale,
        dataset.prepare,
    )
    return Pair.stack(list(some.pairs(workers, progress, "reading")))


def _simulation(root: Path) -> dict[str, Any] | None:
    """The numbers that the data set in ``root`` was simulated with, None where it was not."""
    from ..data.synthetic.write import PARAMETERS, VERSION

    path = root / PARAMETERS
    if not path.is_file():
        return None
    found: dict[str, Any] = read_json(path)
    if found.get("version") != VERSION:
        raise DataError(
            f"{root} was simulated by version {found.get('version')} of the simulator, and this is version {VERSION}, "
            "which draws other pixels; remove the folder, and it is simulated anew"
        )
    return found


def _rendered(seed: int, ids: Sequence[str], maps: bool, progress: bool) -> Pair:
    """Simulated pairs as they look at 256 pixels; scenes and captions are those of any size."""
    from ..data.synthetic import render_pair

    numbers = [int(Path(i).stem) for i in ids]
    bar = tqdm(numbers, desc="rendering", unit="pair", disable=not progress)
    drawn = [[torch.from_numpy(x) for x in render_pair(seed, number, RENDERED)[: 4 if maps else 2]] for number in bar]
    return Pair.stack([Pair(a.permute(2, 0, 1), b.permute(2, 0, 1), *maps_of) for a, b, *maps_of in drawn])


def _hashes(*columns: Tensor) -> list[str]:
    """SHA-256 of each row of all ``columns``."""
    rows = zip(*columns, strict=True)
    return [hashlib.sha256(b"".join(x.contiguous().numpy().tobytes() for x in row)).hexdigest() for row in rows]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
