import gzip
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from changecap.errors import DataError
from changecap.metrics import meteor
from changecap.metrics.meteor.stem import stem
from changecap.metrics.meteor.words import normalise

SYNSETS = {
    "home": [1], "house": [1, 2], "dwelling": [2], "street": [3], "road": [3], "big": [4], "large": [4], "erect": [5],
    "build": [5], "mouse": [6], "tree": [7], "parking_lot": [8],
}  # fmt: skip
INFLECTED = {"mouse": ["mice"], "build": ["built"]}
PARAPHRASES = [
    ("next to", "beside"), ("disappear", "are removed"), ("a lot of", "many"), ("parking lot", "car park"),
    ("many", "a lot of"), ("in the middle", "at the centre"), ("stays the same", "does not change"),
]  # fmt: skip
# Hypothesis, references, and what METEOR 1.5 (-l en -norm) says of them, with these tables and with "exact stem" alone.
GOLDEN = [
    (
        "many dwellings are built next to the large road",
        ["a lot of houses were erected beside the big streets", "nothing happens"],
        0.38592672921783117,
        0.018306636155606407,
    ),
    ("the car park disappears", ["a parking lot is removed"], 0.1584894731133983, 0.06635944700460829),
    (
        "trees disappear in the middle of the scene",
        ["the trees are removed at the centre", "two mice sit in a tree"],
        0.363197493958585,
        0.14869888475836432,
    ),
    ("the scene stays the same", ["the scene does not change"], 0.7454545454545454, 0.1736980589172093),
    ("a ROAD, and two Houses.", ["a road , and two houses ."], 1.0, 1.0),
    ("road road the road the house", ["the road the road house"], 0.4402610498206929, 0.4402610498206929),
    (
        "the well-known U.S. house's roof isn't 1,000 years old...",
        ["a well known us house 's roof is not 1,000 years old ..."],
        0.4298134850280776,
        0.4298134850280776,
    ),
    ("building", ["buildings"], 0.6, 0.6),
    ("a building", ["the buildings appear"], 0.10992366412213739, 0.10992366412213739),
    ("", ["a house is built"], 0.0, 0.0),
    ("house", ["home home"], 0.0, 0.0),
    ("mice", ["mouse"], 0.8, 0.0),
    ("one two three", ["four five six"], 0.0, 0.0),
    ("the the the", ["the the"], 0.4443438716486749, 0.4443438716486749),
]
CORPUS = 0.3387389955264539, 0.2179640793157063

PUBLIC = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "golden/metrics/public"


def entries(words):
    return "".join(f"{word}\n{' '.join(rest)}\n" for word, rest in words.items())


def distribution(folder, paraphrases=PARAPHRASES):
    """A METEOR distribution with tables of our own."""
    (folder / "data").mkdir(parents=True)
    with zipfile.ZipFile(folder / "meteor-1.5.jar", "w") as jar:
        numbers = {word: [f"{i:08d}" for i in ids] for word, ids in SYNSETS.items()}
        jar.writestr("synonym/english.synsets", entries(numbers))
        jar.writestr("synonym/english.exceptions", entries(INFLECTED))
    with gzip.open(folder / "data" / "paraphrase-en.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"0.25\n{a}\n{b}\n" for a, b in paraphrases)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CHANGECAP_METEOR", raising=False)
    return distribution(tmp_path / "meteor")


def score(references, hypothesis, tables=None):
    return float(meteor.values(meteor.statistics([references], [hypothesis], tables))[0])


@pytest.mark.parametrize("with_tables", [True, False])
def test_made_up_sentences_score_as_the_java_tool_scores_them(place, with_tables):
    hypotheses, references, *expected = zip(*GOLDEN, strict=True)
    got = meteor.statistics(references, hypotheses, meteor.load_tables(place) if with_tables else None)
    assert got.shape == (len(GOLDEN), meteor.COLUMNS)
    assert meteor.values(got) == pytest.approx(expected[not with_tables], abs=1e-12)
    assert meteor.values(got.sum(0)) == pytest.approx(CORPUS[not with_tables], abs=1e-12)


