"""Captions follow mirrors, transpositions and quarter turns, and come back."""

import json
import os
import re
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changecap.data.synthetic.grammar import say
from changecap.landcover import CLASSES
from changecap.language.directions import TURNS, refusal, rewrite, then, turn_fact, turn_place
from changecap.language.facts import PLACES, Fact, parse

SHARED = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "captions"
H, V, T, R = (TURNS[name] for name in ("flip_horizontal", "flip_vertical", "transpose", "rotate90"))

turns = st.sampled_from(sorted(TURNS.values()))
facts = st.builds(
    Fact, st.sampled_from(CLASSES[1:5]), st.sampled_from(CLASSES[5:]), st.just(1), st.sampled_from(PLACES)
)


@st.composite
def sentences(draw):
    stated = draw(st.lists(facts, min_size=1, max_size=3))
    return say(stated, np.random.default_rng(draw(st.integers(0, 1000))))


def test_a_quarter_turn_is_clockwise():
    assert [turn_place(place, R) for place in PLACES] == [
        *("top right", "right", "bottom right"),
        *("top", "middle", "bottom"),
        *("top left", "left", "bottom left"),
    ]


def test_a_transposition_keeps_the_main_diagonal():
    assert [turn_place(place, T) for place in ("top left", "middle", "bottom right", "bottom left", "top", "")] == [
        *("top left", "middle", "bottom right", "top right", "left", ""),
    ]


@given(turns, turns, facts)
def test_places_of_facts_follow_two_turns_as_the_one_they_make(first, second, fact):
    assert turn_fact(turn_fact(fact, first), second) == turn_fact(fact, then(first, second))


@given(turns, turns)
def test_the_eight_turns_are_a_group(first, second):
    assert then(first, second) in TURNS.values()
    assert any(then(first, other) == TURNS["identity"] for other in TURNS.values())


@given(sentences(), turns, turns)
def test_sentences_follow_two_turns_as_the_one_they_make(sentence, first, second):
    once = rewrite(sentence, first)
    assert once is not None
    assert rewrite(once, second) == rewrite(sentence, then(first, second))


@given(st.lists(facts, min_size=1, max_size=3), st.integers(0, 1000), turns)
def test_a_rewritten_sentence_states_the_turned_facts(stated, seed, turn):
    sentence = say(stated, np.random.default_rng(seed))
    rewritten = rewrite(sentence, turn)
    assert rewritten is not None
    assert parse(rewritten) == [turn_fact(fact, turn) for fact in parse(sentence)]


@pytest.mark.parametrize(
    ("sentence", "mirrored"),
    [
        ("a pond appears on the left", "a pond appears on the right"),
        ("in the upper right corner", "in the upper left corner"),
        ("on the lower-left", "on the lower-right"),
        ("in the lower-right-hand corner", "in the lower-left-hand corner"),
        ("the right bottom corner", "the left bottom corner"),
        ("on the left hand side", "on the right hand side"),
        ("on its left and right sides", "on its right and left sides"),
        ("the north-east and the south western part", "the north-west and the south eastern part"),
        ("an eastern road", "a western road"),
        ("the leftmost house", "the rightmost house"),
        ("from left to right", "from right to left"),
        ("a road runs east-west", "a road runs west-east"),
        ("top left and top right corners", "top right and top left corners"),
        ("Left-hand side", "Right-hand side"),
    ],
)
def test_a_horizontal_mirror_exchanges_left_and_right(sentence, mirrored):
    assert rewrite(sentence, H) == mirrored
    assert rewrite(mirrored, H) == sentence


