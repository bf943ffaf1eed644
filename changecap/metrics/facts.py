"""How many of the true changes captions state, and how many false ones.

Needs facts, which only data made by the simulator has.
"""

from collections.abc import Mapping, Sequence

from ..errors import DataError
from ..language.facts import Fact, mentioned, parse
from . import classes


def fact_scores(hypotheses: Mapping[str, str], truth: Mapping[str, Sequence[Fact]]) -> dict[str, float]:
    """Shares of all true facts of all pairs, each in [0, 1]; pairs without facts have no say.

    - ``facts``: words for the class before and for the class after both occur anywhere in the sentence;
    - ``roles``: a clause says the class before and the class after in their right roles;
    - ``place``: such a clause also says the right place;
    - ``count``: such a clause also says the right count.

    Every clause answers for one true fact only: where a pair has the same change twice, two clauses are due.

    Args:
        hypotheses: One sentence for at least each id of ``truth``.
        truth: The facts of each pair, none for a pair that did not change.

    Raises:
        DataError: a sentence is missing, or there is no fact at all.
    """
    if missing := [i for i in truth if i not in hypotheses]:
        raise DataError(f"no sentence for {len(missing)} of {len(truth)} pairs with facts, such as {missing[0]!r}")
    total = sum(map(len, truth.values()))
    if not total:
        raise DataError(f"no fact in {len(truth)} pairs; facts are scored on data that has changed pairs")
    right = {"facts": 0, "roles": 0, "place": 0, "count": 0}
    for i, facts in truth.items():
        named = mentioned(hypotheses[i])
        right["facts"] += sum(fact.source in named and fact.target in named for fact in facts)
        for pair in {(fact.source, fact.target) for fact in facts}:
            true = [fact for fact in facts if (fact.source, fact.target) == pair]
            said = [fact for fact in parse(hypotheses[i]) if (fact.source, fact.target) == pair]
            right["roles"] += min(len(true), len(said))
            right["place"] += _matched([fact.place for fact in true], [fact.place for fact in said])
            right["count"] += _matched([fact.count for fact in true], [fact.count for fact in said])
    return {name: value / total for name, value in right.items()}


def class_scores(hypotheses: Mapping[str, str], facts: Mapping[str, Sequence[Fact]]) -> dict:
    """Precision and recall of the classes and directions of change, as :func:`changecap.metrics.classes.class_scores`.

    `fact_scores` asks what part of the truth was said and lets false claims pass; here they cost.

    Args:
        hypotheses: One sentence for at least each id of ``facts``.
        facts: The facts of each pair, none for a pair that did not change.

    Raises:
        DataError: a sentence is missing, or there is no fact at all.
    """
    return classes.class_scores(
        hypotheses, {i: {(fact.source, fact.target) for fact in of_pair} for i, of_pair in facts.items()}
    )


def _matched(true: Sequence[object], said: Sequence[object]) -> int:
    """How many of ``true`` find a partner of their own in ``said``."""
    rest = list(said)
    for value in true:
        if value in rest:
            rest.remove(value)
    return len(said) - len(rest)
