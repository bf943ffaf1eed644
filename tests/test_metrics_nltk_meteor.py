"""NLTK's METEOR under its own name."""

import pytest

from changecap.errors import DataError
from changecap.metrics import nltk_meteor, score

REFERENCES = [["a house is built on the field", "houses appear"], ["the river is gone"], []]
HYPOTHESES = ["a house appears on the field", "", "a road"]


class NoWords:
    """A WordNet that knows no word, in place of one that may not be installed."""

    def ensure_loaded(self):
        pass

    def synsets(self, word):
        return []


class Absent(NoWords):
    """What NLTK has without the corpus."""

    def ensure_loaded(self):
        raise LookupError("wordnet")


@pytest.fixture
def wordnet(monkeypatch):
    monkeypatch.setattr("nltk.corpus.wordnet", NoWords())


def test_values_are_nltks_own_and_the_best_of_the_references(wordnet):
    from nltk.translate.meteor_score import meteor_score

    values = nltk_meteor.scores(REFERENCES, HYPOTHESES)
    split = [r.split() for r in REFERENCES[0]]
    assert values[0] == meteor_score(split, HYPOTHESES[0].split(), wordnet=NoWords()) > 0.5
    assert values.tolist()[1:] == [0, 0]


def test_a_sentence_that_comes_again_is_not_matched_again(wordnet, monkeypatch):
    import nltk.translate.meteor_score as theirs

    calls, real = [], theirs.single_meteor_score
    monkeypatch.setattr(theirs, "single_meteor_score", lambda *two, **rest: calls.append(two) or real(*two, **rest))
    assert nltk_meteor.scores([["no change", "no change"]] * 3, ["no change"] * 3).std() == 0
    assert len(calls) == 1


def test_without_wordnet_it_is_null_with_the_reason(monkeypatch):
    monkeypatch.setattr("nltk.corpus.wordnet", Absent())
    with pytest.raises(DataError, match=r"NLTK has no WordNet: python -m nltk\.downloader wordnet"):
        nltk_meteor.scores(REFERENCES, HYPOTHESES)
    found = score({"1": ["a house"]}, {"1": "a house"})
    assert found["corpus"]["NLTK_METEOR"] is None
    assert "NLTK has no WordNet" in found["computed"]["NLTK_METEOR"]
