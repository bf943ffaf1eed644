"""NLTK's METEOR, another measure than METEOR 1.5: Porter stems, WordNet synonyms, no paraphrases, no function words.

Parameters as in `nltk.translate.meteor_score` (alpha 0.9, beta 3, gamma 0.5): its penalty is nearly nothing for good
sentences, so its values lie far above METEOR's. Words are split at blanks; a corpus value is the mean over pairs.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ..errors import DataError
from .ngrams import Floats


def scores(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Floats:
    """NLTK's METEOR in [0, 1] of every pair ``(P,)``: the best over its references, 0 for an empty hypothesis.

    Raises:
        DataError: WordNet is not among NLTK's data.
    """
    single = _single()
    return np.array([max(single(r, h) for r in rs) for rs, h in zip(references, hypotheses, strict=True)], dtype=float)


@cache
def _single() -> Any:
    """NLTK's score of one reference and one hypothesis; each pair of sentences is scored once."""
    from nltk.corpus import wordnet  # takes a second, and only this score needs it
    from nltk.stem.porter import PorterStemmer
    from nltk.translate.meteor_score import single_meteor_score

    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError) as error:
        raise DataError(
            "NLTK_METEOR needs WordNet, which is not in NLTK's data folders; run python -m nltk.downloader wordnet, or "
            "set NLTK_DATA to a folder that holds corpora/wordnet"
        ) from error
    stemmer, synonyms = _Once(PorterStemmer(), "stem"), _Once(wordnet, "synsets")

    @lru_cache(1 << 16)
    def single(reference: str, hypothesis: str) -> float:
        return float(single_meteor_score(reference.split(), hypothesis.split(), stemmer=stemmer, wordnet=synonyms))

    return single


class _Once:
    """An object that looks each word up once."""

    def __init__(self, inner: Any, method: str) -> None:
        setattr(self, method, cache(getattr(inner, method)))
