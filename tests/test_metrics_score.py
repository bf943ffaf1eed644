import json
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from changecap.errors import DataError
from changecap.language.no_change import NO_CHANGE
from changecap.metrics import METRICS, NAMES, score, score_files, statistics

SAME = ["there is no difference", "the two scenes seem identical", "the scene is the same as before"]
REFERENCES = {
    "p1": ["a house is built on the bare land", "a building appears"],
    "p2": ["some trees are removed", "the trees are gone from the meadow"],
    "p3": SAME,
    "p4": SAME,
}
HYPOTHESES = {"p1": "a house appears", "p2": "the trees are gone", "p3": SAME[0], "p4": "a road is built"}

plain = partial(score, others=())  # what needs nothing but the sentences

SENTENCES = st.text(st.sampled_from("ab \u0301\U0001f3e0é\u2009\n"), max_size=12) | st.text(max_size=6)


def values(scores):
    rows = [scores["corpus"], *scores["per_pair"].values(), *filter(None, scores["subsets"].values())]
    return [v for row in rows for v in row.values() if v is not None]


GOLDEN = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "golden/metrics/public"


@pytest.fixture(scope="module")
def golden():
    if not (GOLDEN / "val300.scores.json").exists():
        pytest.skip(f"no golden scores in {GOLDEN}; set CHANGECAP_SHARED")
    data, expected = (json.loads((GOLDEN / f"val300{x}.json").read_text("utf-8")) for x in ("", ".scores"))
    flags = (None, data["changed"])
    return *(score(data["refs"], data["hyps"], changed, others=()) for changed in flags), expected


@pytest.mark.parametrize("name", NAMES)
def test_300_real_pairs_score_as_the_reference_scores_them(golden, name):
    got, _, expected = golden
    assert got["corpus"][name] == pytest.approx(expected[name]["corpus"], abs=1e-9)
    per_pair = {i: values[name] for i, values in got["per_pair"].items()}
    assert per_pair == pytest.approx(expected[name]["per_sample"], abs=1e-9)
    for subset in ("change", "no_change"):
        assert got["subsets"][subset][name] == pytest.approx(expected[f"subset_{subset}"][name]["corpus"], abs=1e-9)


def test_what_the_references_say_and_the_given_flag_make_the_same_subsets(golden):
    by_words, by_flag, _ = golden
    assert by_words == by_flag


def test_pairs_with_no_change_sentences_only_are_the_no_change_subset():
    assert set(SAME) <= NO_CHANGE
    subsets = plain(REFERENCES, HYPOTHESES)["subsets"]
    assert subsets == plain(REFERENCES, HYPOTHESES, {"p1": True, "p2": True, "p3": False, "p4": False})["subsets"]
    mixed = {**REFERENCES, "p3": [*SAME, "a house is built"]}
    got = plain(mixed, HYPOTHESES)["subsets"]
    assert got == plain(mixed, HYPOTHESES, {"p1": True, "p2": True, "p3": True, "p4": False})["subsets"]
    assert got != subsets


def test_the_no_change_subset_has_cider_zero_by_its_own_frequencies_and_not_by_those_of_all_pairs():
    got = plain(REFERENCES, HYPOTHESES)
    assert got["subsets"]["no_change"]["CIDEr"] == 0
    mean = (got["per_pair"]["p3"]["CIDEr"] + got["per_pair"]["p4"]["CIDEr"]) / 2
    assert got["subsets"]["no_change"]["CIDEr_full_df"] == pytest.approx(mean)
    assert mean > 0


def test_a_subset_scores_as_if_it_were_scored_alone():
    alone = plain({i: REFERENCES[i] for i in ("p1", "p2")}, {i: HYPOTHESES[i] for i in ("p1", "p2")})
    subset = plain(REFERENCES, HYPOTHESES)["subsets"]["change"]
    assert {name: subset[name] for name in NAMES} == pytest.approx({name: alone["corpus"][name] for name in NAMES})


