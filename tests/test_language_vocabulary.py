import json

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
    assert (vocabulary.pad, vocabulary.unk, vocabulary.bos, vocabulary.eos) == (0, 1, 2, 3)


def test_the_order_of_the_captions_does_not_matter(vocabulary):
    other = Vocabulary.build(["a tree is removed", "a road is built", "a house is built"])
    assert other.words == vocabulary.words


def test_words_rarer_than_the_minimum_count_are_unknown():
    vocabulary = Vocabulary.build(["a house", "a tree"], min_count=2)
    assert vocabulary.words == [*SPECIAL, "a"]
    assert vocabulary.encode("A house") == [4, 1]


def test_a_minimum_count_that_no_word_reaches_is_an_error():
    with pytest.raises(DataError, match="no word occurs 3 times"):
        Vocabulary.build(["a house", "a tree"], min_count=3)


def test_a_sentence_survives_encoding_and_decoding(vocabulary):
    ids = vocabulary.encode("A house, is removed!")
    assert not {vocabulary.bos, vocabulary.eos} & set(ids)
    assert vocabulary.decode(ids) == "a house is removed"


def test_each_id_has_a_piece_special_ones_too(vocabulary):
    assert vocabulary.pieces([2, *vocabulary.encode("a zebra"), 3]) == ["<start>", "a", "<unk>", "<end>"]


def test_decoding_stops_at_the_first_end_and_leaves_padding_out(vocabulary):
    a, tree = vocabulary.encode("a tree")
    assert vocabulary.decode([2, a, 0, tree, 3, a, a]) == "a tree"


def test_a_dumped_vocabulary_reads_back_equal(vocabulary, tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_bytes(vocabulary.dump())
    read = Vocabulary.load(path)
    assert read.words == vocabulary.words
    assert read.hash == vocabulary.hash


def test_another_word_is_another_hash(vocabulary):
    assert Vocabulary([*vocabulary.words, "other"]).hash != vocabulary.hash
    swapped = [*vocabulary.words[:-2], vocabulary.words[-1], vocabulary.words[-2]]
    assert Vocabulary(swapped).hash != vocabulary.hash


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
    path.write_bytes(Vocabulary([*SPECIAL, "étang"]).dump())
    assert json.loads(path.read_text(encoding="utf-8"))[4:] == ["étang"]
    assert "étang" in path.read_text(encoding="utf-8")
