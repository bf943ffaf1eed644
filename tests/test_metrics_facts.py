import pytest

from changecap.errors import DataError
from changecap.language.facts import Fact
from changecap.metrics import classes
from changecap.metrics.facts import class_scores, fact_scores

BUILT = Fact("ground", "building", 2, "top left")
DUG = Fact("low vegetation", "water", 1, "right")
SAID = "two buildings are built on bare land in the top left corner of the scene"
ALSO = "a green area on the right side of the scene is replaced with a pond"


def score(sentence, *facts):
    return fact_scores({"1": sentence}, {"1": facts})


@pytest.mark.parametrize(
    ("sentence", "scores"),
    [
        (SAID, (1, 1, 1, 1)),
        ("two buildings are built on bare land at the bottom", (1, 1, 0, 1)),
        ("three buildings are built on bare land in the top left", (1, 1, 1, 0)),
        ("two buildings in the top left are replaced with bare land", (1, 0, 0, 0)),  # roles swapped
        ("bare land and two buildings in the top left", (1, 0, 0, 0)),  # no verb
        ("two buildings are built on trees in the top left", (0, 0, 0, 0)),
        ("there is no difference", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_one_fact_is_scored_as_worked_by_hand(sentence, scores):
    assert score(sentence, BUILT) == dict(zip(("facts", "roles", "place", "count"), scores, strict=True))


def test_half_of_two_facts_is_a_half():
    assert score(SAID, BUILT, DUG) == {"facts": 0.5, "roles": 0.5, "place": 0.5, "count": 0.5}


def test_the_order_of_the_clauses_does_not_matter():
    assert set(score(f"{ALSO} and {SAID}", BUILT, DUG).values()) == {1.0}


def test_places_of_two_clauses_may_not_be_swapped():
    swapped = f"{SAID.replace('top left', 'bottom')} and {ALSO.replace('on the right', 'on the left')}"
    assert score(swapped, BUILT, DUG) == {"facts": 1.0, "roles": 1.0, "place": 0.0, "count": 1.0}


def test_a_clause_answers_for_one_of_two_like_facts():
    twin = Fact("ground", "building", 3, "bottom")
    assert score(SAID, BUILT, twin) == {"facts": 1.0, "roles": 0.5, "place": 0.5, "count": 0.5}


def test_like_facts_find_their_own_clauses_in_any_order():
    twin = Fact("ground", "building", 3, "bottom")
    both = f"three buildings are built on bare land at the bottom of the scene and {SAID}"
    assert set(score(both, BUILT, twin).values()) == {1.0}


def test_claims_that_are_not_true_cost_nothing_here():
    assert set(score(f"{SAID} and {ALSO}", BUILT).values()) == {1.0}


def test_all_facts_of_all_pairs_weigh_the_same():
    said = {"1": f"{SAID} and {ALSO}", "2": "almost nothing is changed", "3": ALSO}
    scores = fact_scores(said, {"1": [BUILT, DUG], "2": [BUILT], "3": []})
    assert scores["facts"] == pytest.approx(2 / 3)


def test_sentences_for_other_pairs_are_ignored():
    assert fact_scores({"1": SAID, "2": ALSO}, {"1": [BUILT]})["roles"] == 1.0


def test_a_missing_sentence_is_an_error_with_its_id():
    with pytest.raises(DataError, match="'7'"):
        fact_scores({"1": SAID}, {"1": [BUILT], "7": [DUG]})


def test_data_without_any_fact_cannot_be_scored():
    with pytest.raises(DataError, match="no fact in 2 pairs"):
        fact_scores({"1": SAID, "2": ALSO}, {"1": [], "2": []})


def test_class_scores_of_facts_are_those_of_their_directions():
    said = {"1": f"{SAID} and {ALSO}", "2": ALSO}
    scores = class_scores(said, {"1": [BUILT, BUILT, DUG], "2": []})
    assert scores == classes.class_scores(
        said, {"1": {("ground", "building"), ("low vegetation", "water")}, "2": set()}
    )
    assert (scores["precision"], scores["recall"], scores["false_claims"]) == (4 / 6, 1.0, 2)