def test_a_subset_scored_alone_with_the_documents_of_the_full_set_scores_as_it_does_within_it():
    whole = plain(REFERENCES, HYPOTHESES)
    references, hypotheses = ({i: d[i] for i in ("p1", "p2")} for d in (REFERENCES, HYPOTHESES))
    alone = plain(references, hypotheses, documents=REFERENCES)
    assert alone["corpus"]["CIDEr"] == pytest.approx(whole["subsets"]["change"]["CIDEr_full_df"])
    assert alone["corpus"]["CIDEr"] != pytest.approx(whole["subsets"]["change"]["CIDEr"])
    assert alone["subsets"]["change"]["CIDEr"] == alone["corpus"]["CIDEr"]
    assert alone["per_pair"]["p1"]["CIDEr_plain"] == pytest.approx(whole["per_pair"]["p1"]["CIDEr_plain"])
    assert "4 given pairs" in alone["computed"]["CIDEr"]
    assert "4 scored pairs" in whole["computed"]["CIDEr"]


def test_a_corpus_without_references_has_no_document_frequencies():
    with pytest.raises(DataError, match="no document to take document frequencies from"):
        plain(REFERENCES, HYPOTHESES, documents={"x": []})


def test_a_subset_without_pairs_is_null():
    got = plain({"p": SAME}, {"p": SAME[0]})
    assert got["subsets"]["change"] is None
    assert got["subsets"]["no_change"]["CIDEr"] == 0


def test_no_value_is_ever_nan():
    references = {"a": [""], "b": ["x"], "c": ["x y", ""], "d": []}
    for words in ("", "x", "q", " "):
        assert all(map(math.isfinite, values(plain(references, dict.fromkeys(references, words)))))


def test_the_order_of_the_pairs_does_not_matter():
    turned = dict(reversed(HYPOTHESES.items()))
    assert plain(REFERENCES, turned) == plain(REFERENCES, HYPOTHESES)


def test_a_missing_hypothesis_scores_as_an_empty_sentence():
    less = {i: HYPOTHESES[i] for i in ("p1", "p2", "p3")}
    got, empty = plain(REFERENCES, less), plain(REFERENCES, less | {"p4": ""})
    assert {key: got[key] for key in ("corpus", "per_pair", "subsets")} == {
        key: empty[key] for key in ("corpus", "per_pair", "subsets")
    }
    assert got["counts"] == {
        "pairs": 4,
        "missing_hypotheses": 1,
        "extra_ids": 0,
        "without_references": 0,
        "empty_hypotheses": 0,
    }
    assert got["notes"] == ["1 id without a hypothesis, scored as an empty sentence: 'p4'"]
    assert empty["notes"] == ["1 id whose hypothesis has no word, scored as it is: 'p4'"]


@pytest.mark.parametrize(
    ("references", "kind", "note"),
    [
        (REFERENCES, "extra_ids", "1 id in the hypotheses only, scored as without references: 'z'"),
        (
            REFERENCES | {"z": []},
            "without_references",
            "1 id without references, scored 0 and counted in the means, no document of CIDEr: 'z'",
        ),
    ],
    ids=["an extra id", "an empty list"],
)
def test_a_pair_without_references_scores_zero_and_counts(references, kind, note):
    whole = plain(REFERENCES, HYPOTHESES)
    got = plain(references, HYPOTHESES | {"z": "a house is built"})
    assert got["notes"] == [note]
    assert got["counts"]["pairs"] == 5
    assert got["counts"][kind] == 1
    odd = got["per_pair"].pop("z")
    assert max(odd[name] for name in NAMES) < 1e-8  # BLEU's epsilons
    assert got["per_pair"] == whole["per_pair"]  # the fifth is no document
    for name in ("ROUGE_L", "CIDEr", "CIDEr_plain"):
        assert got["corpus"][name] == pytest.approx(whole["corpus"][name] * 4 / 5)
    assert got["subsets"] == whole["subsets"]


def test_the_words_of_a_pair_without_references_are_guesses_and_leave_the_brevity_penalty():
    references, said = {"p": ["a b c d e f"]}, {"p": "a b c"}
    got = plain(references, said | {"z": "x y z"})["corpus"]["Bleu_1"]
    assert got == pytest.approx(3 / 6 * math.exp(1 - 9 / 6), rel=1e-6)


def test_a_pair_without_references_is_in_the_subset_that_the_flag_says():
    references, said = REFERENCES | {"z": []}, HYPOTHESES | {"z": "a"}
    flags = {"p1": True, "p2": True, "p3": False, "p4": False, "z": True}
    assert plain(references, said)["subsets"] == plain(REFERENCES, HYPOTHESES)["subsets"]
    got = plain(references, said, flags)["subsets"]["change"]["ROUGE_L"]
    assert got == pytest.approx(plain(REFERENCES, HYPOTHESES)["subsets"]["change"]["ROUGE_L"] * 2 / 3)


