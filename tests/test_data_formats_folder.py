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
from changecap.data.formats import folder
from changecap.errors import DataError
from changecap.language.vocabulary import tokenise


def image(path, colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 6, 3), colour, np.uint8)).save(path)


def pairs(root, *names, kinds=("A", "B")):
    for name in names:
        for kind in kinds:
            image(root / kind / name, 255 if "sem" in kind else 0)
    return root


def write(root, content):
    (root / "captions.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_folder_without_captions_is_a_test_split_to_be_captioned(tmp_path):
    pairs(tmp_path, "b.png", "a.png")
    assert folder.splits(tmp_path) == ["test"]
    one, two = folder.read(tmp_path, "test", maps=False)
    assert (one.id, one.a, one.b) == ("a.png", tmp_path / "A/a.png", tmp_path / "B/a.png")
    assert (two.captions, two.changed, two.sem_a) == ((), None, None)
    assert data.load("folder", tmp_path, "test", maps=False)[0].a.shape == (3, 8, 6)


def test_a_plain_folder_is_not_trained_and_tested_on_at_once(tmp_path):
    pairs(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"has no split 'train', only: test; .* a plain one is the split test"):
        folder.read(tmp_path, "train", maps=False)


def test_splits_are_folders(tmp_path):
    pairs(tmp_path / "train", "a.png")
    pairs(tmp_path / "val", "b.png")
    write(tmp_path, {"a.png": ["A tree!"], "b.png": ["a house"]})
    assert folder.splits(tmp_path) == ["train", "val"]
    assert folder.read(tmp_path, "train", maps=False)[0].captions == ("a tree",)
    with pytest.raises(DataError, match="has no split 'test', only: train, val"):
        folder.read(tmp_path, "test", maps=False)


def test_endings_may_differ_between_the_dates(tmp_path):
    for name in ("A/a.png", "B/a.jpg", "sem_a/a.png", "sem_b/a.PNG"):
        image(tmp_path / name)
    (example,) = folder.read(tmp_path, "test")
    assert [p.name for _, p in example.files()] == ["a.png", "a.jpg", "a.png", "a.PNG"]


def test_maps_that_are_not_there_are_asked_for_in_vain(tmp_path):
    pairs(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"neither sem_a nor sem_b is there; use inputs=rgb"):
        folder.read(tmp_path, "test")
    pairs(tmp_path, "a.png", kinds=["sem_a"])
    with pytest.raises(DataError, match=r"no land-cover map a\.png in .*sem_b"):
        folder.read(tmp_path, "test")


@pytest.mark.parametrize("date", "AB")
def test_an_image_without_partner_is_named(tmp_path, date):
    pairs(tmp_path, "a.png")
    image(tmp_path / date / "b.png")
    with pytest.raises(DataError, match=rf"no image b\.png in .*{'B' if date == 'A' else 'A'}, "):
        folder.read(tmp_path, "test", maps=False)


def test_two_files_of_one_stem_are_an_error_that_names_both(tmp_path):
    pairs(tmp_path, "a.png")
    image(tmp_path / "A/a.tif")
    with pytest.raises(DataError, match=r"a\.png and a\.tif in .*A are both called a"):
        folder.read(tmp_path, "test", maps=False)


@pytest.mark.parametrize("names", [("A/Pic.png", "B/pic.png"), ("A/Pic.png", "B/Pic.png", "A/pic.png", "B/pic.png")])
def test_names_that_differ_only_in_case_are_an_error_that_names_both(tmp_path, names):
    for name in names:
        image(tmp_path / name)
    if len(list((tmp_path / "A").iterdir())) + len(list((tmp_path / "B").iterdir())) < len(names):
        pytest.skip("this file system does not tell upper case from lower")
    with pytest.raises(DataError, match=r"Pic\.png and .*pic\.png differ only in case"):
        folder.read(tmp_path, "test", maps=False)


def test_loops_of_links_and_other_files_are_passed_by(tmp_path):
    pairs(tmp_path, "a.png")
    try:
        (tmp_path / "A/loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "train").symlink_to("train")
        (tmp_path / "A/self.png").symlink_to("self.png")
    except OSError:
        pytest.skip("this system has no symbolic links")
    (tmp_path / "A/notes.txt").write_text("x")
    (tmp_path / "A/.hidden.png").write_text("x")
    with pytest.raises(DataError, match=r"no image self\.png in .*A, "):
        folder.read(tmp_path, "test", maps=False)
    (tmp_path / "A/self.png").unlink()
    assert [e.id for e in folder.read(tmp_path, "test", maps=False)] == ["a.png"]


@pytest.mark.parametrize(
    "content",
    [
        {"a.png": ["A tree!", "a house"]},
        {"a": ["a tree", "a house"]},
        [{"filename": "a.png", "captions": ["a tree", "a house"]}],
        [{"filename": "a.jpg", "sentences": [{"raw": "a tree ."}, {"raw": "a house ."}]}],
    ],
)
def test_captions_are_joined_by_name(tmp_path, content):
    pairs(tmp_path, "a.png")
    write(tmp_path, content)
    assert folder.read(tmp_path, "test", maps=False)[0].captions == ("a tree", "a house")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "is neither"),
        ({"a.png": "a tree"}, "entry 0 is not"),
        ({"a.png": [5]}, "entry 0 is not"),
        ([{"captions": ["a"]}], "entry 0 is not"),
        ([["a.png", "a tree"]], "entry 0 is not"),
        ([{"filename": "a.png", "captions": ["x"]}] * 2, r"a\.png is listed twice"),
        ({"a.png": []}, r"a\.png has no caption, or an empty one"),
        ({"a.png": ["..."]}, r"a\.png has no caption, or an empty one"),
        ({"a.png": ["x"], "b.png": ["x"]}, r"lists b\.png, but .* has no such pair"),
        ({}, r"has no caption for a\.png"),
    ],
)
def test_captions_that_do_not_fit_are_errors(tmp_path, content, message):
    pairs(tmp_path, "a.png")
    write(tmp_path, content)
    with pytest.raises(DataError, match=message):
        folder.read(tmp_path, "test", maps=False)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty or broken JSON"), (b'{"\xe9', "is not UTF-8"), (b"{", "line 1 column 2")]
)
def test_a_broken_caption_file_says_why(tmp_path, content, message):
    pairs(tmp_path, "a.png")
    (tmp_path / "captions.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        folder.read(tmp_path, "test", maps=False)


def test_a_folder_that_holds_no_pairs_says_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match=r"no folder A and no B in .*; a folder of pairs has A/ \(before\)"):
        folder.read(tmp_path, "test", maps=False)
    (tmp_path / "A").mkdir()
    with pytest.raises(DataError, match=r"no folder B in "):
        folder.read(tmp_path, "test", maps=False)
    (tmp_path / "B").mkdir()
    with pytest.raises(DataError, match=r"no pair in .*: A and B hold no file that ends in \.png"):
        folder.read(tmp_path, "test", maps=False)


