"""Captions that nobody should lose to: what is said without looking, or by looking up the most similar training pair.

Each baseline maps a test set to ``{id: sentence}``. Scores mean little until these rows stand beside them: half of the
pairs of a typical data set did not change, and five sentences cover that half.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .data.dataset import PairDataset
from .data.example import Example
from .data.palette import PALETTE
from .errors import DataError
from .flag import NOTHING
from .metrics import cider, ngrams, truth

_GRID = 16  # cells per side of what the nearest pair is looked up by
_CHUNK = 128  # pairs read at a time


def changed(example: Example) -> bool:
    """Whether the pair changed: its flag, or without one what its captions say."""
    return truth({example.id: example.captions})[example.id] if example.changed is None else example.changed


def constant(test: PairDataset, limit: int | None = None) -> dict[str, str]:
    """The same no-change sentence for every pair."""
    return {example.id: NOTHING for example in test.examples[:limit]}


def template(train: PairDataset, test: PairDataset, limit: int | None = None) -> dict[str, str]:
    """The most typical change caption for each pair that truly changed, the no-change sentence for the others.

    It is handed the true flag, so it shows what n-gram scores a perfect flag alone brings.
    """
    sentence = medoid([example.captions for example in train.examples if changed(example)])
    return {example.id: sentence if changed(example) else NOTHING for example in test.examples[:limit]}


def medoid(captions: list[tuple[str, ...]]) -> str:
    """The caption with the highest CIDEr-D against all captions, the first of equals.

    Args:
        captions: The captions of each pair; document frequencies count pairs.
    """
    if not captions:
        raise DataError("no changed pair among the training pairs, so there is no most typical change caption")
    everything = [sentence for sentences in captions for sentence in sentences]
    table = ngrams.count(everything)
    owner = np.repeat(np.arange(len(captions)), [len(sentences) for sentences in captions])
    documents = np.unique(owner[table.row] * len(table.order) + table.gram) % max(len(table.order), 1)
    frequency = np.bincount(documents, minlength=len(table.order))
    return everything[int(cider.against_all(table, np.log(len(captions)) - np.log(frequency)).argmax())]


def nearest_rgb(train: PairDataset, test: PairDataset, limit: int | None = None) -> dict[str, str]:
    """The first caption of the training pair whose difference image, 16 x 16, is the nearest."""
    return nearest(train, test, maps=False, limit=limit)["nearest_rgb"]


def nearest_maps(train: PairDataset, test: PairDataset, limit: int | None = None) -> dict[str, str]:
    """The first caption of the training pair whose maps of both dates, one-hot at 16 x 16, are the nearest."""
    return nearest(train, test, maps=True, limit=limit)["nearest_maps"]


def nearest(train: PairDataset, test: PairDataset, maps: bool, limit: int | None = None) -> dict[str, dict[str, str]]:
    """Both lookups in one reading of the files: "nearest_rgb" and, with ``maps``, "nearest_maps"."""
    examples = test.examples[:limit]
    if not train.examples:
        raise DataError(f"no pair in the split {train.split!r} to look captions up in")
    known = [torch.cat(parts) for parts in zip(*_small(train, len(train.examples), maps), strict=True)]
    found: list[list[Tensor]] = [[] for _ in known]
    for parts in _small(test, len(examples), maps):
        for indices, ours, theirs in zip(found, parts, known, strict=True):
            indices.append(torch.cdist(ours, theirs).argmin(1))
    return {
        name: {
            example.id: train.examples[i].captions[0]
            for example, i in zip(examples, torch.cat(indices).tolist() if indices else [], strict=True)
        }
        for name, indices in zip(("nearest_rgb", "nearest_maps"), found, strict=False)  # no maps, no second
    }


def _small(dataset: PairDataset, count: int, maps: bool) -> Iterator[list[Tensor]]:
    """Chunks of what the first ``count`` pairs are compared by: b - a ``(B, 768)`` and, with maps, ``(B, 2*S*256)``."""
    for start in range(0, count, _CHUNK):
        pair = dataset.batch(range(start, min(start + _CHUNK, count)))
        rows = [_cells(pair.b.float() / 255 - pair.a.float() / 255)]
        if maps:
            if pair.sem_a is None or pair.sem_b is None:
                raise DataError(f"no maps in the split {dataset.split!r}, so no pair can be looked up by its maps")
            both = torch.stack([pair.sem_a, pair.sem_b], 1)  # (B, 2, H, W)
            classes = torch.arange(len(PALETTE), dtype=both.dtype).view(-1, 1, 1)
            rows.append(_cells((both[:, :, None] == classes).flatten(1, 2).float()))  # one-hot, (B, 2*S, H, W)
        yield rows


def _cells(x: Tensor) -> Tensor:
    """Mean of each cell of the grid; ``(B, C, H, W)`` to ``(B, C * 256)``."""
    return F.adaptive_avg_pool2d(x, _GRID).flatten(1)


class Baseline(NamedTuple):
    """A row of the score card: its sentences and what it was given."""

    sentences: dict[str, str]
    inputs: str


def every(
    train: PairDataset, test: PairDataset, maps: bool, limit: int | None = None, maps_are: str = "true"
) -> dict[str, Baseline]:
    """All baselines that make sense, by name; the lookup by maps only where maps go in.

    Args:
        train: Pairs whose captions may be used.
        test: Pairs to caption.
        maps: Whether semantic maps are an input.
        limit: Only the first so many test pairs.
        maps_are: What the maps of the test pairs are: "true" or other words.
    """
    inputs = {"nearest_rgb": "rgb", "nearest_maps": f"{maps_are} maps"}
    return {
        "constant": Baseline(constant(test, limit), "nothing"),
        "template": Baseline(template(train, test, limit), "true flag"),
        **{name: Baseline(found, inputs[name]) for name, found in nearest(train, test, maps, limit).items()},
    }