def test_a_part_that_is_missing_is_null_with_its_reason_and_the_others_are_there(monkeypatch):
    def broken(references, hypotheses):
        raise DataError("no java on the PATH")

    def known(references, hypotheses):
        assert references[-1] == [""]  # never a pair without any reference
        return np.arange(len(hypotheses)) / 10

    monkeypatch.setitem(statistics._COUNTED, "SPICE", broken)
    monkeypatch.setitem(statistics._COUNTED, "NLTK_METEOR", known)
    got = score(REFERENCES | {"z": []}, HYPOTHESES, others=("SPICE", "NLTK_METEOR"))
    assert list(got["corpus"]) == list(METRICS)
    for row in (got["corpus"], got["per_pair"]["p1"], got["subsets"]["change"]):
        assert row["SPICE"] is None
        assert row["sm5"] is None
    assert got["computed"]["SPICE"] == "not computed: no java on the PATH"
    assert got["computed"]["sm5"] == "not computed: needs METEOR and SPICE"
    assert got["corpus"]["NLTK_METEOR"] == pytest.approx(0.2)
    assert got["per_pair"]["p3"]["NLTK_METEOR"] == pytest.approx(0.2)
    assert got["subsets"]["change"]["NLTK_METEOR"] == pytest.approx(0.05)


def test_one_pair_alone_has_no_cider():
    got = plain({"p": ["a b c d"]}, {"p": "a b c d"})
    assert got["corpus"]["CIDEr"] == got["corpus"]["CIDEr_plain"] == 0
    assert got["corpus"]["ROUGE_L"] == 1


def test_ids_are_scored_as_strings_of_numbers_where_unknown_words_are_one():
    vocabulary = {"<NULL>": 0, "<UNK>": 1, "a": 2, "house": 3}
    references, said = {"p": ["a shed", "a house"], "q": ["a road is"]}, {"p": "a barn", "q": "a house"}
    got = plain(references, said, vocabulary=vocabulary)
    as_ids = plain({"p": ["2 1", "2 3"], "q": ["2 1 1"]}, {"p": "2 1", "q": "2 3"})
    assert {key: got[key] for key in ("corpus", "per_pair")} == {key: as_ids[key] for key in ("corpus", "per_pair")}
    assert got["per_pair"]["p"]["ROUGE_L"] == 1
    assert "4 known" in got["computed"]["ROUGE_L"]


def test_subsets_are_told_apart_by_words_also_where_ids_are_scored():
    vocabulary = {"<UNK>": 0, "a": 1}
    assert plain(REFERENCES, HYPOTHESES, vocabulary=vocabulary)["subsets"]["no_change"] is not None


def test_a_vocabulary_without_unknown_words_is_refused():
    with pytest.raises(DataError, match="the vocabulary of 1 words has no <UNK>"):
        plain(REFERENCES, HYPOTHESES, vocabulary={"a": 0})


def test_300_real_pairs_in_ids_score_as_the_authors_repositories_print(golden):
    data = json.loads((GOLDEN / "val300.json").read_text("utf-8"))
    expected = json.loads((GOLDEN / "val300.ids_and_stages.json").read_text("utf-8"))["ids"]
    vocabulary = json.loads((GOLDEN / "vocabulary_468.json").read_text("utf-8"))
    got = plain(data["refs"], data["hyps"], vocabulary=vocabulary)["corpus"]
    for name in NAMES:
        if name != "CIDEr_plain":  # no repository prints it
            assert got[name] == pytest.approx(expected[name], abs=1e-9)


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        ({"p": ["a"], "q": ["b"]}, {"p": "a"}, "1 id without a hypothesis: 'q'"),
        ({"p": ["a"]}, {"p": "a", "z": "b"}, "1 id in the hypotheses only: 'z'"),
        ({"p": []}, {"p": "a"}, "1 id without references: 'p'"),
    ],
)
def test_ids_that_do_not_match_are_an_error_where_they_must(references, hypotheses, message):
    with pytest.raises(DataError, match=f"must have the same ids, but {message}"):
        plain(references, hypotheses, strict=True)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.text(max_size=2) | st.integers(0, 9), st.lists(SENTENCES, max_size=3), min_size=1, max_size=4),
    st.dictionaries(st.text(max_size=2) | st.integers(0, 9), SENTENCES, max_size=4),
    st.booleans(),
)
def test_whatever_is_said_is_scored_with_a_number_for_every_id(references, hypotheses, in_ids):
    assume(all(len({*map(str, ids)}) == len(ids) for ids in (references, hypotheses)))  # 1 and "1" are one
    got = plain(references, hypotheses, vocabulary={"<UNK>": 0, "a": 1} if in_ids else None)
    assert set(got["per_pair"]) == {str(i) for i in (*references, *hypotheses)}
    assert all(math.isfinite(v) and v >= 0 for v in values(got))
    json.dumps(got, allow_nan=False)


