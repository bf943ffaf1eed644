"""Scores of captions against their references: BLEU, ROUGE-L, CIDEr, METEOR, SPICE and sm, as this field computes them.

Everything is a fraction (CIDEr in [0, 10]). Sentences are compared as they are: words between blanks, nothing is
lower-cased, no punctuation is removed (METEOR alone does so by itself). Knows sentences and ids, not images.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..io.atomic import write_whole
from ..io.json_file import to_json
from ..language.no_change import says_no_change
from ..language.vocabulary import read_words
from . import cider, ngrams
from .described import described
from .sentences import Pairs, all_references, in_ids, pair, read_sentences, some, unique_ids
from .statistics import METRICS, NAMES, OTHERS, Statistics, measure, with_means

__all__ = ["METRICS", "NAMES", "Statistics", "measure", "score", "score_files", "truth"]
SUBSETS = ("change", "no_change")


def score(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, str],
    changed: Mapping[str, bool] | None = None,
    *,
    documents: Mapping[str, Sequence[str]] | None = None,
    vocabulary: Mapping[str, int] | None = None,
    others: Collection[str] = OTHERS,
    strict: bool = False,
) -> dict:
    """Score one hypothesis per pair against that pair's references.

    The corpus values of BLEU and METEOR come from summed counts, the others are means over pairs. Document frequencies
    of CIDEr come from the references being scored, unless ``documents`` are given: a subset's "CIDEr" uses the subset's
    own (as published values do; for no-change pairs, which share their five references, it is 0 whatever is said), its
    "CIDEr_full_df" those of all pairs.

    Args:
        references: Sentences of each id. These three may have the other forms of :mod:`changecap.metrics.sentences`,
            and an id may be a number in one of them and a string in the other.
        hypotheses: One sentence for each id. Ids that do not match are noted and scored: one without a hypothesis as
            an empty sentence, one without references as 0 (see `measure`).
        changed: Whether the pair changed, for each id with references. By default a pair is a no-change pair iff all
            its references are no-change sentences, and one without references is in no subset.
        documents: References of another corpus, whose document frequencies CIDEr takes everywhere: those of the full
            set, say, while a subset is scored.
        vocabulary: Id of each word, ``<UNK>`` included: scores strings of ids, as the authors' repositories do.
        others: Which metrics are computed beyond `NAMES`, which need nothing but the sentences.
        strict: Whether ids that do not match are an error.

    Returns:
        ``{"corpus": {metric: value}, "per_pair": {id: {metric: value}}, "subsets": {"change": {metric: value},
        "no_change": {...}}, "computed": {metric: how, or why not}, "counts": {...}, "notes": [...]}`` with all
        `METRICS`, None where one could not be computed, and "CIDEr_full_df" in subsets. A subset without pairs is None.

    Raises:
        DataError: There is no pair, or a value is not what is described above; ids differ where ``strict``.
    """
    pairs = pair(references, hypotheses)
    if strict:
        pairs.refuse()
    subsets = _subsets(pairs, changed)
    corpus = None if documents is None else all_references(documents)
    units = "of words between blanks, as given"
    if vocabulary is not None:
        word = in_ids(vocabulary)
        pairs = pairs.map(word)
        corpus = corpus and {i: [*map(word, several)] for i, several in corpus.items()}
        units = f"of the ids of words, {len(vocabulary)} known"

    theirs, ours = pairs.references, pairs.hypotheses
    counted = ngrams.overlap([*theirs.values()], [*ours.values()])
    given = None if corpus is None else [*corpus.values()]
    statistics = measure(theirs, ours, documents=given, others=others, counted=counted)

    def total(chosen: NDArray[np.bool_]) -> dict[str, float | None]:
        values = statistics.totals(chosen)
        own = {} if given is not None else cider.both(counted, cider.idf(counted, chosen))
        means = {name: cell[chosen].mean() for name, cell in own.items()}
        return _row(with_means(values | means)) | {"CIDEr_full_df": float(values["CIDEr"])}

    each = {name: values.tolist() for name, values in statistics.per_pair().items()}
    frequencies = f"{sum(map(bool, given or theirs.values()))} {'scored' if given is None else 'given'} pairs"
    return {
        "corpus": _row(statistics.totals()),
        "per_pair": {i: _row({name: each[name][n] for name in each}) for n, i in enumerate(statistics.ids)},
        "subsets": {name: total(chosen) if chosen.any() else None for name, chosen in subsets.items()},
        "computed": described(statistics.missing, frequencies, units),
        "counts": pairs.counts,
        "notes": pairs.notes,
    }


def truth(references: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    """Whether each pair changed, by its references: a no-change pair has no-change sentences only."""
    return {i: not all(map(says_no_change, sentences)) for i, sentences in references.items()}


def score_files(
    references: Path,
    hypotheses: Path,
    out: Path | None = None,
    changed: Path | None = None,
    documents: Path | None = None,
    vocabulary: Path | None = None,
) -> dict:
    """`score` on JSON files, in any of the forms of :mod:`changecap.metrics.sentences`.

    Args:
        references: File of the references.
        hypotheses: File of the hypotheses.
        out: Where the result goes as JSON, written whole or not at all.
        changed: File that says which pairs changed, ``{id: true | false}``.
        documents: File of the references that CIDEr's document frequencies come from.
        vocabulary: File of the authors' map of words to ids; ids are scored.

    Raises:
        DataError: A file is missing, is not UTF-8 or JSON or has another structure.
    """
    flags = None if changed is None else read_sentences(Path(changed))
    if flags is not None and not isinstance(flags, dict):
        raise DataError(f"changed must be true or false for each id, got {type(flags).__name__} in {changed}")
    for i, value in (flags or {}).items():
        if not isinstance(value, bool):
            raise DataError(f"changed must be true or false for each id, got {value!r} for {i!r} in {changed}")
    words = None if vocabulary is None else read_words(Path(vocabulary))
    corpus = None if documents is None else read_sentences(Path(documents))
    theirs, ours = (read_sentences(Path(path)) for path in (references, hypotheses))
    try:
        scores = score(theirs, ours, flags, documents=corpus, vocabulary=words)
    except DataError as error:
        others = f"; documents: {documents}" if documents is not None else ""
        raise DataError(f"{error} (references: {references}; hypotheses: {hypotheses}{others})") from None
    if out is not None:
        write_whole(Path(out), to_json(scores))
    return scores


def _subsets(pairs: Pairs, changed: Mapping[str, bool] | None) -> dict[str, NDArray[np.bool_]]:
    """Which pairs are in which of `SUBSETS`, masks ``(P,)``."""
    bare = [i for i, sentences in pairs.references.items() if not sentences]
    if changed is None:
        flags = truth({i: sentences for i, sentences in pairs.references.items() if sentences})
    else:
        flags = {i: bool(value) for i, value in unique_ids(changed, "flags").items()}
        for less, ids in {
            "changed": [i for i in pairs.references if i not in flags and i not in bare],
            "references": [i for i in flags if i not in pairs.references],
        }.items():
            if ids:
                raise DataError(f"changed and references must have the same ids: {len(ids)} not in {less}: {some(ids)}")
    return {
        name: np.array([flags.get(i) is flag for i in pairs.references])
        for name, flag in zip(SUBSETS, (True, False), strict=True)
    }


def _row(values: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: float(values[name]) if name in values else None for name in METRICS}
