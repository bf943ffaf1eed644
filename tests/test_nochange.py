import pytest

from changecap.nochange import NO_CHANGE, says_no_change

SECOND_CC = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change is occurred",
    "almost nothing is changed",
)


@pytest.mark.parametrize("sentence", [*SECOND_CC, "no change has occurred", "almost nothing has changed"])
def test_the_sentences_of_the_data_sets_say_no_change(sentence):
    assert says_no_change(sentence)


def test_levir_cc_and_second_cc_have_seven_sentences_between_them():
    assert len(NO_CHANGE) == 7


def test_blanks_around_and_between_the_words_do_not_count():
    assert says_no_change("  there is  no difference ")


@pytest.mark.parametrize(
    "sentence",
    ["", "no difference", "there is no difference in the left", "a house is built", "there is no difference ."],
)
def test_any_other_sentence_does_not(sentence):
    assert not says_no_change(sentence)
