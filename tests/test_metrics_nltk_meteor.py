import json
import os
from pathlib import Path

import nltk
import pytest
from nltk.corpus import wordnet
from nltk.translate.meteor_score import meteor_score

from changecap.errors import DataError
from changecap.metrics import nltk_meteor

PUBLIC = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "golden/metrics/public"
REFERENCES = [["a house is built on the bare land", "A home appears"], ["trees vanish"], [""], ["a road", "the roads"]]
HYPOTHESES = ["a big home was erected", "", "a tree", "roads road the"]


@pytest.fixture
def _wordnet():
    try:
        wordnet.ensure_loaded()
    except LookupError:
        pytest.skip("WordNet is not in NLTK's data folders")


@pytest.mark.usefixtures("_wordnet")
def test_it_is_what_nltk_itself_says():
    expected = [meteor_score([r.split() for r in rs], h.split()) for rs, h in zip(REFERENCES, HYPOTHESES, strict=True)]
    assert nltk_meteor.scores(REFERENCES, HYPOTHESES).tolist() == expected
    assert expected[1] == expected[2] == 0


@pytest.mark.usefixtures("_wordnet")
def test_300_real_pairs_score_as_nltk_scores_them():
    if not (PUBLIC / "val300.scores.json").exists():
        pytest.skip(f"no golden scores in {PUBLIC}; set CHANGECAP_SHARED")
    data, expected = (json.loads((PUBLIC / f"val300{x}.json").read_text("utf-8")) for x in ("", ".scores"))
    got = nltk_meteor.scores(list(data["refs"].values()), [data["hyps"][i] for i in data["refs"]])
    assert got == pytest.approx([expected["NLTK_METEOR"]["per_sample"][i] for i in data["refs"]], abs=1e-12)
    assert got.mean() == pytest.approx(expected["NLTK_METEOR"]["corpus"], abs=1e-12)


def test_without_wordnet_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr("nltk.corpus.wordnet", nltk.corpus.LazyCorpusLoader("wordnet", nltk.corpus.WordNetCorpusReader))
    nltk_meteor._single.cache_clear()
    with pytest.raises(DataError, match=r"WordNet.*nltk\.downloader wordnet"):
        nltk_meteor.scores([["a"]], ["a"])
