import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changecap.data.synthetic.grammar import say
from changecap.landcover import CLASSES
from changecap.language.claims import claims
from changecap.language.facts import NOUNS, PLACES, Fact

CLAUSES = st.tuples(st.permutations(CLASSES[1:]).map(lambda names: names[:2]), st.integers(1, 5))
FACTS = st.tuples(st.lists(CLAUSES, min_size=1, max_size=3), st.permutations(PLACES)).map(
    lambda drawn: [
        Fact(source, target, count if "building" in (source, target) else 1, place)
        for ((source, target), count), place in zip(drawn[0], drawn[1], strict=False)
    ]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(facts=FACTS, seed=st.integers(0, 2**32 - 1))
def test_every_change_that_the_grammar_states_is_claimed_and_no_other(facts, seed):
    assert claims(say(facts, np.random.default_rng(seed))) == {(fact.source, fact.target) for fact in facts}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("a structure is built in the empty space at the edge of the stage", {("ground", "building")}),
        (
            "the green area and the playground at the edge of the stage are replaced with buildings",
            {("low vegetation", "building"), ("playground", "building")},
        ),
        (
            "the empty space in the middle of the stage is transformed into a water area",
            {("ground", "water")},
        ),
        ("the N.v.g. surface is turned into a lawn.", {("ground", "low vegetation")}),
    ],
)
def test_second_cc_is_read(sentence, expected):
    assert claims(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("some roads and houses are built on bareland", {("ground", "building")}),
        ("trees are removed and many houses are built along the road", {("tree", None), (None, "building")}),
        ("the forest is removed and replaced by villas", {("tree", "building")}),
        ("the trees are cut down to build houses", {("tree", "building")}),
        ("the roads with houses on both sides replace the woods", {("tree", "ground"), ("tree", "building")}),
        ("a house is built on the right side of the road", {(None, "building")}),
        ("several houses show up near the trees and a lake", {(None, "building")}),
        ("the trees along the road are removed", {("tree", None)}),
        ("part of the forest is removed", {("tree", None)}),
        ("the houses are gone", {("building", None)}),
        ("the area changed from trees to houses", {("tree", "building")}),
    ],
)
def test_levir_cc_and_its_like_are_read(sentence, expected):
    assert claims(sentence) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "there is no difference",
        "no trees were removed",
        "houses and trees",
        "the grass becomes lush",
        "a parking lot is built on bare land",  # both are ground
    ],
)
def test_no_change_of_class_is_claimed_where_none_is_stated(sentence):
    assert claims(sentence) == frozenset()


def test_a_denied_clause_claims_nothing():
    assert claims("no trees are removed but a pond appears") == {(None, "water")}
    assert claims("the lake is the same as before but the houses were demolished") == {("building", None)}


def test_case_and_blanks_do_not_count():
    assert claims("  A house  IS BUILT on the Meadow.") == claims("a house is built on the meadow")


def test_every_word_of_the_grammar_names_its_class():
    for name, nouns in NOUNS.items():
        for noun in nouns:
            for form in filter(None, (noun.one, noun.many)):
                assert claims(f"the {form} disappears") == {(name, None)}, form


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    text=st.text()
    | st.lists(
        st.sampled_from(
            ["a house", "trees", "the lake", "replaced by", "built", "removed", "on", "and", ",", "no", "to"]
        ),
        max_size=25,
    ).map(" ".join)
)
def test_nonsense_is_read_without_an_error_and_names_two_different_known_classes_at_most(text):
    for source, target in claims(text):
        assert {source, target} <= {*CLASSES[1:], None}
        assert source != target


def test_a_very_long_sentence_is_read():
    assert claims("trees are replaced by " + "houses and roads and " * 5_000) == {
        ("tree", "building"),
        ("tree", "ground"),
    }