def test_a_hypothesis_of_ten_thousand_words_is_scored():
    got = plain(REFERENCES, HYPOTHESES | {"p1": "a house appears " * 3333 + "there"})
    assert 0 < got["per_pair"]["p1"]["Bleu_1"] < 1e-3
    assert got["per_pair"]["p1"]["CIDEr"] < 1e-9 < got["per_pair"]["p1"]["CIDEr_plain"]


def test_a_flag_that_is_missing_is_named():
    with pytest.raises(DataError, match="1 not in changed: 'p4'"):
        score(REFERENCES, HYPOTHESES, {"p1": True, "p2": True, "p3": False})


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "references.json", tmp_path / "hypotheses.json"
    for path, value in zip(paths, (REFERENCES, HYPOTHESES), strict=True):
        path.write_text(json.dumps(value), "utf-8")
    return paths


def test_files_score_as_what_is_in_them(files, tmp_path):
    out = tmp_path / "new" / "scores.json"
    assert score_files(*files, out) == score(REFERENCES, HYPOTHESES)
    assert json.loads(out.read_text("utf-8")) == score(REFERENCES, HYPOTHESES)
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]


def test_flags_may_come_from_a_file(files, tmp_path):
    flags = {"p1": True, "p2": False, "p3": False, "p4": True}
    (tmp_path / "changed.json").write_text(json.dumps(flags))
    assert score_files(*files, changed=tmp_path / "changed.json") == score(REFERENCES, HYPOTHESES, flags)
    (tmp_path / "changed.json").write_text(json.dumps(flags | {"p2": "no"}))
    with pytest.raises(DataError, match="true or false for each id, got 'no' for 'p2'"):
        score_files(*files, changed=tmp_path / "changed.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe{}", "hypotheses.json is not UTF-8: invalid start byte at byte 0"),
        (b"", "hypotheses.json is empty or broken JSON: .* line 1 column 1"),
        (b'{"p1": "a",\n oops}', "hypotheses.json is empty or broken JSON: .* line 2 column 2"),
        (b"[1]", r"hypotheses must be {id: sentences} or COCO's .* got list \[1\] .*hypotheses.json"),
        (b'"a b"', "hypotheses must be {id: sentences} or COCO's .* got str 'a b'"),
        (b'{"p1": "a", "p1": "b"}', "hypotheses.json: the id 'p1' stands there twice"),
        (b"[" * 200_000, "hypotheses.json is nested too deeply"),
        (b'{"p1": null}', "a hypothesis must be one sentence, got None for 'p1' .*hypotheses.json"),
        (b'{"p1": "\\ud83d"}', "hypotheses.json holds half a character"),
    ],
    ids=["not UTF-8", "empty", "broken", "a list", "text", "twice", "deep", "null", "half"],
)
def test_a_bad_file_is_named_with_the_place(files, tmp_path, content, message):
    files[1].write_bytes(content)
    with pytest.raises(DataError, match=message):
        score_files(*files, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_a_missing_file_is_named(files, tmp_path):
    with pytest.raises(DataError, match=r"no file .*absent\.json"):
        score_files(tmp_path / "absent.json", files[1])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(files, tmp_path, monkeypatch):
    out = tmp_path / "out" / "scores.json"
    out.parent.mkdir()
    out.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        score_files(*files, out)
    assert [(path.name, path.read_text()) for path in out.parent.iterdir()] == [("scores.json", "old")]
