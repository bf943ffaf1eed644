"""The score card as data: what a captioner's sentences are worth, beside what nobody should lose to.

Seven questions, each a part of every row: is the flag right; how are changes described; what is the overall score, as
published and after all no-change sentences took one form; what do degenerate baselines reach; how far can the figures
be trusted; what was said; which classes and directions of change were named rightly. Knows sentences, flags and facts,
no image and no file; how a card looks is the business of `cardtext` and `show`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..language.facts import Fact
from ..metrics.classes import Change, class_scores
from ..metrics.described import described
from ..metrics.diversity import said
from ..metrics.facts import fact_scores
from ..metrics.intervals import RESAMPLES, differences, intervals
from ..metrics.statistics import METRICS
from .baselines import Baseline
from .measurements import Figure, System, measure_all, plain

PARTS = ("flag", "description", "overall", "canonical", "classes")

_CIDER = (
    "CIDEr is CIDEr-D. 'CIDEr*' of changed pairs takes document frequencies from all pairs; as published, from the "
    "changed pairs alone. No-change pairs share their sentences, so by frequencies of their own theirs is 0."
)
_FORM = (
    "one form: every sentence that says no change took the same words first, since the choice among synonyms moves "
    "BLEU-4 by many points and says nothing of the model."
)
_INTERVALS = (
    f"Intervals: 95 % bootstrap over pairs, {RESAMPLES:,} resamples, changed and unchanged pairs drawn apart, "
    "document frequencies of the full set. They say nothing of training again with another seed; a share of exactly "
    "0 or 1 looks certain, though where n pairs show none it may well be 3 in n."
)
_BASELINES = {
    "constant": "constant: {constant!r} of every pair",
    "template": "flag + template: the true flag, and {template!r}, the most typical change caption, where it is set",
    "nearest_rgb": "nearest: the caption of the most similar training pair",
}


def card(
    references: Mapping[str, Sequence[str]],
    rows: Mapping[str, Baseline],
    changed: Mapping[str, bool],
    *,
    facts: Mapping[str, Sequence[Fact]] | None = None,
    changes: Mapping[str, Collection[Change]] | None = None,
    training: Collection[str] | None = None,
    head: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Make the score card of one model and its baselines.

    Args:
        references: Sentences of each pair.
        rows: What the model, first, and each baseline say of each pair, and what they were given.
        changed: Whether each pair changed.
        facts: What truly changed in each pair, where the data state it.
        changes: Which class became which in each pair, where it is known; by default what the facts say.
        training: The captions of training, to count what is repeated word for word.
        head: What else is known of the evaluation, such as its split; comes first.
        notes: What a reader must know beside what the card itself says.

    Returns:
        JSON values. Shares and scores are fractions, None where there is nothing to score. ``rows`` has the model and
        the baselines: the metrics over all pairs; ``change`` and ``no_change``, a subset's as published;
        `System.totals`'s parts, and ``intervals`` with a pair of limits for each of their figures, ``p`` that of the
        paired test against the model; ``facts``, ``classes`` and ``said``. ``computed`` says how each metric came
        about, or why not, and ``per_pair`` has the model's scores of each pair.

    Raises:
        DataError: A row lacks a pair, or there are none.
    """
    if changes is None and facts is not None:
        changes = {i: {(fact.source, fact.target) for fact in stated} for i, stated in facts.items()}
    sentences = {name: row.sentences for name, row in rows.items()}
    systems = measure_all(references, sentences, changed, changes)
    model = next(iter(systems.values()))
    missing = model.said.missing
    return {
        **(head or {}),
        "pairs": len(references),
        "changed": int(model.changed.sum()),
        "notes": [*notes, _CIDER, _FORM, _INTERVALS, *_of_baselines(rows, changed), *_of_missing(missing)],
        "rows": [
            _row(name, row, systems[name], None if systems[name] is model else model)
            | {
                "facts": fact_scores(row.sentences, facts) if facts and any(facts.values()) else None,
                "classes": class_scores(row.sentences, changes) if changes and any(changes.values()) else None,
                "said": said(row.sentences, training),
            }
            for name, row in rows.items()
        ],
        "computed": described(missing, f"{len(references)} scored pairs", "of words between blanks, as given"),
        "per_pair": per_pair(model, changes or {}),
    }


def per_pair(system: System, changes: Mapping[str, Collection[Change]]) -> dict[str, dict[str, Any]]:
    """What is known of each pair: whether it changed, whether the sentence says so, true changes and every metric."""
    scores = {name: values.tolist() for name, values in system.said.per_pair().items()}
    flags = zip(system.said.ids, system.changed.tolist(), system.claimed.tolist(), strict=True)
    return {
        i: {"changed": changed, "claimed": claimed}
        | ({"changes": sorted(map(list, changes[i]))} if i in changes else {})
        | {name: values[n] for name, values in scores.items()}
        for n, (i, changed, claimed) in enumerate(flags)
    }


def nested(figures: Mapping[Figure, Any]) -> dict[str, dict[str, Any]]:
    """Figures by their part."""
    found: dict[str, dict[str, Any]] = {}
    for (part, name), value in figures.items():
        found.setdefault(part, {})[name] = value
    return {part: found[part] for part in PARTS if part in found}


def _row(name: str, row: Baseline, system: System, model: System | None) -> dict[str, Any]:
    parts = nested({key: float(value) for key, value in system.totals().items()})
    right = system.claimed == system.changed
    flag = {"accuracy": float(right.mean())} | {
        subset: float(right[chosen].mean()) if chosen.any() else None
        for subset, chosen in (("change", system.changed), ("no_change", ~system.changed))
    }
    between = intervals(system.totals, system.changed)
    tested = {} if model is None else differences(model.totals, system.totals, system.changed)
    return {
        "name": name,
        "inputs": row.inputs,
        **plain(parts["overall"]),
        "change": system.subset(True),
        "no_change": system.subset(False),
        "description": plain(parts["description"]) if "description" in parts else None,
        "canonical": plain(parts["canonical"]),
        "flag": flag | {key: parts["flag"].get(key) for key in ("false_alarm", "miss", "balanced_accuracy")},
        "intervals": nested({key: found and list(found) for key, found in between.items()}),
        "p": nested({key: None if found is None else found.p for key, found in tested.items()}),
    }


def _of_baselines(rows: Mapping[str, Baseline], changed: Mapping[str, bool]) -> list[str]:
    """What each baseline is, with the sentence that it says of every pair, or of every changed one."""
    first = next((i for i in changed if changed[i]), next(iter(changed)))
    sentences = {name: row.sentences[first] for name, row in rows.items()}
    known = [text.format(**sentences) for name, text in _BASELINES.items() if name in rows]
    return [f"{'. '.join(known)}."] if known else []


def _of_missing(missing: Mapping[str, str]) -> list[str]:
    """Which metrics are not there, and why."""
    reasons: dict[str, list[str]] = {}
    for name in METRICS:
        if name in missing:
            reasons.setdefault(missing[name], []).append(name)
    told = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
    return [f"Not there: {'; '.join(told)}."] if told else []