def test_the_second_use_reads_the_cache_and_gives_the_same(place, monkeypatch):
    first = meteor.load_tables(place)
    monkeypatch.setattr(gzip, "open", lambda *_, **__: pytest.fail("the distribution was read again"))
    second = meteor.load_tables(place)
    for hypothesis, references, value, _ in GOLDEN:
        assert score(references, hypothesis, first) == score(references, hypothesis, second)
        assert score(references, hypothesis, second) == pytest.approx(value)


def test_a_damaged_cache_is_written_anew(place, tmp_path):
    meteor.load_tables(place)
    [folder] = (tmp_path / "cache" / "changecap").iterdir()
    for name in ("others.npy", "words.npy"):
        content = (folder / name).read_bytes()
        for broken in (b"", content[:-2], b"x" * len(content)):
            (folder / name).write_bytes(broken)
            assert score(["the scene does not change"], "the scene stays the same", meteor.load_tables(place)) > 0.7
            assert (folder / name).read_bytes() == content
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_another_distribution_is_not_mistaken_for_the_one_in_the_cache(place, tmp_path):
    assert score(["a car"], "a boat", meteor.load_tables(place)) < 0.5
    other = distribution(tmp_path / "other", [("car", "boat")])
    assert score(["a car"], "a boat", meteor.load_tables(other)) > 0.5


def test_a_cache_that_cannot_be_written_is_done_without(place, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert score(["mouse"], "mice", meteor.load_tables(place)) == pytest.approx(0.8)


def test_the_distribution_is_found_by_its_jar_its_folder_and_the_environment(place, monkeypatch):
    for where in (place, place / "meteor-1.5.jar", str(place)):
        assert meteor.load_tables(where).source == str(place / "meteor-1.5.jar")
    monkeypatch.setenv("CHANGECAP_METEOR", str(place))
    assert meteor.load_tables().source == str(place / "meteor-1.5.jar")


def test_a_missing_distribution_is_said_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"meteor-1\.5\.jar.*nowhere.*CHANGECAP_METEOR"):
        meteor.load_tables(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["meteor-1.5.jar", "data/paraphrase-en.gz"])
def test_a_torn_distribution_is_an_error_and_leaves_no_cache(place, tmp_path, name):
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        meteor.load_tables(place)
    assert not (tmp_path / "cache").exists()


def test_the_best_reference_counts():
    alone = [score([reference], "a road is built") for reference in ("two roads", "a road appears", "trees")]
    assert score(["two roads", "a road appears", "trees"], "a road is built") == max(alone)


def test_a_corpus_is_scored_as_one_text_and_not_as_the_mean_of_its_pairs():
    sums = meteor.statistics([["a b c d"], ["a b c d e f"]], ["a b c d", "a b x e f"])
    both = meteor.values(sums.sum(0))
    assert both != pytest.approx(meteor.values(sums).mean())
    twice = meteor.statistics([["a b c d"], ["a b c d e f"]] * 2, ["a b c d", "a b x e f"] * 2)
    assert meteor.values(twice.sum(0)) == pytest.approx(both)


def test_sums_of_any_shape_have_values():
    sums = meteor.statistics([["a b"], ["c d e"]], ["a x", "c e"])
    stacked = np.stack([sums, sums[::-1]])
    assert meteor.values(stacked) == pytest.approx(np.stack([meteor.values(sums), meteor.values(sums)[::-1]]))
    assert meteor.values(np.zeros(meteor.COLUMNS)) == 0


