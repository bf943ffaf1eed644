import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from changecap import data
from changecap.data.formats import second_cc
from changecap.errors import ConfigError, DataError
from changecap.language.facts import Fact

REAL = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "second_cc_real"
FOLDERS = ("rgb/A", "rgb/B", "sem/A", "sem/B")


def entry(name="0.png", split="test", sentences=("There is no difference .",), **more):
    return {"split": split, "filename": name, "changeflag": 0, "sentences": [{"raw": s} for s in sentences], **more}


def write(root, *entries, files=True):
    """The data set in ``root`` with these entries, all their files there."""
    (root / second_cc.CAPTIONS).write_text(json.dumps({"images": list(entries)}), encoding="utf-8")
    for e in entries if files else ():
        for folder in FOLDERS:
            path = root / ("train" if e["split"] == "restval" else e["split"]) / folder / e["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return root


def test_pairs_are_joined_by_name_with_their_captions_and_flag(tmp_path):
    write(tmp_path, entry("b.png", changeflag=1, sentences=("A House, is built!", "a tree")), entry("a.png"))
    one, two = second_cc.read(tmp_path, "test")
    folder = tmp_path / "test"
    assert (one.id, one.a, one.b) == ("b.png", folder / "rgb/A/b.png", folder / "rgb/B/b.png")
    assert (one.sem_a, one.sem_b) == (folder / "sem/A/b.png", folder / "sem/B/b.png")
    assert (one.captions, one.changed, one.facts) == (("a house is built", "a tree"), True, None)
    assert (two.id, two.changed) == ("a.png", False)


def test_tokens_are_taken_before_the_raw_sentence(tmp_path):
    said = [{"raw": "not this", "tokens": ["A", "House", "."]}, {"raw": "but this", "tokens": []}]
    write(tmp_path, {**entry(), "sentences": said})
    assert second_cc.read(tmp_path, "test")[0].captions == ("a house", "but this")


def test_restval_belongs_to_train(tmp_path):
    write(tmp_path, entry("a.png", "train"), entry("b.png", "restval"))
    assert [e.id for e in second_cc.read(tmp_path, "train")] == ["a.png", "b.png"]


def test_facts_are_read_where_the_file_has_them(tmp_path):
    fact = {"from": "tree", "to": "building", "count": 2, "place": "top left"}
    write(tmp_path, entry("a.png", facts=[fact]), entry("b.png", facts=[]))
    one, two = second_cc.read(tmp_path, "test")
    assert one.facts == (Fact("tree", "building", 2, "top left"),)
    assert two.facts == ()


def test_a_flag_that_is_absent_is_unknown(tmp_path):
    bare = entry()
    del bare["changeflag"]
    write(tmp_path, bare)
    assert second_cc.read(tmp_path, "test")[0].changed is None


def test_without_maps_none_need_be_there(tmp_path):
    write(tmp_path, entry())
    for date in "AB":
        (tmp_path / "test/sem" / date / "0.png").unlink()
    assert second_cc.read(tmp_path, "test", maps=False)[0].sem_a is None
    with pytest.raises(DataError, match=r"no land-cover map 0\.png in .*test/sem/A.*inputs=rgb"):
        second_cc.read(tmp_path, "test")


@pytest.mark.parametrize("folder", ["rgb/A", "rgb/B"])
def test_a_missing_image_is_named_with_its_folder(tmp_path, folder):
    write(tmp_path, entry("7.png"))
    (tmp_path / "test" / folder / "7.png").unlink()
    with pytest.raises(DataError, match=rf"no image 7\.png in .*test/{folder}, .*complete the data set"):
        second_cc.read(tmp_path, "test", maps=False)


def test_splits_that_are_absent_are_fine_until_asked_for(tmp_path):
    write(tmp_path, entry("a.png", "train"), entry("b.png", "test"))
    assert len(second_cc.read(tmp_path, "train")) == 1
    with pytest.raises(DataError, match="has no split 'val', only: test, train"):
        second_cc.read(tmp_path, "val")


def test_a_broken_other_split_does_not_matter(tmp_path):
    write(tmp_path, entry("a.png", "train"))
    write(tmp_path, entry("a.png", "train"), entry("gone.png", "test"), files=False)
    assert len(second_cc.read(tmp_path, "train")) == 1


def test_a_pair_listed_twice_in_a_split_is_an_error(tmp_path):
    write(tmp_path, entry("a.png"), entry("a.png", "train"), entry("a.png"))
    assert len(second_cc.read(tmp_path, "train")) == 1
    with pytest.raises(DataError, match=r"a\.png is listed twice in split test"):
        second_cc.read(tmp_path, "test")


@pytest.mark.parametrize("sentences", [(), ("a tree", " . ")])
def test_a_pair_without_a_caption_is_an_error(tmp_path, sentences):
    write(tmp_path, entry("a.png", sentences=sentences))
    with pytest.raises(DataError, match=r"a\.png in split test has no caption, or an empty one"):
        second_cc.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty or broken JSON: Expecting value: line 1 column 1"),
        (b'{"images": [\n{"split":}]}', r"empty or broken JSON: Expecting value: line 2 column 10"),
        (b'{"images": ["\xe9"]}', r"is not UTF-8: .*byte 13"),
        (b"[]", "has no list 'images'"),
        (b'{"images": {}}', "has no list 'images'"),
        (b'{"images": [5]}', "entry 0 of images is not as SECOND-CC writes it"),
        (b'{"images": []}', "has no split 'test', only: no pairs at all"),
    ],
)
def test_a_caption_file_that_cannot_be_used_says_why_and_where(tmp_path, content, message):
    (tmp_path / second_cc.CAPTIONS).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        second_cc.read(tmp_path, "test")
    assert str(tmp_path / second_cc.CAPTIONS) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filename": 5}, "filename must be a text"),
        ({"filename": ["a"]}, "filename must be a text"),
        ({"changeflag": "0"}, "changeflag 0 or 1, got .*'0'"),
        ({"split": ["test"]}, "entry 1"),
        ({"sentences": 5}, "entry 1"),
        ({"sentences": ["a house"]}, "entry 1"),
        ({"sentences": [{"tokens": "a house"}]}, "tokens must be a list of words"),
        ({"sentences": [{"tokens": [1]}]}, "entry 1"),
        ({"sentences": [{"raw": 5}]}, "entry 1"),
        ({"sentences": [{}]}, "entry 1.*KeyError"),
        ({"facts": [{"from": "tree"}]}, "entry 1.*KeyError"),
        ({"facts": None}, "entry 1"),
    ],
)
def test_an_entry_of_another_structure_is_named_by_its_number(tmp_path, change, message):
    write(tmp_path, entry("a.png"), {**entry("b.png"), **change}, files=False)
    with pytest.raises(DataError, match=message):
        second_cc.read(tmp_path, "val")


