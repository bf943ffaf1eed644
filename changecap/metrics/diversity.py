"""What a captioner said, whatever the truth: how varied, how long, and how much of it by heart."""

from collections.abc import Collection, Mapping
from statistics import fmean

from ..errors import DataError


def said(hypotheses: Mapping[str, str], training: Collection[str] | None = None) -> dict:
    """Counts of the sentences said, as words between blanks; nothing is lower-cased.

    Args:
        hypotheses: One sentence for each pair; an empty one is a sentence of no word.
        training: Every caption of the training pairs, if they are known.

    Returns:
        ``{"sentences": how many, "empty": of them, "distinct": different ones, "vocabulary": different words,
        "length": {"mean", "min", "max"} in words, "seen": share of the sentences, in [0, 1], that stand verbatim among
        the training captions, None if those are not known}``.

    Raises:
        DataError: There is no sentence.
    """
    if not hypotheses:
        raise DataError("nothing was said: there must be a sentence for one pair at least")
    sentences = [tuple(sentence.split()) for sentence in hypotheses.values()]
    known = None if training is None else {tuple(caption.split()) for caption in training}
    lengths = [len(words) for words in sentences]
    return {
        "sentences": len(sentences),
        "empty": lengths.count(0),
        "distinct": len(set(sentences)),
        "vocabulary": len({word for words in sentences for word in words}),
        "length": {"mean": fmean(lengths), "min": min(lengths), "max": max(lengths)},
        "seen": None if known is None else sum(words in known for words in sentences) / len(sentences),
    }
