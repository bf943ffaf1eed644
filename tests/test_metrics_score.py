import json
import math
import os
from pathlib import Path

import pytest

from changecap.errors import DataError
from changecap.flag import NO_CHANGE
from changecap.metrics import NAMES, score, score_files

SAME = ["there is no difference", "the two scenes seem identical", "the scene is the same as before"]
REFERENCES = {
    "p1": ["a house is built on the bare land", "a building appears"],
    "p2": ["some trees are removed", "the trees are gone from the meadow"],
    "p3": SAME,
    "p4": SAME,
}
HYPOTHESES = {"p1": "a house appears", "p2": "the trees are gone", "p3": SAME[0], "p4": "a road is built"}

GOLDEN = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "golden/metrics/public"


@pytest.fixture(scope="module")
def golden():
    if not (GOLDEN / "val300.scores.json").exists():
        pytest.skip(f"no golden scores in {GOLDEN}; set CHANGECAP_SHARED")
    data, expected = (json.loads((GOLDEN / f"val300{x}.json").read_text("utf-8")) for x in ("", ".scores"))
    return score(data["refs"], data["hyps"]), score(data["refs"], data["hyps"], data["changed"]), expected


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
    subsets = score(REFERENCES, HYPOTHESES)["subsets"]
    assert subsets == score(REFERENCES, HYPOTHESES, {"p1": True, "p2": True, "p3": False, "p4": False})["subsets"]
    mixed = {**REFERENCES, "p3": [*SAME, "a house is built"]}
    got = score(mixed, HYPOTHESES)["subsets"]
    assert got == score(mixed, HYPOTHESES, {"p1": True, "p2": True, "p3": True, "p4": False})["subsets"]
    assert got != subsets


def test_the_no_change_subset_has_cider_zero_by_its_own_frequencies_and_not_by_those_of_all_pairs():
    got = score(REFERENCES, HYPOTHESES)
    assert got["subsets"]["no_change"]["CIDEr"] == 0
    mean = (got["per_pair"]["p3"]["CIDEr"] + got["per_pair"]["p4"]["CIDEr"]) / 2
    assert got["subsets"]["no_change"]["CIDEr_full_df"] == pytest.approx(mean)
    assert mean > 0


def test_a_subset_scores_as_if_it_were_scored_alone():
    alone = score({i: REFERENCES[i] for i in ("p1", "p2")}, {i: HYPOTHESES[i] for i in ("p1", "p2")})
    subset = score(REFERENCES, HYPOTHESES)["subsets"]["change"]
    assert {name: subset[name] for name in NAMES} == pytest.approx(alone["corpus"])


def test_a_subset_without_pairs_is_null():
    got = score({"p": SAME}, {"p": SAME[0]})
    assert got["subsets"]["change"] is None
    assert got["subsets"]["no_change"]["CIDEr"] == 0


def test_no_value_is_ever_nan():
    references = {"a": [""], "b": ["x"], "c": ["x y", ""]}
    for words in ("", "x", "q", " "):
        got = score(references, dict.fromkeys(references, words))
        values = [*got["corpus"].values(), *(v for row in got["per_pair"].values() for v in row.values())]
        assert all(map(math.isfinite, values))


def test_the_order_of_the_pairs_does_not_matter():
    turned = dict(reversed(HYPOTHESES.items()))
    assert score(REFERENCES, turned) == score(REFERENCES, HYPOTHESES)


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        ({"p": ["a"], "q": ["b"]}, {"p": "a"}, "1 not in hypotheses: 'q'"),
        ({"p": ["a"]}, {"p": "a", "z": "b"}, "1 not in references: 'z'"),
        ({}, {}, "nothing to score"),
        ({"p": []}, {"p": "a"}, r"one or more sentences, got \[\] for 'p'"),
        ({"p": "a b"}, {"p": "a"}, "one or more sentences, got 'a b' for 'p'"),
        ({"p": ["a", 3]}, {"p": "a"}, r"got \['a', 3\] for 'p'"),
        ({"p": ["a"]}, {"p": ["a"]}, r"one sentence, got \['a'\] for 'p'"),
    ],
)
def test_what_cannot_be_scored_is_named(references, hypotheses, message):
    with pytest.raises(DataError, match=message):
        score(references, hypotheses)


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
        (b"[1]", "hypotheses.json must hold a JSON object .* got list"),
        (b'{"p1": "a", "p1": "b"}', "hypotheses.json: the id 'p1' stands there twice"),
        (b"[" * 200_000, "hypotheses.json is nested too deeply"),
        (b'{"p1": "a"}', "3 not in hypotheses: 'p2', 'p3', 'p4' .*hypotheses.json"),
    ],
    ids=["not UTF-8", "empty", "broken", "a list", "twice", "deep", "ids missing"],
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
