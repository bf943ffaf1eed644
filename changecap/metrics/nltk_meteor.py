"""NLTK's METEOR: `nltk.translate.meteor_score` as it stands, mean over pairs.

Not METEOR 1.5 and not comparable with it: exact, Porter stem and WordNet weigh alike, words are matched greedily, there
are no paraphrases and no discount of function words, and fragmentation enters with exponent 3 in place of 0.2, so that
good sentences are hardly ever penalised (on LEVIR-CC .79 where METEOR 1.5 gives .43). WordNet is the user's
(``python -m nltk.downloader wordnet``).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from ..errors import DataError
from .ngrams import Floats


def scores(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Floats:
    """The value in [0, 1] of each pair ``(P,)``, the best of its references; 0 without references.

    Raises:
        DataError: NLTK's WordNet is not there.
    """
    from nltk.corpus import wordnet
    from nltk.translate.meteor_score import single_meteor_score

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise DataError("NLTK has no WordNet: python -m nltk.downloader wordnet") from error

    @cache  # no-change pairs repeat the same few sentences
    def one(reference: str, hypothesis: str) -> float:
        return single_meteor_score(reference.split(), hypothesis.split(), wordnet=wordnet)

    pairs = zip(references, hypotheses, strict=True)
    return np.array([max((one(r, hypothesis) for r in several), default=0.0) for several, hypothesis in pairs])
