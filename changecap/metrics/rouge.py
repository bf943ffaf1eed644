"""ROUGE-L as coco-caption computes it: the longest common subsequence, best precision and best recall apart.

Lin 2004; `rouge.py` of coco-caption, beta = 1.2: F = (1 + beta^2) P R / (R + beta^2 P), the corpus value is the mean
over pairs.

Traps: P and R may come from two different references, so a pair can score 1 though no reference was met. Packages of
the name (rouge-score, torchmetrics) have beta 1 and one best reference, which is 0.4 points less. Words are
`split(" ")`: a trailing or a double blank is an empty word that counts and matches, and an empty sentence has one.
"""

from collections.abc import Sequence

import numpy as np

from .ngrams import Floats

_BETA2 = 1.2**2  # recall counts more than precision


def common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    One bit per word of ``a`` (Hyyro 2004): a step over a word of ``b`` is a few operations on one integer.
    """
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(a)) - 1
    free = full
    for word in b:
        hit = free & places.get(word, 0)
        free = (free + hit | free - hit) & full
    return len(a) - free.bit_count()


def rouge(references: Sequence[str], hypothesis: str) -> float:
    """ROUGE-L in [0, 1] of one hypothesis, 0 without references."""
    if not references:
        return 0.0
    words = hypothesis.split(" ")
    others = [reference.split(" ") for reference in references]
    shared = [common(words, other) for other in others]
    precision = max(shared) / len(words)
    recall = max(n / len(other) for n, other in zip(shared, others, strict=True))
    if not precision:  # then no recall either
        return 0.0
    return (1 + _BETA2) * precision * recall / (recall + _BETA2 * precision)


def rouges(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Floats:
    """ROUGE-L ``(P,)`` of every pair, worked out once where references and hypothesis come again."""
    known: dict[tuple[str, ...], float] = {}
    for sentences, hypothesis in zip(references, hypotheses, strict=True):
        if (key := (hypothesis, *sentences)) not in known:
            known[key] = rouge(sentences, hypothesis)
    return np.array([known[(hypothesis, *s)] for s, hypothesis in zip(references, hypotheses, strict=True)])
