"""CIDEr-D (sigma 6, n = 1..4, no stemming), what this field and coco-caption call CIDEr; and CIDEr without the D.

Vedantam et al. 2015; `cider_scorer.py` of coco-caption. Cosine of tf-idf vectors, the mean over n and over references,
times 10; the corpus value is the mean over pairs. CIDEr-D clips the hypothesis' counts and damps a length that differs.

Traps: document frequencies come from whatever is scored, so values of two sets, or of a set and its subset, cannot be
compared. An n-gram in every document weighs nothing: no-change pairs, which share their five sentences, score 0 for
any words, and so does one pair alone. Lengths are differences of bigram counts. Only the repositories of this field set
ln N = 1 for one pair alone (a perfect pair then scores 10); here, as in pycocoevalcap, it scores 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ngrams import ORDERS, Floats, Ints, Ngrams, Overlap

_SIGMA = 6.0  # words; width of the penalty for a length that differs


def idf(o: Overlap, chosen: NDArray[np.bool_] | None = None) -> Floats:
    """Inverse document frequency ``(G,)`` of each n-gram; a document is all references of one pair that has any.

    Args:
        o: The scored pairs.
        chosen: ``(P,)`` the pairs that are documents, all by default.
    """
    referenced = np.bincount(o.owner, minlength=o.pairs) > 0
    documents = referenced if chosen is None else referenced & chosen
    frequency = np.bincount(o.seen[documents[o.pair]], minlength=len(o.ngrams.order))
    return np.log(max(documents.sum(), 1)) - np.log(np.maximum(frequency, 1))


def cider(o: Overlap, weight: Floats) -> Floats:
    """CIDEr-D in [0, 10] of every pair ``(P,)``, given `idf` ``(G,)``; a set's score is the mean over its pairs.

    With one pair only, every idf is 0 and so is the score, as in coco-caption. Without references it is 0.
    """
    bigrams = _bigrams(o.ngrams.words)
    cosine = _cosine(o, np.minimum(o.ours, o.theirs), weight)
    return _mean(o, cosine * _near(bigrams[o.owner] - bigrams[o.pairs :]))


def plain(o: Overlap, weight: Floats) -> Floats:
    """CIDEr in [0, 10] of every pair ``(P,)``, as first defined: no count is clipped, no length damped."""
    return _mean(o, _cosine(o, o.ours, weight))


def both(o: Overlap, weight: Floats) -> dict[str, Floats]:
    """`cider` and `plain` by their names."""
    return {"CIDEr": cider(o, weight), "CIDEr_plain": plain(o, weight)}


def _cosine(o: Overlap, ours: Ints, weight: Floats) -> Floats:
    """Cosine ``(R,)`` of each reference and its hypothesis, whose shared n-grams count ``ours`` ``(M,)``; mean of n."""
    gram = o.ngrams.gram[o.entry]
    cell = o.reference * ORDERS + o.ngrams.order[gram]
    dot = np.bincount(cell, ours * o.theirs * weight[gram] ** 2, len(o.owner) * ORDERS)
    norm = norms(o.ngrams, weight)
    return _ratio(dot.reshape(-1, ORDERS), norm[o.owner] * norm[o.pairs :]).mean(1)


def _mean(o: Overlap, similarity: Floats) -> Floats:
    """Ten times the mean over each pair's references, ``(R,)`` to ``(P,)``."""
    total = np.bincount(o.owner, similarity, o.pairs)
    return 10 * total / np.maximum(np.bincount(o.owner, minlength=o.pairs), 1)


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
