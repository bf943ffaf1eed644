"""What the captions of the most similar training pair score: the baseline that looks things up."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.dataset import PairDataset
from ..errors import DataError
from ..landcover import PALETTE

_GRID = 16  # cells per side of what the nearest pair is looked up by
_CHUNK = 128  # pairs read at a time


def nearest(train: PairDataset, test: PairDataset, maps: bool, limit: int | None = None) -> dict[str, dict[str, str]]:
    """The first caption of the training pair that is nearest to each pair, both lookups in one reading of the files.

    "nearest_rgb" compares the difference of both images at 16 x 16; "nearest_maps", with ``maps``, the maps of both
    dates, one-hot at 16 x 16.
    """
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
