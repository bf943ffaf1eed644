"""BLEU-1..4 with the closest reference length, as coco-caption computes it (its two epsilons included).

Papineni et al. 2002, option "closest" of `bleu_scorer.py` in coco-caption, which every repository of the field copies.
B_n = (product of clipped precisions for 1..n)^(1/n) times exp(1 - 1/rho) where rho, hypothesis over reference words, is
below 1. The corpus value is made of summed counts; it is not the mean of the pairs' values.

Traps: of two reference lengths equally far the shorter counts. Nothing is smoothed: the epsilons 1e-15 and 1e-9 turn
a count of 0 into 1e-4 to 1e-8, and a perfect sentence of two words, which has no trigram, has BLEU-3 0.01 and
BLEU-4 0.001.
"""

import numpy as np

from .ngrams import ORDERS, Floats, Ints, Overlap

_TINY, _SMALL = 1e-15, 1e-9  # keep empty counts finite; the published values contain them


def statistics(o: Overlap) -> Ints:
    """Count what BLEU is made of.

    Returns:
        ``(P, 10)``: clipped matches for n = 1..4, guesses for n = 1..4, hypothesis length, closest reference length.
        They add up: BLEU of a set of pairs is `bleu` of the sum of its rows. Without references, the closest length is
        the hypothesis' own.
    """
    table, pairs = o.ngrams, o.pairs
    clipped = np.zeros(len(table.row), dtype=np.int64)
    np.maximum.at(clipped, o.entry, np.minimum(o.ours, o.theirs))  # the best of the references
    cell = table.row * ORDERS + table.order[table.gram]
    matches = np.bincount(cell, clipped, len(table.words) * ORDERS)[: pairs * ORDERS].astype(np.int64)
    length = table.words[:pairs]
    guesses = np.maximum(length[:, None] - np.arange(ORDERS), 0)

    reference = table.words[pairs:]
    by_distance = np.lexsort((reference, np.abs(reference - length[o.owner]), o.owner))  # ties go to the shorter
    owners, first = np.unique(o.owner[by_distance], return_index=True)
    closest = length.copy()  # a pair without references neither causes nor cures a brevity penalty
    closest[owners] = reference[by_distance[first]]
    return np.hstack([matches.reshape(pairs, ORDERS), guesses, length[:, None], closest[:, None]])


def bleu(counts: Ints | Floats) -> Floats:
    """BLEU-1..4 as fractions ``(..., 4)`` of `statistics` ``(..., 10)``, one pair's or a sum over pairs."""
    matches, guesses, ours, theirs = np.split(counts, [ORDERS, 2 * ORDERS, 2 * ORDERS + 1], axis=-1)
    precision = np.cumprod((matches + _TINY) / (guesses + _SMALL), axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (ours + _TINY) / (theirs + _SMALL)
    return precision * np.exp(np.minimum(1 - 1 / ratio, 0))  # brevity penalty
