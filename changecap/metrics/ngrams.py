"""N-grams of many sentences as flat arrays, counted once for BLEU and CIDEr-D.

Words are what `str.split()` yields: nothing is lower-cased, stemmed or cut off here, captions arrive tokenised.
Letters: R sentences (rows), E distinct (row, n-gram) entries, G distinct n-grams, P pairs, M shared n-grams.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDERS = 4  # unigrams to 4-grams

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ngrams:
    """Sparse table of counts, sorted by row and, within a row, by n-gram."""

    words: Ints  # (R,) length of each sentence
    row: Ints  # (E,)
    gram: Ints  # (E,) 0..G-1
    count: Ints  # (E,) at least 1
    order: Ints  # (G,) words of the n-gram less one: 0..3


def count(sentences: Sequence[str]) -> Ngrams:
    """Count the n-grams, n = 1..4, of each sentence; one that comes again is counted once and copied."""
    known: dict[str, int] = {}
    which = np.array([known.setdefault(sentence, len(known)) for sentence in sentences], dtype=np.int64)  # (R,)
    once = _count(list(known))
    entries = np.bincount(once.row, minlength=len(known))
    times = entries[which]
    ends = times.cumsum()
    entry = np.arange(times.sum()) + np.repeat((entries.cumsum() - entries)[which] - (ends - times), times)
    row = np.repeat(np.arange(len(which)), times)
    return Ngrams(once.words[which], row, once.gram[entry], once.count[entry], once.order)


def _count(sentences: Sequence[str]) -> Ngrams:
    split = [sentence.split() for sentence in sentences]
    words = np.array([len(tokens) for tokens in split], dtype=np.int64)
    ids: dict[str, int] = {}
    flat = np.array([ids.setdefault(word, len(ids)) for tokens in split for word in tokens], dtype=np.int64)
    row = np.repeat(np.arange(len(split)), words)
    left = np.repeat(words.cumsum(), words) - np.arange(len(flat))  # words from here to the end of the sentence

    at, code, total = np.arange(len(flat)), flat, 0
    rows, grams, orders = [], [], []
    for n in range(ORDERS):
        if n:  # an n-gram is the (n-1)-gram at the same place and one more word
            keep = left[at] > n
            at = at[keep]
            code = np.unique(code[keep] * len(ids) + flat[at + n], return_inverse=True)[1]
        kinds = int(code.max(initial=-1)) + 1
        rows.append(row[at])
        grams.append(code + total)
        orders.append(np.full(kinds, n))
        total += kinds
    key, times = np.unique(np.concatenate(rows) * total + np.concatenate(grams), return_counts=True)
    return Ngrams(words, key // max(total, 1), key % max(total, 1), times, np.concatenate(orders))


@dataclass(frozen=True)
class Overlap:
    """P hypotheses, their R references, and the M n-grams that a hypothesis shares with one of its references."""

    ngrams: Ngrams  # rows 0..P-1 are the hypotheses, row P + r is reference r
    owner: Ints  # (R,) pair of each reference
    entry: Ints  # (M,) the hypothesis' entry in `ngrams`
    reference: Ints  # (M,) 0..R-1
    ours: Ints  # (M,) count in the hypothesis
    theirs: Ints  # (M,) count in the reference
    pair: Ints  # (K,) with `seen`: the distinct (pair, n-gram) of the references, what document frequencies count
    seen: Ints  # (K,)

    @property
    def pairs(self) -> int:
        """P."""
        return len(self.ngrams.words) - len(self.owner)


def overlap(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Overlap:
    """Match each hypothesis with its own references; both have one item per pair."""
    owner = np.repeat(np.arange(len(hypotheses)), [len(sentences) for sentences in references])
    table = count([*hypotheses, *(sentence for sentences in references for sentence in sentences)])
    kinds = max(len(table.order), 1)
    cut = int(np.searchsorted(table.row, len(hypotheses)))  # entries before are the hypotheses'
    reference = table.row[cut:] - len(hypotheses)
    mine = table.row[:cut] * kinds + table.gram[:cut]  # sorted, as the table is
    theirs = owner[reference] * kinds + table.gram[cut:]
    entry = np.searchsorted(mine, theirs)
    shared = np.append(mine, -1)[entry] == theirs
    entry = entry[shared]
    ordered = np.sort(theirs)
    seen = ordered[np.diff(ordered, prepend=-1) > 0]  # each once; np.unique hashes, which is slower here
    return Overlap(
        table,
        owner,
        entry,
        reference[shared],
        table.count[entry],
        table.count[cut:][shared],
        seen // kinds,
        seen % kinds,
    )
