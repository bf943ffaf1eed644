"""What every pair adds to every score, counted once: any set of pairs is then a weighted sum.

A subset, a bootstrap resample and the whole set are one function, `Statistics.totals`. Metrics that need tables or
tools that are not there are left out, with the reason. Knows sentences, not files.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UserError
from . import bleu, cider, meteor, ngrams, nltk_meteor, rouge, spice
from .ngrams import Floats, Ints, Overlap

BLEU = tuple(f"Bleu_{n + 1}" for n in range(ngrams.ORDERS))
NAMES = (*BLEU, "ROUGE_L", "CIDEr", "CIDEr_plain")  # need nothing but the sentences
MEANS = {"sm4": ("Bleu_4", "METEOR", "ROUGE_L", "CIDEr"), "sm5": ("Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE")}
OTHERS = ("METEOR", "METEOR_exact_stem", "NLTK_METEOR", "SPICE")  # need tables or tools, or take seconds
METRICS = (*NAMES, *OTHERS, *MEANS)


_Named = Mapping[str, Floats]


@dataclass(frozen=True)
class Statistics:
    """What each of P pairs adds to every score: a corpus value is a function of (weighted) sums over the pairs."""

    ids: tuple[str, ...]
    bleu: Ints  # (P, 10) as `bleu.statistics` counts them
    meteor: Mapping[str, Floats]  # "METEOR", "METEOR_exact_stem" -> (P, K), as `meteor.statistics` counts them
    means: Mapping[str, Floats]  # metrics whose corpus value is the mean over pairs -> (P,)
    missing: Mapping[str, str]  # metric -> why it is not there

    def totals(self, times: NDArray[Any] | None = None) -> dict[str, Floats]:
        """Corpus value of every metric that is there, where each pair counts as often as ``times`` says.

        Document frequencies of CIDEr stay those the statistics were made with.

        Args:
            times: ``(..., P)`` at least 0; by default each pair counts once.

        Returns:
            ``{metric: (...)}`` in the order of `METRICS`.

        Raises:
            DataError: No pair counts.
        """
        times = np.ones(len(self.ids)) if times is None else np.asarray(times, dtype=np.float64)
        total = times.sum(-1)
        if not np.all(total > 0):
            raise DataError("nothing to score: a set without pairs has no corpus value")
        return self._named(
            times @ self.bleu.astype(np.float64),
            {name: times @ lines for name, lines in self.meteor.items()},
            {name: times @ values / total for name, values in self.means.items()},
        )

    def per_pair(self) -> dict[str, Floats]:
        """The value ``(P,)`` of every metric that is there for each pair."""
        return self._named(self.bleu, self.meteor, self.means)

    def _named(self, counts: Ints | Floats, lines: _Named, means: _Named) -> dict[str, Floats]:
        values = dict(zip(BLEU, np.moveaxis(bleu.bleu(counts), -1, 0), strict=True)) | dict(means)
        for name, line in lines.items():
            values[name] = meteor.values(line)
        return with_means(values)


def with_means(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` of metrics in the order of `METRICS`, sm4 and sm5 made of those that are there.

    sm4 is the mean of BLEU-4, METEOR, ROUGE-L and CIDEr-D, sm5 of these and SPICE: the captioning challenges' S*m,
    which papers print in both forms under one name. Nothing is weighted, so CIDEr-D, up to 10, decides.
    """
    whole = dict(values)
    for name, parts in MEANS.items():
        if all(part in values for part in parts):
            whole[name] = sum(values[part] for part in parts) / len(parts)
    return {name: whole[name] for name in METRICS if name in whole}


def measure(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, str],
    *,
    documents: Collection[Sequence[str]] | None = None,
    others: Collection[str] = OTHERS,
    counted: Overlap | None = None,
) -> Statistics:
    """Count what every metric is made of, n-grams once for all of them.

    A pair without references scores 0 (but for BLEU's epsilons, below 1e-8) and counts in the means. Its words are
    guesses without a match, its reference length is its own, so that it neither causes nor cures a brevity penalty,
    and it is no document.

    Args:
        references: Sentences of each id, maybe none.
        hypotheses: One sentence for each of the same ids.
        documents: What CIDEr's document frequencies come from, the references of one pair each; by default the
            references being scored.
        others: Which of `OTHERS` are wanted.
        counted: `ngrams.overlap` of the same pairs, where it was made already.

    Raises:
        DataError: The ids differ, or there is no pair or no document.
    """
    if references.keys() != hypotheses.keys() or not references:
        raise DataError(f"references and hypotheses must have the same ids, got {len(references)}, {len(hypotheses)}")
    theirs, ours = list(references.values()), [hypotheses[i] for i in references]
    o = ngrams.overlap(theirs, ours) if counted is None else counted
    means: dict[str, Floats] = {"ROUGE_L": rouge.rouges(theirs, ours)}
    if documents is None:
        means |= cider.both(o, cider.idf(o))
    else:
        means |= _by_documents(theirs, ours, documents)
    lines: dict[str, Floats] = {}
    missing = dict.fromkeys((name for name in OTHERS if name not in others), "not asked for")
    present = [list(sentences) or [""] for sentences in theirs]
    for name, counts in _COUNTED.items():
        if name not in missing:
            try:
                (lines if name in _SUMMED else means)[name] = counts(present, ours)
            except UserError as reason:
                missing[name] = str(reason)
    for name, parts in MEANS.items():
        if absent := [part for part in parts if part in missing]:
            missing[name] = f"needs {' and '.join(absent)}"
    return Statistics(tuple(references), bleu.statistics(o), lines, means, missing)


def _meteor(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Floats:
    return meteor.statistics(references, hypotheses, meteor.load_tables())


def _exact_stem(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Floats:
    return meteor.statistics(references, hypotheses, None)


_SUMMED = ("METEOR", "METEOR_exact_stem")  # corpus value from summed statistics, not a mean
_COUNTED: dict[str, Callable[[Sequence[Sequence[str]], Sequence[str]], Floats]] = {
    "METEOR": _meteor,
    "METEOR_exact_stem": _exact_stem,
    "NLTK_METEOR": nltk_meteor.scores,
    "SPICE": spice.scores,
}


def _by_documents(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], documents: Collection[Sequence[str]]
) -> dict[str, Floats]:
    """CIDEr of the pairs by the frequencies in ``documents``: pairs of their own, of which nothing is said."""
    if not any(documents):
        raise DataError("no document to take document frequencies from; give a corpus with references")
    pairs = len(hypotheses)
    o = ngrams.overlap([*references, *documents], [*hypotheses, *[""] * len(documents)])
    weight = cider.idf(o, np.arange(o.pairs) >= pairs)
    return {name: values[:pairs] for name, values in cider.both(o, weight).items()}
