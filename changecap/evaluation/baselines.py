"""Captions that nobody should lose to: what is said without looking, or by looking up the most similar training pair.

Each baseline maps a test set to ``{id: sentence}``. Scores mean little until these rows stand beside them: half of the
pairs of a typical data set did not change, and five sentences cover that half.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.example import Example
from ..errors import DataError
from ..language.no_change import NOTHING
from ..metrics import cider, ngrams, truth

if TYPE_CHECKING:
    from ..data.dataset import PairDataset


class Baseline(NamedTuple):
    """A row of the score card: its sentences and what it was given."""

    sentences: Mapping[str, str]
    inputs: str


def every(
    train: "PairDataset", test: "PairDataset", maps: bool, limit: int | None = None, maps_are: str = "true"
) -> dict[str, Baseline]:
    """All baselines that make sense, by name; the lookup by maps only where maps go in.

    Args:
        train: Pairs whose captions may be used.
        test: Pairs to caption.
        maps: Whether semantic maps are an input.
        limit: Only the first so many test pairs.
        maps_are: What the maps of the test pairs are: "true" or other words.
    """
    from .nearest_neighbour import nearest

    inputs = {"nearest_rgb": "rgb", "nearest_maps": f"{maps_are} maps"}
    return {
        **blind(
            {example.id: changed(example) for example in test.examples[:limit]},
            [example.captions for example in train.examples if changed(example)],
        ),
        **{name: Baseline(found, inputs[name]) for name, found in nearest(train, test, maps, limit).items()},
    }


def blind(truths: Mapping[str, bool], captions: Sequence[Sequence[str]] | None) -> dict[str, Baseline]:
    """The baselines that take captions alone: "constant" and, where training captions are given, "template".

    The template is handed the true flag, so it shows what n-gram scores a perfect flag alone brings.

    Args:
        truths: Whether each pair to caption changed.
        captions: Those of each changed training pair.

    Raises:
        DataError: ``captions`` is empty.
    """
    rows = {"constant": Baseline(dict.fromkeys(truths, NOTHING), "nothing")}
    if captions is not None:
        sentence = medoid(captions)
        said = {i: sentence if changed else NOTHING for i, changed in truths.items()}
        rows["template"] = Baseline(said, "true flag")
    return rows


def changed(example: Example) -> bool:
    """Whether the pair changed: its flag, or without one what its captions say."""
    return truth({example.id: example.captions})[example.id] if example.changed is None else example.changed


def medoid(captions: Sequence[Sequence[str]]) -> str:
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
