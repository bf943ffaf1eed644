import pytest

from changecap.errors import DataError
from changecap.metrics.diversity import said

HYPOTHESES = {"1": "a house is built", "2": "a house is  built", "3": "a pond", "4": ""}


def test_what_was_said_is_counted_as_by_hand():
    assert said(HYPOTHESES, ["a house is built", "a road"]) == {
        "sentences": 4,
        "empty": 1,
        "distinct": 3,
        "vocabulary": 5,
        "length": {"mean": 2.5, "min": 0, "max": 4},
        "seen": 0.5,
    }


def test_without_training_captions_nobody_knows_what_was_seen():
    assert said(HYPOTHESES)["seen"] is None


def test_no_training_caption_at_all_means_nothing_was_seen():
    assert said(HYPOTHESES, [])["seen"] == 0.0


def test_capitals_make_another_word():
    assert said({"1": "A house", "2": "a house"})["vocabulary"] == 3


def test_nothing_said_is_an_error():
    with pytest.raises(DataError, match="nothing was said"):
        said({})
