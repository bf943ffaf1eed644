import json

import numpy as np
import pytest
from PIL import Image

from changecap import data
from changecap.data.formats import chg2cap_tokens
from changecap.errors import DataError

SAID = [["A", "house", ",", "and", "trees"], ["there", "is", "no", "change"], ["a", "road"]]


def write(root, *names, split="test", lines=None, said=SAID):
    """Pairs as the code of Chg2Cap keeps them."""
    (root / "tokens").mkdir(exist_ok=True)
    for i, name in enumerate(names):
        for j, date in enumerate("AB"):
            folder = root / "images" / split / date
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((5, 7, 3), 10 * i + j, np.uint8)).save(folder / name)
        tokens = [["<START>", *words, "<END>"] for words in said]
        (root / "tokens" / f"{name.split('.')[0]}.txt").write_text(json.dumps(tokens))
    (root / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines or names))
    (root / "vocab.json").write_text(json.dumps({"<NULL>": 0, "<UNK>": 1, "<START>": 2, "<END>": 3, "a": 4}))


def test_pairs_are_joined_by_name_in_the_order_of_the_list(tmp_path):
    write(tmp_path, "test_000002.png", "test_000001.png")
    one, two = chg2cap_tokens.read(tmp_path, "test")
    folder = tmp_path / "images/test"
    assert (one.id, one.a, one.b) == ("test_000002.png", folder / "A/test_000002.png", folder / "B/test_000002.png")
    assert (one.sem_a, one.sem_b, one.changed) == (None, None, None)
    assert one.captions == ("a house and trees", "there is no change", "a road")
    assert two.id == "test_000001.png"


def test_the_lines_of_a_training_pair_are_its_captions(tmp_path):
    lines = ["train_1.png-0", "train_1.png-1", "train_1.png-2", "train_2.png-2", "train_2.png-0"]
    write(tmp_path, "train_1.png", "train_2.png", split="train", lines=lines)
    one, two = chg2cap_tokens.read(tmp_path, "train")
    assert len(one.captions) == 3
    assert two.captions == ("a road", "a house and trees")


def test_lists_that_were_appended_to_twice_count_once(tmp_path):
    write(tmp_path, "train_1.png", split="train", lines=[f"train_1.png-{k}" for k in (0, 1, 2)] * 2)
    (one,) = chg2cap_tokens.read(tmp_path, "train")
    assert len(one.captions) == 3


def test_a_name_may_hold_hyphens_and_dots(tmp_path):
    write(tmp_path, "a-1.x-2.png", lines=["a-1.x-2.png-1"])
    (one,) = chg2cap_tokens.read(tmp_path, "test")
    assert (one.id, one.captions) == ("a-1.x-2.png", ("there is no change",))
    assert (tmp_path / "tokens/a-1.txt").is_file()  # as the authors name it, up to the first dot


def test_loading_by_name_gives_images_without_maps(tmp_path):
    write(tmp_path, "test_1.png", "test_2.png")
    pair = data.load("chg2cap_tokens", tmp_path, "test", maps=False)[1].check()
    assert (pair.a.shape, pair.a.max(), pair.b.max(), pair.sem_a) == ((3, 5, 7), 10, 11, None)
    with pytest.raises(DataError, match="has no maps; use inputs=rgb"):
        data.load("chg2cap_tokens", tmp_path, "test")[0]
    packed = data.load("chg2cap_tokens", tmp_path, "test", maps=False, pack=True)
    assert packed[1].b.equal(pair.b)


def test_a_missing_list_says_which_are_there(tmp_path):
    with pytest.raises(DataError, match=r"no list val\.txt in .*; set data\.root"):
        chg2cap_tokens.read(tmp_path, "val")
    write(tmp_path, "test_1.png")
    with pytest.raises(DataError, match=r"no list val\.txt in .*; it has only: test"):
        chg2cap_tokens.read(tmp_path, "val")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n \n", r"test\.txt is empty"),
        (b"test_1.png\n\nsomething\n", r"line 3: expected a file name .* got 'something'"),
        (b"test_1.png-x\n", r"line 1: expected a file name"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"test_1.png-3\n", r"test_1\.png-3 is listed, but its token file has 3 captions"),
        (b"test_9.png\n", r"no image test_9\.png in .*images/test/A, but test\.txt lists it"),
    ],
)
def test_a_list_that_does_not_fit_is_an_error_with_its_place(tmp_path, content, said):
    write(tmp_path, "test_1.png")
    (tmp_path / "test.txt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        chg2cap_tokens.read(tmp_path, "test")


@pytest.mark.parametrize("date", ["A", "B"])
def test_a_missing_image_is_named_with_its_folder(tmp_path, date):
    write(tmp_path, "test_1.png")
    (tmp_path / "images/test" / date / "test_1.png").unlink()
    with pytest.raises(DataError, match=rf"no image test_1\.png in .*test/{date}"):
        chg2cap_tokens.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"no test_1\.txt in .*tokens"),
        ("", r"test_1\.txt is empty or broken JSON"),
        ("{}", "expected a JSON list of captions, each a list of words"),
        ('["a house"]', "expected a JSON list of captions, each a list of words"),
        ("[[2, 5, 3]]", "expected a JSON list of captions, each a list of words"),
        ("[]", "has no caption, or an empty one"),
        ('[["<START>", "<END>"]]', "has no caption, or an empty one"),
    ],
)
def test_a_token_file_that_does_not_fit_is_named(tmp_path, content, said):
    write(tmp_path, "test_1.png")
    path = tmp_path / "tokens/test_1.txt"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=said):
        chg2cap_tokens.read(tmp_path, "test")
