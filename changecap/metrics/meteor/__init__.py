"""METEOR 1.5 (Denkowski & Lavie 2014), English, task "rank", without Java.

Words match by form, stem, synonym set or paraphrase; the alignment's weighted precision and recall make a mean, which
a penalty for fragmentation lowers. Values are fractions. A corpus value comes from summed statistics, so it is not the
mean of the pairs' values: a perfect one-chunk pair has no penalty, a corpus always has one.
"""

from collections.abc import Sequence

import numpy as np

from ..ngrams import Floats
from .align import aligned
from .match import Lexicon, Sentence
from .tables import Tables, load_tables

__all__ = ["COLUMNS", "Tables", "load_tables", "statistics", "values"]

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75  # recall, fragmentation (2), content words
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # of the stages: exact, stem, synonym, paraphrase

_LENGTHS, _STAGES = 4, 4
COLUMNS = _LENGTHS + 4 * _STAGES + 3
"""Columns of the statistics, in the order in which METEOR prints them: words of hypothesis and reference, function
words of both; for each stage the matched content words of both and function words of both; chunks, of
which a sentence matched as a whole has none; matched words of both."""


def statistics(references: Sequence[Sequence[str]], hypotheses: Sequence[str], tables: Tables | None = None) -> Floats:
    """Align each hypothesis with its references, and count.

    Args:
        references: Of each of P pairs, at least one.
        hypotheses: One of each pair.
        tables: Of synonyms and paraphrases; without them words match by form and stem only.

    Returns:
        ``(P, 23)``: `COLUMNS` of the reference that gives the best value, the first of equals. They add up: METEOR of
        a set of pairs is `values` of the sum of its rows.
    """
    hypotheses = [hypothesis.replace("|||", "").replace("  ", " ") for hypothesis in hypotheses]
    lexicon = Lexicon([*hypotheses, *(r for several in references for r in several)], tables)
    pairs: dict[tuple[str, str], int] = {}
    rows = [[pairs.setdefault((h, r), len(pairs)) for r in rs] for rs, h in zip(references, hypotheses, strict=True)]
    counted = np.array([_count(lexicon, lexicon[h], lexicon[r]) for h, r in pairs], dtype=float).reshape(-1, COLUMNS)
    scores = values(counted)
    best = [several[int(np.argmax(scores[several]))] for several in rows]
    return counted[best]


def values(sums: Floats) -> Floats:
    """METEOR in [0, 1] ``(...)`` of `statistics` ``(..., 23)``, one pair's or a sum over pairs."""
    words, function = sums[..., 0:2], sums[..., 2:4]
    stages = sums[..., _LENGTHS : _LENGTHS + 4 * _STAGES].reshape(*sums.shape[:-1], _STAGES, 2, 2)
    chunks, matched = sums[..., -3], sums[..., -2:]
    weighted = np.einsum("s,...skx,k->...x", _WEIGHTS, stages, [_DELTA, 1 - _DELTA])
    total = _DELTA * (words - function) + (1 - _DELTA) * function
    share = _ratio(weighted, total)  # precision and recall
    precision, recall = share[..., 0], share[..., 1]
    mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    return mean * (1 - _GAMMA * _ratio(2 * chunks, matched.sum(-1)) ** _BETA)


def _count(lexicon: Lexicon, hypothesis: Sentence, reference: Sentence) -> list[int]:
    row = [0] * COLUMNS
    row[0], row[1] = len(hypothesis.content), len(reference.content)
    row[2], row[3] = row[0] - sum(hypothesis.content), row[1] - sum(reference.content)
    last_h = last_r = -1
    for j, stage, i, m, n in aligned(lexicon.matches(hypothesis, reference)):
        of_h, of_r = sum(hypothesis.content[i : i + n]), sum(reference.content[j : j + m])
        at = _LENGTHS + 4 * stage
        row[at] += of_h
        row[at + 1] += of_r
        row[at + 2] += n - of_h
        row[at + 3] += m - of_r
        row[-3] += i != last_h or j != last_r
        row[-2] += n
        row[-1] += m
        last_h, last_r = i + n, j + m
    if row[-3] == 1 and row[-2:] == row[:2]:
        row[-3] = 0
    return row


def _ratio(x: Floats, y: Floats) -> Floats:
    """Divide, with 0 where the divisor is 0."""
    return np.divide(x, y, out=np.zeros(np.shape(x)), where=y > 0)