@pytest.mark.parametrize(
    ("sentence", "turned"),
    [
        ("at the top of the scene", "at the right of the scene"),
        ("in the upper half", "in the right-hand half"),
        ("in the left-hand half", "in the upper half"),
        ("an upper corner is cleared", "a right-hand corner is cleared"),
        ("the grass above is cleared", "the grass to the right is cleared"),
        ("a house above the road", "a house to the right of the road"),
        ("houses to the left of the road", "houses above the road"),
        ("the road stretches to the left", "the road stretches to the top"),
        ("from the left to the right", "from the top to the bottom"),
        ("northern houses", "eastern houses"),
        ("the north-west", "the north-east"),
        ("a vertical road", "a horizontal road"),
        ("two vertical roads and a horizontal one", "two horizontal roads and a vertical one"),
        ("a road runs vertically", "a road runs horizontally"),
    ],
)
def test_a_quarter_turn_moves_rows_to_columns_and_agrees_the_article(sentence, turned):
    assert rewrite(sentence, R) == turned


@pytest.mark.parametrize(
    "sentence",
    [
        "cars have left the parking lot",
        "one house is left",
        "a road at a right angle with another",
        "a right-angled roof",
        "a road vertical to the original one",
        "two sites are under construction",
        "houses show up and trees are cut down",
        "the waste water tower and the yeast factory",
        "the scene is the same as before",
        "some brighter roofs on the rooftop",
    ],
)
def test_what_is_no_place_stays(sentence):
    assert {rewrite(sentence, turn) for turn in TURNS.values()} == {sentence}


@pytest.mark.parametrize(
    ("sentence", "turn"),
    [
        ("an open space left", H),
        ("the road turns left", R),
        ("two vertical roads are built", R),
        ("a field under it", V),
        ("a panel on the top of the house", V),
        ("the higher left corner", V),
        ("top and bottom left corners", R),
        ("at the top left and right", R),
        ("houses run clockwise", H),
        ("the LEFT side", H),
        ("a upper corner", V),
        ("a top-heavy roof", V),
    ],
)
def test_what_may_mean_another_thing_is_refused_with_a_reason(sentence, turn):
    assert rewrite(sentence, turn) is None
    assert refusal(sentence, turn)


def test_what_a_turn_does_not_move_does_not_stop_it():
    assert rewrite("the higher left corner", H) == "the higher right corner"
    assert rewrite("an open space left at the top", V) == "an open space left at the bottom"
    assert rewrite("top and bottom left corners", H) == "top and bottom right corners"


def test_a_matrix_that_is_no_turn_is_refused():
    with pytest.raises(ValueError, match=r"\(\(1, 1\), \(0, 1\)\)"):
        rewrite("on the left", ((1, 1), (0, 1)))


WORDS = ("the", "a", "an", "at", "on", "to", "of", "and", "left", "right", "top", "upper", "lower", "bottom", "above")
WORDS += ("left-hand", "lower-left", "east", "north-east", "vertical", "corner", "side", "road", "turns", "is", "from")


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join), turns)
def test_whatever_is_rewritten_comes_back(words, turn):
    at, done = words, turn
    while (at := rewrite(at, turn)) is not None and done != TURNS["identity"]:
        done = then(done, turn)
    assert at in (words, None)
    if at is None:
        assert rewrite(words, turn) is None


# whatever the module may rewrite or refuse, said more loosely; a caption without it has nothing to turn
SAYS_PLACE = re.compile(
    "left|right|top|bottom|upper|lower|above|below|higher|under|beneath|vertical|horizon|down|longit"
)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no captions at {SHARED}; set CHANGECAP_SHARED")
def test_real_captions_come_back_and_few_are_refused():
    stored = json.loads((SHARED / "levir_cc.json").read_text())["captions"]
    captions = [caption for of_pair in stored.values() for caption in of_pair]
    assert len(captions) == 50385
    refused: Counter[str] = Counter()
    distinct = Counter(caption for caption in captions if SAYS_PLACE.search(caption))
    for (caption, times), (name, turn) in product(distinct.items(), (("h", H), ("v", V), ("t", T), ("r", R))):
        at: str | None = caption
        for _ in range(4 if turn == R else 2):
            if (at := at if at is None else rewrite(at, turn)) is None:
                assert rewrite(caption, turn) is None
                refused[name] += times
                break
        assert at in (caption, None)
    assert refused == {"h": 2, "v": 45, "t": 259, "r": 259}
