"""The score card of two JSON files alone: no model, no images, so baselines that need captions only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..metrics import truth
from ..metrics.sentences import all_references, pair, read_sentences, some, unique_ids
from ..reports import score_page
from ..reports.gallery import Sample, choose
from .baselines import Baseline, blind
from .card import card


def card_of_files(
    references: Path,
    hypotheses: Path,
    changed: Path | None = None,
    training: Path | None = None,
    page: Path | None = None,
) -> dict[str, Any]:
    """Make the score card of what stands in files, in any of the forms of :mod:`changecap.metrics.sentences`.

    Args:
        references: File of the references.
        hypotheses: File of the hypotheses.
        changed: File that says which pairs changed, ``{id: true | false}``; by default a pair is unchanged iff all its
            references say no change.
        training: File of the training captions, as the references: adds the baseline of flag and template, and what
            was repeated word for word.
        page: HTML file of the card, with the best and the worst sentences.

    Raises:
        DataError: A file is missing or has another structure, or nobody says whether a pair changed.
    """
    pairs = pair(read_sentences(references), read_sentences(hypotheses))
    flags = truth({i: sentences for i, sentences in pairs.references.items() if sentences})
    if changed is not None:
        flags |= unique_ids(read_sentences(changed), "flags")
    if unknown := [i for i in pairs.references if i not in flags]:
        raise DataError(
            f"a score card needs to know which pairs changed, and for {len(unknown)} there are neither references nor "
            f"a flag: {some(unknown)}; complete {references}, or give changed=FILE"
        )
    flags = {i: flags[i] for i in pairs.references}
    known = None if training is None else all_references(read_sentences(training))
    described = None if known is None else [known[i] for i, change in truth(known).items() if change]
    made = card(
        pairs.references,
        {"model": Baseline(pairs.hypotheses, "not known"), **blind(flags, described)},
        flags,
        training=None if known is None else {sentence for several in known.values() for sentence in several},
        notes=pairs.notes,
    )
    if page is not None:
        samples = {
            title: [_sample(i, pairs.references, pairs.hypotheses, made["per_pair"][i]) for i in ids]
            for title, ids in choose(made["per_pair"]).items()
        }
        score_page.report(page, made, samples)
    return made


def _sample(
    i: str, references: Mapping[str, list[str]], hypotheses: Mapping[str, str], known: Mapping[str, Any]
) -> Sample:
    return Sample(i, None, hypotheses[i], None, tuple(references[i]), known["changed"], known["CIDEr"], None)