STEMS = st.text("abAB.é _-1", min_size=1, max_size=4).filter(lambda s: s[0] != "." and s.strip(".") == s)
NAMES = st.dictionaries(STEMS, st.sampled_from([*folder.ENDINGS, ".PNG", ".txt", ""]), max_size=6)


@settings(deadline=None, max_examples=50)
@given(NAMES, NAMES)
def test_pairs_are_the_stems_of_both_folders_and_the_rest_is_reported(before, after):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for date, names in (("A", before), ("B", after)):
            (root / date).mkdir()
            for stem, ending in names.items():
                (root / date / f"{stem}{ending}").touch()
        if sum(len(os.listdir(root / date)) for date in "AB") < len(before) + len(after):
            return  # this file system does not tell upper case from lower
        here, there = ({s for s, e in names.items() if e.lower() in folder.ENDINGS} for names in (before, after))
        rows = {row.stem: row for row in folder.join([root / "A", root / "B"])}
        assert rows.keys() == here | there
        assert [*rows] == sorted(rows)
        for stem, row in rows.items():
            assert row.files[0] == (root / "A" / f"{stem}{before[stem]}" if stem in here else None)
            assert row.files[1] == (root / "B" / f"{stem}{after[stem]}" if stem in there else None)
            assert bool(row.problem) == any(o != stem and o.casefold() == stem.casefold() for o in rows)
        reports = []
        if not rows:
            with pytest.raises(DataError, match="no pair in"):
                folder.read(root, "test", maps=False)
            return
        examples = folder.read(root, "test", maps=False, report=lambda kind, message: reports.append(kind))
        assert len(examples) == len(rows)
        assert reports.count("missing") == len(here ^ there)
        assert reports.count("names") == sum(bool(row.problem) for row in rows.values())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.booleans())
def test_captions_of_any_text_come_as_their_words(said, listed):
    with tempfile.TemporaryDirectory() as place:
        root = pairs(Path(place), "a.png")
        write(root, [{"filename": "a.png", "captions": said}] if listed else {"a.png": said})
        words = [" ".join(tokenise(s)) for s in said]
        reports = []
        (example,) = folder.read(root, "test", maps=False, report=lambda kind, message: reports.append(kind))
        assert example.captions == tuple(filter(None, words))
        assert reports == ([] if all(words) else ["captions"])
