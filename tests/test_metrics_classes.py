import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from changecap.errors import DataError
from changecap.landcover import CLASSES
from changecap.metrics.classes import class_scores, from_maps

DUG = ("tree", "water")
BUILT = ("ground", "building")
RIGHT = "trees are replaced with a pond"
SWAPPED = "a pond is replaced with trees"


def maps(a, b, size=(20, 5)):
    """Two maps of 100 pixels that hold class ``a[i]`` and ``b[i]`` at pixel i, 0 beyond."""
    return tuple(np.pad(np.array(classes, np.uint8), (0, 100 - len(classes))).reshape(size) for classes in (a, b))


def test_a_change_is_read_from_the_maps_with_its_direction():
    assert from_maps(*maps([4] * 10 + [2] * 5, [1] * 10 + [5] * 5)) == {DUG, BUILT}
    assert from_maps(*maps([1] * 10, [4] * 10)) == {("water", "tree")}


def test_what_covers_less_than_the_share_is_no_change_to_be_named():
    pair = maps([4] * 5, [1] * 5)
    assert from_maps(*pair, share=0.05) == {DUG}
    assert from_maps(*pair, share=0.051) == frozenset()


def test_unlabelled_pixels_and_those_that_kept_their_class_are_no_change():
    assert from_maps(*maps([4] * 50 + [0] * 50, [4] * 50 + [1] * 50)) == frozenset()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    a=arrays(np.uint8, (6, 5), elements=st.integers(0, 6)),
    b=arrays(np.int64, (6, 5), elements=st.integers(0, 6)),
    share=st.floats(0.01, 0.3),
)
def test_maps_are_read_as_a_loop_over_pixels_would(a, b, share):
    pairs = list(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    expected = {(CLASSES[i], CLASSES[j]) for i, j in pairs if i and j and i != j and pairs.count((i, j)) >= share * 30}
    assert from_maps(a, b, share) == expected
    assert from_maps(b, a, share) == {(after, before) for before, after in expected}


@pytest.mark.parametrize(
    ("a", "b", "share", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), 0.1, r"\(2, 3\) and \(3, 2\)"),
        (np.zeros((0, 3), int), np.zeros((0, 3), int), 0.1, "a pixel at least"),
        (np.full((2, 2), 7), np.zeros((2, 2), int), 0.1, "from 7 to 7"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), 0.1, "from -1 to -1"),
        (np.zeros((2, 2)), np.zeros((2, 2)), 0.1, "float64"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), 0.0, "got 0.0"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), 1.5, "got 1.5"),
    ],
)
def test_maps_that_cannot_be_are_refused(a, b, share, message):
    with pytest.raises(DataError, match=message):
        from_maps(a, b, share)


def test_the_right_sentence_is_right_in_every_way():
    scores = class_scores({"1": RIGHT}, {"1": {DUG}})
    assert (scores["precision"], scores["recall"], scores["f1"], scores["false_claims"]) == (1, 1, 1, 0)
    assert scores["classes"]["tree"]["lost"]["recall"] == 1
    assert scores["classes"]["tree"]["gained"]["recall"] is None
    assert scores["directions"]["tree>water"]["precision"] == 1


def test_swapped_roles_are_two_false_claims():
    scores = class_scores({"1": SWAPPED}, {"1": {DUG}})
    assert (scores["precision"], scores["recall"], scores["f1"], scores["false_claims"]) == (0, 0, 0, 2)
    assert scores["classes"]["tree"]["gained"]["false_claims"] == 1
    assert scores["directions"]["water>tree"] == {
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "claimed": 1,
        "support": 0,
        "right": 0,
        "false_claims": 1,
    }


def test_a_fluent_falsehood_costs_precision_and_silence_costs_recall():
    true = {"1": {DUG}, "2": set()}
    honest = class_scores({"1": RIGHT, "2": "no change is occurred"}, true)
    false = class_scores({"1": RIGHT, "2": RIGHT}, true)
    silent = class_scores({"1": "no change is occurred", "2": "no change is occurred"}, true)
    assert honest["precision"] == honest["recall"] == 1
    assert (false["precision"], false["recall"], false["false_claims"]) == (0.5, 1, 2)
    assert (silent["precision"], silent["recall"], silent["f1"]) == (None, 0, 0)


def test_a_half_claim_names_a_class_and_no_direction():
    scores = class_scores({"1": "a house is built"}, {"1": {BUILT}})
    assert (scores["precision"], scores["recall"]) == (1, 0.5)
    assert scores["direction"]["claimed"] == 0
    assert scores["direction"]["recall"] == 0


def test_right_classes_in_wrong_pairs_are_wrong_directions():
    said = "trees are replaced with buildings and bare land is replaced with a pond"
    scores = class_scores({"1": said}, {"1": {DUG, BUILT}})
    assert scores["f1"] == 1
    assert scores["direction"]["f1"] == 0
    assert set(scores["directions"]) == {"tree>water", "ground>building", "tree>building", "ground>water"}


def test_the_classes_add_up_to_the_whole():
    said = {"1": f"{RIGHT} and houses are built on the lawn", "2": SWAPPED, "3": ""}
    scores = class_scores(said, {"1": {DUG}, "2": {DUG, BUILT}, "3": {BUILT}})
    rows = [row for roles in scores["classes"].values() for row in roles.values()]
    for key in ("claimed", "support", "right", "false_claims"):
        assert scores[key] == sum(row[key] for row in rows)
        assert scores["direction"][key] == sum(row[key] for row in scores["directions"].values())


def test_a_missing_sentence_is_an_error_with_its_id():
    with pytest.raises(DataError, match="'7'"):
        class_scores({"1": RIGHT}, {"1": {DUG}, "7": {DUG}})


def test_data_without_any_change_cannot_be_scored():
    with pytest.raises(DataError, match="no change of class in 1 pairs"):
        class_scores({"1": RIGHT}, {"1": set()})