def test_no_pair_has_no_rows():
    assert meteor.statistics([], []).shape == (0, meteor.COLUMNS)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Lower-right, t-shaped roads.", "lower right , t shaped roads ."),
        ("it's John's; don't 'quote' the '90s", "it 's john 's ; don 't ' quote ' the ' 90s"),
        ("5,300 a,b a,5 5,a", "5,300 a , b a , 5 5 , a"),
        ("Mr. Smith, e.g. in the U.S. at 5 p.m. No. 5 ends.", "mr. smith , eg in the us at 5 pm no. 5 ends ."),
        ("wait... what.. next. one", "wait ... what .. next. one"),
        ("\u201cso\u201d \u2013 \u2018it\u2019 \u2014 a--b a---b -a", "\" so \" - ' it ' \u2014 a b a--b -a"),
        ("a house😀 and cafe\u0301 caf\u00e9 中文", "a house 😀 and cafe \u0301 café 中 文"),
        (" a\u00a0b\u3000c\td ", "a b c d"),
        ("", ""),
    ],
)
def test_sentences_are_read_as_the_java_tool_reads_them(sentence, words):
    assert " ".join(normalise(sentence)) == words


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("buildings", "build"), ("constructed", "construct"), ("trees", "tree"), ("vegetation", "veget"),
        ("constructions", "construct"), ("skies", "sky"), ("dying", "die"), ("generally", "general"),
        ("hopping", "hop"), ("hoped", "hope"), ("agreed", "agre"), ("gas", "gas"), ("this", "this"), ("kiwis", "kiwi"),
        ("quantization", "quantiz"), ("relational", "relat"), ("happiness", "happi"), ("cried", "cri"), ("ties", "tie"),
        ("say", "say"), ("'s", "'s"), ("roll", "roll"), ("controlled", "control"), ("is", "is"), ("news", "news"),
    ],
)  # fmt: skip
def test_words_have_their_snowball_stems(word, expected):
    assert stem(word) == expected


words = st.lists(st.sampled_from(["the", "road", "roads", "house", "a", "built", ",", "Tree", "tree"]), max_size=9)
texts = st.one_of(st.text(max_size=40), words.map(" ".join))


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), texts)
@example(["\r"], "")
def test_whatever_is_scored_the_value_lies_between_0_and_1(references, hypothesis):
    assert 0 <= score(references, hypothesis) <= 1


@settings(max_examples=40, deadline=None)
@given(words.filter(bool).map(" ".join))
def test_a_sentence_against_itself_scores_1(sentence):
    assert score([sentence], sentence) == pytest.approx(1)


def test_a_hypothesis_of_10000_words_is_scored():
    assert 0 < score(["the road is built", "the house and the road"], "the road and a house " * 2_000) < 0.1


@pytest.fixture(scope="module")
def golden():
    if not (PUBLIC / "val300.scores.json").exists():
        pytest.skip(f"no golden scores in {PUBLIC}; set CHANGECAP_SHARED")
    data, expected, stages = (
        json.loads((PUBLIC / f"val300{x}.json").read_text("utf-8")) for x in ("", ".scores", ".ids_and_stages")
    )
    return data, expected["METEOR"], stages["METEOR_stages_words"]


def test_300_real_pairs_score_as_the_java_tool_scores_them_without_tables(golden):
    data, _, stages = golden
    got = meteor.statistics(list(data["refs"].values()), [data["hyps"][i] for i in data["refs"]])
    assert meteor.values(got.sum(0)) == pytest.approx(stages["exact_stem"]["corpus"], abs=1e-12)
    assert meteor.values(got).mean() == pytest.approx(stages["exact_stem"]["mean_of_pairs"], abs=1e-12)


def test_300_real_pairs_score_as_the_java_tool_scores_them(golden):
    data, expected, _ = golden
    try:
        tables = meteor.load_tables()
    except DataError as error:
        pytest.skip(str(error))
    got = meteor.statistics(list(data["refs"].values()), [data["hyps"][i] for i in data["refs"]], tables)
    each = [expected["per_sample"][i] for i in data["refs"]]
    assert meteor.values(got) == pytest.approx(np.array(each), abs=1e-12)
    assert meteor.values(got.sum(0)) == pytest.approx(expected["corpus"], abs=1e-12)
