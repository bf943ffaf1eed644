import pytest

from changecap.errors import ConfigError
from changecap.inference.decoding import Decoding


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 0}, "beams must be a whole number of at least 1, got beams=0"),
        ({"beams": 2.5}, "beams must be a whole number of at least 1, got beams=2.5"),
        ({"max_length": 1}, "max_length must be a whole number of at least 2, got max_length=1"),
        ({"top_k": -1, "do_sample": True}, "top_k must be a whole number of at least 0, got top_k=-1"),
        ({"temperature": 0.0, "do_sample": True}, "temperature must be a number above 0, got temperature=0.0"),
        ({"temperature": float("nan"), "do_sample": True}, "temperature must be a number above 0"),
        ({"top_p": 1.5, "do_sample": True}, "top_p must be above 0 and at most 1, got top_p=1.5"),
        ({"length_penalty": float("inf")}, "length_penalty must be a finite number, got length_penalty=inf"),
        ({"diversity_penalty": -1.0}, "diversity_penalty must be a number of at least 0"),
        ({"beams": 3, "force_words": (4, 4)}, r"force_words names a word twice: \(4, 4\)"),
        ({"beams": 3, "do_sample": True}, "give beams=1, got beams=3"),
        ({"do_sample": True, "force_words": (4,)}, "do_sample cannot promise force_words"),
        ({"temperature": 0.5, "top_k": 3}, "temperature, top_k change how words are drawn: give do_sample=true"),
        ({"num_return_sequences": 3, "beams": 2}, "num_return_sequences=3 are more than the beam holds, beams=2"),
        (
            {"beams": 5, "num_beam_groups": 2, "diversity_penalty": 1.0},
            "beams must be a multiple of num_beam_groups, got beams=5, num_beam_groups=2",
        ),
        ({"beams": 4, "num_beam_groups": 2}, "need each other, got num_beam_groups=2, diversity_penalty=0.0"),
        ({"beams": 4, "diversity_penalty": 1.0}, "need each other, got num_beam_groups=1, diversity_penalty=1.0"),
        (
            {"beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "force_words": (5,)},
            "force_words take the whole beam: leave out num_beam_groups",
        ),
        ({"beams": 2, "force_words": (4, 5)}, "2 force_words need a beam of at least 3, got beams=2"),
        ({"beams": 2, "force_words": (4,), "bad_words": (5, 4)}, r"force_words and bad_words share \[4\]"),
        (
            {"min_length": 10, "max_length": 10},
            "max_length=10 counts start and end, and leaves no room",
        ),
        ({"beams": 4, "force_words": (4, 5, 6), "max_length": 4}, "leaves no room for min_length=0 and 3 force_words"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Decoding(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 8}, "a beam of 8 is wider than the vocabulary of 7 words"),
        ({"beams": 2, "force_words": (7,)}, "force_words: no word has the id 7, the vocabulary has 7"),
        ({"bad_words": (3, -1)}, "bad_words: no word has the id -1, the vocabulary has 7"),
        ({"beams": 2, "force_words": (2,)}, "force_words: every sentence has its start and end"),
        ({"bad_words": (1,)}, "bad_words: a sentence must be able to end"),
    ],
)
def test_settings_that_do_not_fit_the_vocabulary_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Decoding(**settings).check(vocab=7, start=2, end=1)


def test_lengths_that_just_fit_are_taken():
    Decoding(min_length=9, max_length=10)
    Decoding(beams=4, force_words=(4, 5, 6), max_length=5).check(vocab=7, start=2, end=1)
