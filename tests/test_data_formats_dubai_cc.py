import json

import numpy as np
import pytest
from PIL import Image

from changecap import data
from changecap.data.formats import dubai_cc
from changecap.errors import DataError


def entry(name="1.tif", **more):
    return {"filename": name, "sentences": [{"raw": "A road appeared.", "tokens": ["a", "road", "appeared"]}], **more}


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(path)


def captions(path, *entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": list(entries)}), encoding="utf-8")


@pytest.mark.parametrize("beside", ["description_jsontr_te_val", "captions", "."])
def test_the_published_layout_reads(tmp_path, beside):
    for split, name in (("Train", "1.tif"), ("Validation", "2.tif"), ("Test", "3.tif")):
        captions(tmp_path / beside / f"{split}_Dubai_CC.json", entry(name, split=split))
        for year in ("500_2000", "500_2010"):
            image(tmp_path / "imgs_tiles/RGB" / year / name)
    assert dubai_cc.splits(tmp_path) == ["train", "val", "test"]
    (example,) = dubai_cc.read(tmp_path, "val")
    assert example.a == tmp_path / "imgs_tiles/RGB/500_2000/2.tif"
    assert example.b == tmp_path / "imgs_tiles/RGB/500_2010/2.tif"
    assert example.captions == ("a road appeared",)
    assert data.load("dubai_cc", tmp_path, "test", size=64, maps=False)[0].a.shape == (3, 64, 64)


@pytest.mark.parametrize("before", ["images/", ""])
def test_the_layout_of_levir_cc_reads(tmp_path, before):
    captions(tmp_path / dubai_cc.CAPTIONS, entry(split="train"), entry("2.tif", split="test"))
    for split, name in (("train", "1.tif"), ("test", "2.tif")):
        for date in "AB":
            image(tmp_path / f"{before}{split}" / date / name)
    assert dubai_cc.splits(tmp_path) == ["train", "test"]
    assert dubai_cc.read(tmp_path, "test")[0].b == tmp_path / f"{before}test/B/2.tif"


def test_a_caption_file_per_split_needs_no_split_in_its_entries(tmp_path):
    captions(tmp_path / "train.json", entry())
    for date in "AB":
        image(tmp_path / "train" / date / "1.tif")
    assert len(dubai_cc.read(tmp_path, "train")) == 1


def test_what_was_looked_for_is_said(tmp_path):
    with pytest.raises(
        DataError, match=r"looked for DubaiCCcaptions\.json and val\*\.json .*description_jsontr_te_val"
    ):
        dubai_cc.read(tmp_path, "val")
    with pytest.raises(DataError, match="no captions of split train: looked for"):
        dubai_cc.splits(tmp_path)
    captions(tmp_path / "val.json", entry())
    with pytest.raises(DataError, match=r"looked for the folders images/val/A, val/A, imgs_tiles/RGB/500_2000"):
        dubai_cc.read(tmp_path, "val")


def test_two_files_that_could_be_the_captions_are_both_named(tmp_path):
    for name in ("train.json", "Train_Dubai_CC.json"):
        captions(tmp_path / name, entry())
    with pytest.raises(DataError, match=r"Train_Dubai_CC\.json and .*train\.json could both be the captions of split"):
        dubai_cc.read(tmp_path, "train")


def test_a_missing_date_and_maps_are_refused(tmp_path):
    captions(tmp_path / "train.json", entry())
    image(tmp_path / "train/A/1.tif")
    with pytest.raises(DataError, match=r"no image 1\.tif in .*train/B"):
        dubai_cc.read(tmp_path, "train")
    with pytest.raises(DataError, match="no land-cover maps; use inputs=rgb"):
        dubai_cc.read(tmp_path, "train", maps=True)
