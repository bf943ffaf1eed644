import json
import os

import pytest

from changecap.errors import DataError
from changecap.language.vocabulary import SPECIAL, Vocabulary, tokenise


@pytest.fixture
def vocabulary():
    return Vocabulary.build(["a house is built", "a road is built", "a tree is removed"])


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The scene is the same as before .", ["the", "scene", "is", "the", "same", "as", "before"]),
        (
            "a t-shaped house,next to the court's edge",
            ["a", "t-shaped", "house", "next", "to", "the", "court's", "edge"],
        ),
        ("two -- 'quoted' ends- -starts", ["two", "quoted", "ends", "starts"]),
        ("ÉTANG à côté, 5 Häuser l\u2019eau 房子", ["étang", "à", "côté", "5", "häuser", "l\u2019eau", "房子"]),
        (" \t\n.,;! ", []),
    ],
)
def test_words_are_lower_case_runs_of_letters_with_hyphens_and_apostrophes_inside(sentence, words):
    assert tokenise(sentence) == words


def test_tokenising_twice_changes_nothing():
    sentence = "Trees, at the top-left corner's edge: replaced!"
    assert tokenise(" ".join(tokenise(sentence))) == tokenise(sentence)


def test_ids_go_by_count_and_then_by_the_alphabet(vocabulary):
    assert vocabulary.words == [*SPECIAL, "a", "is", "built", "house", "removed", "road", "tree"]
    assert (vocabulary.pad, vocabulary.unk, vocabulary.start, vocabulary.end) == (0, 1, 2, 3)


def test_the_order_of_the_captions_does_not_matter(vocabulary):
    other = Vocabulary.build(["a tree is removed", "a road is built", "a house is built"])
    assert other.words == vocabulary.words


def test_words_rarer_than_the_minimum_count_are_unknown():
    vocabulary = Vocabulary.build(["a house", "a tree"], min_count=2)
    assert vocabulary.words == [*SPECIAL, "a"]
    assert vocabulary.encode("A house") == [2, 4, 1, 3]


def test_a_minimum_count_that_no_word_reaches_is_an_error():
    with pytest.raises(DataError, match="no word occurs 3 times"):
        Vocabulary.build(["a house", "a tree"], min_count=3)


def test_a_sentence_survives_encoding_and_decoding(vocabulary):
    ids = vocabulary.encode("A house, is removed!")
    assert (ids[0], ids[-1]) == (vocabulary.start, vocabulary.end)
    assert vocabulary.decode(ids) == "a house is removed"


def test_decoding_stops_at_the_first_end_and_leaves_padding_out(vocabulary):
    a, tree = vocabulary.encode("a tree")[1:-1]
    assert vocabulary.decode([2, a, 0, tree, 3, a, a]) == "a tree"


def test_a_saved_vocabulary_reads_back_equal_and_leaves_no_second_file(vocabulary, tmp_path):
    path = tmp_path / "vocabulary.json"
    Vocabulary([*SPECIAL, "étang"]).save(path)
    vocabulary.save(path)
    assert Vocabulary.load(path).words == vocabulary.words
    assert os.listdir(tmp_path) == ["vocabulary.json"]


def test_a_full_disk_leaves_the_saved_vocabulary_as_it_was(vocabulary, tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.json"
    vocabulary.save(path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Vocabulary([*SPECIAL, "other"]).save(path)
    assert Vocabulary.load(path).words == vocabulary.words
    assert os.listdir(tmp_path) == ["vocabulary.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or broken JSON: Expecting value"),
        (b'["<pad>", "<unk>"', "is empty or broken JSON: Expecting"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"a": 4}', "expected a JSON list of words"),
        (b'["<pad>", "<unk>", "<start>", "<end>", 5]', "expected a JSON list of words"),
        (b'["a", "<unk>", "<start>", "<end>"]', "a vocabulary begins with <pad>, <unk>, <start>, <end>"),
        (b'["<pad>", "<unk>", "<start>", "<end>", "a", "a"]', "holds each word once"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_named_in_the_error(tmp_path, content, message):
    path = tmp_path / "words.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_vocabulary_is_named_in_the_error(tmp_path):
    with pytest.raises(DataError, match=r"no vocabulary at .*gone\.json"):
        Vocabulary.load(tmp_path / "gone.json")


def test_the_file_is_plain_readable_json(tmp_path):
    path = tmp_path / "vocabulary.json"
    Vocabulary([*SPECIAL, "étang"]).save(path)
    assert json.loads(path.read_text(encoding="utf-8"))[4:] == ["étang"]
    assert "étang" in path.read_text(encoding="utf-8")
