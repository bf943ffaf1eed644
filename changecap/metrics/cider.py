"""CIDEr-D (sigma 6, n = 1..4, no stemming): what this field and coco-caption call CIDEr."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ngrams import ORDERS, Floats, Ints, Ngrams, Overlap

_SIGMA = 6.0  # words; width of the penalty for a length that differs


def idf(o: Overlap, chosen: NDArray[np.bool_] | None = None) -> Floats:
    """Inverse document frequency ``(G,)`` of each n-gram; a document is all references of one pair.

    Args:
        o: The scored pairs.
        chosen: ``(P,)`` the pairs that are documents, all by default; at least one.
    """
    pairs, grams = o.pairs, o.seen
    if chosen is not None:
        pairs, grams = int(chosen.sum()), o.seen[chosen[o.pair]]
    return np.log(pairs) - np.log(np.maximum(np.bincount(grams, minlength=len(o.ngrams.order)), 1))


def cider(o: Overlap, weight: Floats) -> Floats:
    """CIDEr-D in [0, 10] of every pair ``(P,)``, given `idf` ``(G,)``; a set's score is the mean over its pairs.

    With one pair only, every idf is 0 and so is the score, as in coco-caption.
    """
    table, pairs = o.ngrams, o.pairs
    gram = table.gram[o.entry]
    cell = o.reference * ORDERS + table.order[gram]
    dot = np.bincount(cell, np.minimum(o.ours, o.theirs) * o.theirs * weight[gram] ** 2, len(o.owner) * ORDERS)
    norm = norms(table, weight)
    cosine = _ratio(dot.reshape(-1, ORDERS), norm[o.owner] * norm[pairs:])  # (R, 4)
    bigrams = _bigrams(table.words)
    near = _near(bigrams[o.owner] - bigrams[pairs:])
    return 10 * np.bincount(o.owner, cosine.mean(1) * near, pairs) / np.bincount(o.owner, minlength=pairs)


def against_all(table: Ngrams, weight: Floats) -> Floats:
    """CIDEr-D ``(R,)`` of every sentence with all R sentences as its references.

    In time linear in the words: min(x, y) y is a sum over k of [x >= k] [y >= k] y, so the references fold into one
    vector for each of their lengths.
    """
    norm = norms(table, weight)  # (R, 4)
    lengths, length = np.unique(_bigrams(table.words), return_inverse=True)
    times = table.count
    entry = np.repeat(np.arange(len(times)), times)  # (X,) an entry once for each time its n-gram stands there
    nth = np.arange(len(entry)) - np.repeat(times.cumsum() - times, times)
    feature = np.unique(table.gram[entry] * (times.max(initial=1)) + nth, return_inverse=True)[1]
    gram, row = table.gram[entry], table.row[entry]
    order = table.order[gram]

    unit = _ratio(weight[gram], norm[row, order])  # (X,) each sentence's share of a cosine, so far without counts
    cells = feature * len(lengths) + length[row]
    folded = np.bincount(cells, unit * times[entry], (int(feature.max(initial=-1)) + 1) * len(lengths))
    seen = folded.reshape(-1, len(lengths)) @ _near(lengths[:, None] - lengths)  # from each length
    cosine = np.bincount(row, unit * seen[feature, length[row]], len(table.words))
    return 10 * cosine / ORDERS / len(table.words)


def norms(table: Ngrams, weight: Floats) -> Floats:
    """Length ``(R, 4)`` of each sentence's tf-idf vector, order by order."""
    cell = table.row * ORDERS + table.order[table.gram]
    squares = np.bincount(cell, (table.count * weight[table.gram]) ** 2, len(table.words) * ORDERS)
    return np.sqrt(squares).reshape(-1, ORDERS)


def _ratio(x: NDArray[Any], y: Floats) -> Floats:
    """Divide, with 0 where the divisor is 0."""
    return np.divide(x, y, out=np.zeros(x.shape), where=y > 0)


def _bigrams(words: Ints) -> Ints:
    """Length as coco-caption takes it: the number of bigrams."""
    return np.maximum(words - 1, 0)


def _near(gap: Ints) -> Floats:
    return np.exp(-(gap**2) / (2 * _SIGMA**2))
