import importlib.util
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from changecap.errors import DataError
from changecap.metrics.statistics import NAMES, measure, with_means

REFERENCES = {
    "a": ["a house is built on the left", "one house appears"],
    "b": ["the trees are gone", "trees are removed"],
    "c": ["there is no difference", "no change has occurred"],
    "d": ["a road is built along the river"],
}
HYPOTHESES = {"a": "a house appears on the left", "b": "trees", "c": "there is no difference", "d": "a road a road"}
SENTENCES = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join)


@pytest.fixture(scope="module")
def statistics():
    return measure(REFERENCES, HYPOTHESES, others=())


def test_the_whole_set_is_every_pair_once(statistics):
    once = statistics.totals(np.ones(4, dtype=np.int64))
    assert {name: float(value) for name, value in once.items()} == pytest.approx(
        {name: float(value) for name, value in statistics.totals().items()}
    )
    assert list(once) == list(NAMES)


def test_a_pair_that_counts_twice_is_a_pair_that_stands_there_twice(statistics):
    got = statistics.totals([2, 0, 1, 3])
    names = {"a": 2, "c": 1, "d": 3}
    references = {f"{i}{n}": REFERENCES[i] for i, times in names.items() for n in range(times)}
    twice = measure(references, {i: HYPOTHESES[i[0]] for i in references}, documents=REFERENCES.values(), others=())
    for name, value in twice.totals().items():
        assert got[name] == pytest.approx(value, rel=1e-12)


def test_many_resamples_are_totalled_at_once(statistics):
    times = np.random.default_rng(0).integers(0, 3, (2, 5, 4)) + np.eye(4, dtype=np.int64)[0]
    together = statistics.totals(times)
    assert together["Bleu_4"].shape == (2, 5)
    for name, values in together.items():
        assert values[1, 3] == pytest.approx(statistics.totals(times[1, 3])[name], rel=1e-12)


def test_a_mean_over_pairs_is_the_corpus_value_of_rouge_and_cider_and_not_of_bleu(statistics):
    each, corpus = statistics.per_pair(), statistics.totals()
    for name in ("ROUGE_L", "CIDEr", "CIDEr_plain"):
        assert corpus[name] == pytest.approx(each[name].mean())
    assert abs(corpus["Bleu_1"] - each["Bleu_1"].mean()) > 0.01


def test_a_set_of_no_pair_has_no_value(statistics):
    with pytest.raises(DataError, match="a set without pairs has no corpus value"):
        statistics.totals([[1, 0, 0, 0], [0, 0, 0, 0]])


def test_what_was_not_asked_for_says_so(statistics):
    assert statistics.missing["METEOR"] == "not asked for"
    assert statistics.missing["sm4"] == "needs METEOR"
    assert statistics.missing["sm5"] == "needs METEOR and SPICE"
    assert not statistics.missing.keys() & statistics.totals().keys()


def test_sm_is_the_plain_mean_of_four_or_five():
    values = {"Bleu_4": 0.2, "METEOR": 0.3, "ROUGE_L": 0.5, "CIDEr": 1.4}
    assert with_means(values)["sm4"] == pytest.approx(0.6)
    assert "sm5" not in with_means(values)
    assert with_means({**values, "SPICE": 0.1})["sm5"] == pytest.approx(0.5)
    assert "sm4" not in with_means({"Bleu_4": 0.2})


@pytest.mark.parametrize("hypotheses", [{}, {"a": ""}, HYPOTHESES | {"z": ""}])
def test_ids_that_differ_are_refused(hypotheses):
    with pytest.raises(DataError, match="same ids, got 4"):
        measure(REFERENCES, hypotheses, others=())


@pytest.mark.skipif(importlib.util.find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed")
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SENTENCES, st.lists(SENTENCES, min_size=1, max_size=4)), min_size=1, max_size=6))
def test_pycocoevalcap_is_of_the_same_opinion(pairs):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    assume(any(sentence for _, refs in pairs for sentence in refs))  # without a word pycocoevalcap has no maximum
    references = {str(i): refs for i, (_, refs) in enumerate(pairs)}
    hypotheses = {str(i): said for i, (said, _) in enumerate(pairs)}
    got = measure(references, hypotheses, others=())
    gts, res = references, {i: [said] for i, said in hypotheses.items()}
    corpus, each = got.totals(), got.per_pair()
    bleus, bleu_pairs = Bleu(4).compute_score(gts, res, verbose=0)
    for n in range(4):
        assert corpus[f"Bleu_{n + 1}"] == pytest.approx(bleus[n], abs=1e-9)
        np.testing.assert_allclose(each[f"Bleu_{n + 1}"], bleu_pairs[n], atol=1e-9)
    for name, scorer in {"ROUGE_L": Rouge(), "CIDEr": Cider()}.items():
        value, values = scorer.compute_score(gts, res)
        assert corpus[name] == pytest.approx(value, abs=1e-9)
        np.testing.assert_allclose(each[name], values, atol=1e-9)
        assert math.isfinite(corpus[name])
