"""ROUGE-L as coco-caption computes it: the longest common subsequence, best precision and best recall apart."""

from collections.abc import Sequence

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
    """ROUGE-L in [0, 1] of one hypothesis; the maximum of P and of R may come from two different references.

    Words are `split(" ")`, so an empty string is one empty word and a trailing blank makes one more: that is how the
    published values came about.
    """
    words = hypothesis.split(" ")
    others = [reference.split(" ") for reference in references]
    shared = [common(words, other) for other in others]
    precision = max(shared) / len(words)
    recall = max(n / len(other) for n, other in zip(shared, others, strict=True))
    if not precision:  # then no recall either
        return 0.0
    return (1 + _BETA2) * precision * recall / (recall + _BETA2 * precision)
