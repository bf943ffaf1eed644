import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changecap.data.synthetic.grammar import say
from changecap.errors import DataError
from changecap.landcover import CLASSES
from changecap.language.facts import BACKWARD, FORWARD, NOUNS, PLACES, Fact, mentioned, parse

CLAUSES = st.tuples(st.permutations(CLASSES[1:]).map(lambda names: names[:2]), st.integers(1, 5))
FACTS = st.tuples(st.lists(CLAUSES, min_size=1, max_size=3), st.permutations(PLACES)).map(
    lambda drawn: [
        Fact(source, target, count if "building" in (source, target) else 1, place)
        for ((source, target), count), place in zip(drawn[0], drawn[1], strict=False)
    ]
)
FORMS = [form for nouns in NOUNS.values() for noun in nouns for form in (noun.one, noun.many) if form]
PIECES = [
    *FORMS,
    *PLACES,
    *FORWARD,
    *BACKWARD,
    "and",
    "while",
    "is",
    "a",
    "two",
    "houses houses",
    "<unk>",
    "of the",
    ",",
]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(facts=FACTS, seed=st.integers(0, 2**32 - 1))
def test_whatever_the_grammar_says_is_read_back_as_the_facts_in_reading_order(facts, seed):
    assert parse(say(facts, np.random.default_rng(seed))) == sorted(facts, key=lambda fact: PLACES.index(fact.place))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)))
def test_nonsense_is_read_without_an_error_and_gives_only_known_names(text):
    for fact in parse(text):
        assert {fact.source, fact.target} <= set(CLASSES[1:])
        assert fact.place in ("", *PLACES)
        assert fact.count in (None, 1, 2, 3, 4, 5)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(facts=FACTS, seed=st.integers(0, 2**32 - 1), words=st.integers(0, 60))
def test_a_sentence_that_breaks_off_states_the_roles_of_its_first_facts_only(facts, seed, words):
    sentence = " ".join(say(facts, np.random.default_rng(seed)).split()[:words])
    ordered = sorted(facts, key=lambda fact: PLACES.index(fact.place))
    read = [(fact.source, fact.target) for fact in parse(sentence)]
    assert read == [(fact.source, fact.target) for fact in ordered][: len(read)]


def test_each_noun_names_one_class():
    assert len(FORMS) == len(set(FORMS))
    for name, nouns in NOUNS.items():
        for noun in nouns:
            for form in filter(None, (noun.one, noun.many)):
                assert mentioned(f"there is {form} here") == {name}, form


def test_every_class_has_a_name():
    assert set(NOUNS) == set(CLASSES[1:])


def test_a_verb_points_one_way():
    assert not FORWARD & BACKWARD


@pytest.mark.parametrize(
    ("sentence", "facts"),
    [
        ("two buildings are built on bare land in the top left corner", [("ground", "building", 2, "top left")]),
        ("a lawn is replaced with a pond on the left side", [("low vegetation", "water", 1, "left")]),
        ("the lower left houses are replaced by trees", [("building", "tree", None, "bottom left")]),
        ("trees become a lake", [("tree", "water", 1, "")]),
        ("two houses on bare land in the middle", []),
        ("the scene is the same as before", []),
        ("", []),
    ],
)
def test_a_sentence_states_what_a_reader_would_say(sentence, facts):
    assert parse(sentence) == [Fact(*fact) for fact in facts]


def test_a_word_inside_another_word_names_nothing():
    assert mentioned("a pondering lakeside warehouse") == frozenset()


def test_a_fact_survives_json():
    fact = Fact("tree", "building", 3, "bottom right")
    assert fact.to_json() == {"from": "tree", "to": "building", "count": 3, "place": "bottom right"}
    assert Fact.from_json(fact.to_json()) == fact


@pytest.mark.parametrize(
    ("key", "value"), [("from", "unlabelled"), ("to", "forest"), ("count", 6), ("place", "upper left")]
)
def test_a_fact_that_cannot_be_is_named(key, value):
    entry = Fact("tree", "building", 3, "left").to_json() | {key: value}
    with pytest.raises(DataError, match=f"'{key}'.*{value}"):
        Fact.from_json(entry)
