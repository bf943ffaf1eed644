import math
from collections import Counter

import numpy as np
import pytest

from changecap.metrics.cider import against_all, cider, idf
from changecap.metrics.ngrams import count, overlap

REFERENCES = [
    ["a house is built on the meadow", "a a house appears", "the meadow is gone"],
    ["a road is built", "a road a road a road", ""],
    ["the trees are gone", "the the trees trees"],
    ["there is no difference"],
]
HYPOTHESES = ["a house a house is built", "a road a road", "trees", "there is no difference"]


def grams(sentence):
    words = sentence.split()
    return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, 5)]


def formula(references, hypothesis, weigh):
    """CIDEr-D written out, sentence by sentence."""
    total = 0.0
    for reference in references:
        for ours, theirs in zip(grams(hypothesis), grams(reference), strict=True):
            dot = sum(min(n, theirs[g]) * theirs[g] * weigh(g) ** 2 for g, n in ours.items())
            size = math.prod(math.sqrt(sum((n * weigh(g)) ** 2 for g, n in side.items())) for side in (ours, theirs))
            gap = max(len(hypothesis.split()) - 1, 0) - max(len(reference.split()) - 1, 0)
            total += dot / size / 4 * math.exp(-(gap**2) / 72) if size else 0.0
    return 10 * total / len(references)


def weights(references):
    documents = Counter(g for sentences in references for g in set().union(*(c for s in sentences for c in grams(s))))
    return lambda g: math.log(len(references)) - math.log(max(documents[g], 1))


def test_it_is_the_formula():
    o = overlap(REFERENCES, HYPOTHESES)
    weigh = weights(REFERENCES)
    expected = [formula(r, h, weigh) for r, h in zip(REFERENCES, HYPOTHESES, strict=True)]
    np.testing.assert_allclose(cider(o, idf(o)), expected, rtol=1e-12)
    assert min(expected) > 0.1


def test_document_frequencies_of_a_subset_are_those_of_the_subset_alone():
    chosen = np.array([True, False, True, False])
    o, alone = overlap(REFERENCES, HYPOTHESES), overlap(REFERENCES[::2], HYPOTHESES[::2])
    np.testing.assert_allclose(cider(o, idf(o, chosen))[chosen], cider(alone, idf(alone)), rtol=1e-12)


def test_a_sentence_of_its_own_scores_ten_and_one_that_all_share_scores_zero():
    o = overlap([["a b c d e"], ["f g h i j"]], ["a b c d e", "f g h i j"])
    np.testing.assert_allclose(cider(o, idf(o)), [10, 10])
    o = overlap([["a b c d e"]] * 3, ["a b c d e"] * 3)
    assert cider(o, idf(o)).tolist() == [0, 0, 0]


def test_a_single_pair_scores_zero():
    o = overlap([["a b c d"]], ["a b c d"])
    assert cider(o, idf(o)).tolist() == [0]


def test_a_longer_hypothesis_is_damped_by_the_gaussian():
    same, long = "a b c d", "a b c d x x x x x x"
    o = overlap([[same], ["q"], [same]], [same, "q", long])
    value = cider(o, idf(o))
    assert value[2] < value[0] * math.exp(-(6**2) / 72)


def test_scoring_against_all_sentences_in_linear_time_is_scoring_against_each():
    sentences = [s for some in REFERENCES for s in some]
    table = count(sentences)
    o = overlap([sentences] * len(sentences), sentences)
    weight = np.linspace(0.5, 2, len(table.order))  # any weights: both tables number the n-grams alike
    assert len(o.ngrams.order) == len(table.order)
    np.testing.assert_allclose(against_all(table, weight), cider(o, weight), rtol=1e-12)


def test_sentences_without_words_do_no_harm():
    o = overlap([[""], ["", ""]], ["", ""])
    assert cider(o, idf(o)).tolist() == [0, 0]
    assert against_all(count(["", ""]), np.zeros(0)).tolist() == [0, 0]
    assert cider(overlap([["a"], ["b"]], ["", "b"]), idf(overlap([["a"], ["b"]], ["", "b"])))[1] == pytest.approx(2.5)
