import json

import numpy as np
import pytest
from PIL import Image

from changecap import data
from changecap.data.formats import levir_cc
from changecap.errors import DataError


def entry(name="train_000001.png", split="train", sentences=(" a road is built .",), **more):
    return {"filepath": split, "filename": name, "split": split, "sentences": [{"raw": s} for s in sentences], **more}


def write(root, *entries, kinds="AB"):
    """LEVIR-CC in ``root`` with these entries, all their images there."""
    (root / levir_cc.CAPTIONS).write_text(json.dumps({"images": list(entries)}), encoding="utf-8")
    for e in entries:
        for kind in kinds:
            path = root / "images" / e["split"] / kind / e["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return root


def test_pairs_are_joined_by_name_with_their_captions(tmp_path):
    write(tmp_path, entry(), entry("train_000002.png", changeflag=0, sentences=["There is no difference ."]))
    one, two = levir_cc.read(tmp_path, "train")
    folder = tmp_path / "images/train"
    assert (one.id, one.a, one.b) == (
        "train_000001.png",
        folder / "A/train_000001.png",
        folder / "B/train_000001.png",
    )
    assert (one.sem_a, one.sem_b, one.mask, one.changed) == (None, None, None, None)
    assert (one.captions, two.captions, two.changed) == (("a road is built",), ("there is no difference",), False)


def test_a_data_set_is_loaded_without_maps(tmp_path):
    write(tmp_path, entry())
    dataset = data.load("levir_cc", tmp_path, "train", size=4, maps=False)
    assert dataset[0].a.shape == (3, 4, 4)
    assert dataset[0].sem_a is None


def test_maps_are_refused_with_the_setting_that_helps(tmp_path):
    write(tmp_path, entry())
    with pytest.raises(DataError, match=r"LEVIR-CC in .* has no land-cover maps; use inputs=rgb"):
        data.load("levir_cc", tmp_path, "train")


def test_masks_of_levir_mci_are_noted_where_they_are(tmp_path):
    write(tmp_path, entry(), kinds=("A", "B", "label"))
    assert levir_cc.read(tmp_path, "train")[0].mask == tmp_path / "images/train/label/train_000001.png"


@pytest.mark.parametrize("date", "AB")
def test_a_missing_image_is_named_with_its_folder(tmp_path, date):
    write(tmp_path, entry())
    (tmp_path / "images/train" / date / "train_000001.png").unlink()
    with pytest.raises(DataError, match=rf"no image train_000001\.png in .*images/train/{date}, .*complete"):
        levir_cc.read(tmp_path, "train")


def test_all_problems_are_reported_to_those_who_go_on(tmp_path):
    entries = [entry("a.png"), entry("b.png"), entry("b.png"), entry("c.png", sentences=())]
    write(tmp_path, *entries)
    for name in ("A/a.png", "B/b.png"):
        (tmp_path / "images/train" / name).unlink()
    (tmp_path / levir_cc.CAPTIONS).write_text(json.dumps({"images": [*entries, {"split": "train"}]}))
    noted = []
    examples = levir_cc.read(tmp_path, "train", report=lambda kind, message: noted.append(kind))
    assert [e.id for e in examples] == ["a.png", "b.png", "c.png"]
    assert sorted(noted) == ["captions", "captions", "captions", "missing", "missing"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty or broken JSON"),
        (b'{"images": [', "empty or broken JSON"),
        (b'{"images": ["\xe9"]}', "is not UTF-8"),
        (b"[]", "expected the caption file of LEVIR-CC"),
        (b'{"images": [5]}', "entry 0 of images is not as LEVIR-CC writes it"),
        (b'{"images": [{"split": 3}]}', "split must be a text, got 3"),
    ],
)
def test_a_caption_file_that_cannot_be_used_says_why_and_where(tmp_path, content, message):
    (tmp_path / levir_cc.CAPTIONS).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        levir_cc.read(tmp_path, "train")
    assert str(tmp_path / levir_cc.CAPTIONS) in str(caught.value)


def test_a_caption_file_that_begins_with_a_byte_order_mark_reads(tmp_path):
    write(tmp_path, entry())
    file = tmp_path / levir_cc.CAPTIONS
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(levir_cc.read(tmp_path, "train")) == 1


def test_a_folder_in_place_of_the_caption_file_is_an_error(tmp_path):
    (tmp_path / levir_cc.CAPTIONS).mkdir()
    with pytest.raises(DataError, match=r"LevirCCcaptions\.json cannot be read: Is a directory"):
        levir_cc.read(tmp_path, "train")


def test_the_splits_are_those_of_the_caption_file(tmp_path):
    write(tmp_path, entry("a.png", "test"), entry("b.png", "restval"), entry("c.png"))
    assert levir_cc.splits(tmp_path) == ["test", "train"]