def test_a_fact_that_cannot_be_is_an_error(tmp_path):
    fact = {"from": "tree", "to": "castle", "count": 1, "place": "top"}
    write(tmp_path, entry("a.png", facts=[fact]))
    with pytest.raises(DataError, match="got 'castle'"):
        second_cc.read(tmp_path, "test")


def test_a_folder_without_the_caption_file_says_what_to_set(tmp_path):
    with pytest.raises(DataError, match=r"no SECOND-CC-AUG\.json in .*; set data\.root"):
        second_cc.read(tmp_path, "test")


def test_loading_by_name_gives_the_split_as_a_data_set(tmp_path):
    write(tmp_path, entry("a.png"))
    dataset = data.load("second_cc", str(tmp_path), "test", size=4)
    assert (len(dataset), dataset.split, dataset[0].a.shape) == (1, "test", (3, 4, 4))


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.name='levir', expected one of: second_cc"):
        data.load("levir", tmp_path, "test")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real example at {REAL}; set CHANGECAP_SHARED")
def test_the_real_example_reads():
    dataset = data.load("second_cc", REAL, "test")
    pair, example = dataset[0].check(), dataset.examples[0]
    assert (len(dataset), len(example.captions), example.changed) == (1, 5, True)
    assert pair.a.shape == (3, 162, 162)
    assert pair.sem_a.unique().tolist() != [0]
    assert pair.a.float().mean() > 20


SPLIT_NAMES = st.sampled_from(["train", "val", "test", "restval", "other"])


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(min_size=1, max_size=6), SPLIT_NAMES, min_size=1, max_size=8))
def test_every_pair_is_in_the_split_its_entry_names_and_in_no_other(assigned):
    with tempfile.TemporaryDirectory() as place:
        images = [entry(name, split) for name, split in assigned.items()]
        (Path(place) / second_cc.CAPTIONS).write_text(json.dumps({"images": images}), encoding="utf-8")
        wanted = {name: "train" if split == "restval" else split for name, split in assigned.items()}
        assert second_cc.splits(Path(place)) == list(dict.fromkeys(wanted.values()))
        for split in {*wanted.values()}:
            found = second_cc.read(Path(place), split, False, lambda kind, message: None)  # no file is there
            assert [e.id for e in found] == [name for name, own in wanted.items() if own == split]
        absent = next(s for s in ("train", "val", "test", "other", "fifth") if s not in wanted.values())
        with pytest.raises(DataError, match=f"has no split '{absent}'"):
            second_cc.read(Path(place), absent, False)
