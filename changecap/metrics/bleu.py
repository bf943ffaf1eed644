"""BLEU-1..4 with the closest reference length, as coco-caption computes it (its two epsilons included)."""

import numpy as np

from .ngrams import ORDERS, Floats, Overlap

_TINY, _SMALL = 1e-15, 1e-9  # keep empty counts finite; the published values contain them


def statistics(o: Overlap) -> Floats:
    """Count what BLEU is made of.

    Returns:
        ``(P, 10)``: clipped matches for n = 1..4, guesses for n = 1..4, hypothesis length, closest reference length.
        They add up: BLEU of a set of pairs is `bleu` of the sum of its rows.
    """
    table, pairs = o.ngrams, o.pairs
    clipped = np.zeros(len(table.row), dtype=np.int64)
    np.maximum.at(clipped, o.entry, np.minimum(o.ours, o.theirs))  # the best of the references
    cell = table.row * ORDERS + table.order[table.gram]
    matches = np.bincount(cell, clipped, minlength=len(table.words) * ORDERS)[: pairs * ORDERS]
    length = table.words[:pairs]
    guesses = np.maximum(length[:, None] - np.arange(ORDERS), 0)

    reference = table.words[pairs:]
    by_distance = np.lexsort((reference, np.abs(reference - length[o.owner]), o.owner))  # ties go to the shorter
    first = np.unique(o.owner[by_distance], return_index=True)[1]
    closest = reference[by_distance[first]]
    return np.hstack([matches.reshape(pairs, ORDERS), guesses, length[:, None], closest[:, None]])


def bleu(counts: Floats) -> Floats:
    """BLEU-1..4 as fractions ``(..., 4)`` of `statistics` ``(..., 10)``, one pair's or a sum over pairs."""
    matches, guesses, ours, theirs = np.split(counts, [ORDERS, 2 * ORDERS, 2 * ORDERS + 1], axis=-1)
    precision = np.cumprod((matches + _TINY) / (guesses + _SMALL), axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (ours + _TINY) / (theirs + _SMALL)
    return precision * np.exp(np.minimum(1 - 1 / ratio, 0))  # brevity penalty
