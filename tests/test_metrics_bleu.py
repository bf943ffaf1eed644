import math

import numpy as np
import pytest

from changecap.metrics.bleu import bleu, statistics
from changecap.metrics.ngrams import overlap


def one(references, hypothesis):
    return bleu(statistics(overlap([references], [hypothesis]))[0])


def test_values_worked_by_hand_come_out():
    # of the words all but "a" match; of the bigrams "the house" is not there, "house is" is
    got = one(["the house is near the built road"], "the the a house is built")
    clipped = np.array([5 / 6, 1 / 5])
    expected = np.array([clipped[0], math.sqrt(clipped.prod())]) * math.exp(1 - 7 / 6)
    np.testing.assert_allclose(got[:2], expected, rtol=1e-6)


def test_a_repeated_word_counts_as_often_as_the_best_reference_has_it():
    counts = statistics(overlap([["a a b", "a c a a"]], ["a a a a a"]))[0]
    assert counts.tolist() == [3, 1, 0, 0, 5, 4, 3, 2, 5, 4]  # the bigram "a a" stands once in each reference


def test_the_closest_length_is_the_shorter_of_two_equally_far():
    assert statistics(overlap([["a b c d e f", "a b"]], ["a b c d"]))[0, 9] == 2
    assert one(["a b c d e f", "a b"], "a b c d")[3] == pytest.approx(1, abs=1e-6)


def test_a_hypothesis_shorter_than_the_reference_is_penalised():
    assert one(["a b c d e f g h"], "a b c d")[0] == pytest.approx(math.exp(1 - 8 / 4), rel=1e-6)


def test_a_perfect_sentence_of_two_words_keeps_the_published_epsilons():
    np.testing.assert_allclose(one(["a b"], "a b"), [1, 1, 0.01, 0.001], rtol=1e-6)


def test_an_empty_hypothesis_scores_nothing():
    assert np.all(one(["a b c", "d"], "") == 0)
    assert np.all(one(["", ""], "") < 1e-6)


def test_the_corpus_value_is_made_of_summed_counts():
    counts = statistics(overlap([["a b c d"], ["e f g h i"]], ["a b c d", "e x g"]))
    together = bleu(counts.sum(0))
    assert together[0] == pytest.approx(6 / 7 * math.exp(1 - 9 / 7), rel=1e-6)
    assert abs(together[0] - bleu(counts)[:, 0].mean()) > 0.01
