import json

import numpy as np
import pytest
import torch
from PIL import Image

from changecap.data import load
from changecap.errors import DataError
from changecap.evaluation import baselines, nearest_neighbour
from changecap.landcover import to_rgb
from changecap.language.no_change import says_no_change

SAME = ["there is no difference", "the two scenes seem identical"]


@pytest.fixture
def root(tmp_path):
    """Eight training pairs and three test pairs of 20 x 20; test pair i is training pair 2i + 1 with some noise."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 200, (8, 2, 20, 20, 3)).astype(np.uint8)
    maps = draw.integers(0, 7, (8, 2, 20, 20)).astype(np.uint8)
    entries = []

    def add(split, name, image, classes, sentences, changed):
        for date, picture, labels in zip("AB", image, classes, strict=True):
            for kind, pixels in (("rgb", picture), ("sem", to_rgb(labels))):
                (tmp_path / split / kind / date).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / split / kind / date / name)
        made = [{"raw": s, "tokens": s.split()} for s in sentences]
        entries.append({"split": split, "filename": name, "changeflag": int(changed), "sentences": made})

    for i in range(8):
        changed = i % 2 == 1
        words = (
            [f"a house number {i} is built", "a house is built on the meadow" if i < 7 else "trees"]
            if changed
            else SAME
        )
        add("train", f"train{i}.png", images[i], maps[i], words, changed)
    for i in range(3):
        noisy = images[2 * i + 1] + draw.integers(0, 9, images[0].shape).astype(np.uint8)
        add("test", f"test{i}.png", noisy, maps[2 * i + 2], ["a house is built"] if i else SAME, bool(i))
    (tmp_path / "SECOND-CC-AUG.json").write_text(json.dumps({"dataset": "made up", "images": entries}))
    return tmp_path


@pytest.fixture
def sets(root):
    return load("second_cc", root, "train", size=20), load("second_cc", root, "test", size=20)


def test_constant_says_no_change_of_every_pair(sets):
    said = baselines.every(*sets, maps=False)["constant"].sentences
    assert list(said) == ["test0.png", "test1.png", "test2.png"]
    assert all(map(says_no_change, said.values()))


def test_template_is_right_about_every_flag_and_says_one_thing_of_changed_pairs(sets):
    said = baselines.every(*sets, maps=False)["template"].sentences
    assert said == {
        "test0.png": baselines.NOTHING,
        "test1.png": "a house is built on the meadow",
        "test2.png": "a house is built on the meadow",
    }


def test_nearest_by_rgb_finds_the_pair_that_looks_the_same(sets):
    assert nearest_neighbour.nearest(*sets, maps=False)["nearest_rgb"] == {
        f"test{i}.png": f"a house number {2 * i + 1} is built" for i in range(3)
    }


def test_nearest_by_maps_looks_at_the_maps_alone(sets):
    train = sets[0].examples
    assert nearest_neighbour.nearest(*sets, maps=True)["nearest_maps"] == {
        f"test{i}.png": train[2 * i + 2].captions[0] for i in range(3)
    }


def test_nearest_is_the_same_in_chunks(sets, monkeypatch):
    whole = nearest_neighbour.nearest(*sets, maps=True)
    monkeypatch.setattr(nearest_neighbour, "_CHUNK", 2)
    assert nearest_neighbour.nearest(*sets, maps=True) == whole


def test_the_order_of_the_dates_matters_to_the_nearest_pair(sets):
    pair = sets[1].batch([0])
    turned = pair._replace(a=pair.b, b=pair.a)
    rows = []
    for given in (pair, turned):
        sets[1].batch = lambda _, given=given: given
        rows.append(torch.cat(next(iter(nearest_neighbour._small(sets[1], 1, True))), 1))
    assert not torch.equal(*rows)


def test_maps_that_are_absent_cannot_be_looked_up(root):
    train, test = (load("second_cc", root, split, size=20, maps=False) for split in ("train", "test"))
    assert set(baselines.every(train, test, maps=False)) == {"constant", "template", "nearest_rgb"}
    with pytest.raises(DataError, match="no maps in the split 'train'"):
        nearest_neighbour.nearest(train, test, maps=True)


def test_a_limit_leaves_the_first_pairs(sets):
    for row in baselines.every(*sets, maps=True, limit=2).values():
        assert list(row.sentences) == ["test0.png", "test1.png"]


def test_every_row_says_what_it_was_given(sets):
    rows = baselines.every(*sets, maps=True, maps_are="predicted")
    assert {name: row.inputs for name, row in rows.items()} == {
        "constant": "nothing",
        "template": "true flag",
        "nearest_rgb": "rgb",
        "nearest_maps": "predicted maps",
    }


def test_the_medoid_is_typical_of_changes_and_says_more_than_what_is_true_of_every_pair():
    captions = [
        ("a change is seen", "a house stands on the meadow"),
        ("a change is seen", "a house stands on the meadow"),
        ("a change is seen", "trees"),
    ]
    # the first sentence stands there more often, but in every pair: its document frequency leaves it nothing
    assert baselines.medoid(captions) == "a house stands on the meadow"


def test_without_a_changed_training_pair_there_is_no_template():
    with pytest.raises(DataError, match="no changed pair among the training pairs"):
        baselines.medoid([])
