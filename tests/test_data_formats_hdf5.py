import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from changecap import data
from changecap.data.dataset import PairDataset
from changecap.data.example import Example
from changecap.data.formats import hdf5
from changecap.errors import DataError
from changecap.io.sources import Stored
from changecap.landcover import PALETTE

BASE = "SECOND_CC_2_cap_per_img_1_min_word_freq"
SIDE, PAIRS, EACH, LENGTH = 8, 3, 2, 9
SAID = [["a", "tree"], ["there", "is", "a", "house"], ["no", "change"], ["<unk>", "is", "there"], ["a"], ["house"]]
WORDS = {w: i for i, w in enumerate(["<pad>", *sorted({w for s in SAID for w in s} - {"<unk>"})])}
WORDS |= {w: len(WORDS) + i for i, w in enumerate(("<unk>", "<start>", "<end>"))}


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


def write(root, split="TEST", pictures=4, images=None, base=BASE, **options):
    """The files of one split as the authors' code writes them; what is on no place is black in the maps."""
    h5py = pytest.importorskip("h5py")
    random = np.random.default_rng(0)
    if images is None:
        images = random.integers(0, 256, (PAIRS, pictures, 3, SIDE, SIDE), np.uint8)
        colours = np.concatenate([np.zeros((1, 3), np.uint8), PALETTE[1:]])
        classes = random.integers(0, 7, (PAIRS, pictures - 2, SIDE, SIDE))
        images[:, 2:] = np.moveaxis(colours[classes], -1, 2)
    with h5py.File(root / f"{split}_IMAGES_{base}.hdf5", "w") as file:
        file.attrs["captions_per_image"] = EACH
        file.create_dataset("images", data=images, **options)
    rows = [[WORDS[w] for w in ("<start>", *said, "<end>")] for said in SAID]
    save(root, f"{split}_CAPTIONS_{base}", [row + [WORDS["<pad>"]] * (LENGTH - len(row)) for row in rows])
    save(root, f"{split}_CAPLENS_{base}", [len(row) for row in rows])
    save(root, f"WORDMAP_{base}", WORDS)
    return images


def save(root, name, content):
    (root / f"{name}.json").write_text(json.dumps(content))


def load(root, name):
    return json.loads((root / f"{name}.json").read_text())


def classes_of(picture):
    """Classes of a map in colours ``(3, H, W)``, black as unlabelled."""
    table = {tuple(c): i for i, c in enumerate(PALETTE.tolist())} | {(0, 0, 0): 0}
    return [[table[tuple(c)] for c in row] for row in np.moveaxis(picture, 0, -1).tolist()]


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}], ids=str)
def test_pairs_and_maps_come_as_they_are_stored(tmp_path, options):
    images = write(tmp_path, **options)
    dataset = data.load("hdf5", tmp_path, "test")
    assert len(dataset) == PAIRS
    for i in range(PAIRS):
        pair = dataset[i].check()
        np.testing.assert_array_equal(pair.a.numpy(), images[i, 0])
        np.testing.assert_array_equal(pair.b.numpy(), images[i, 1])
        assert pair.sem_a.tolist() == classes_of(images[i, 2])
        assert pair.sem_b.tolist() == classes_of(images[i, 3])


def test_captions_are_the_words_of_the_ids_and_five_belong_to_a_pair(tmp_path):
    write(tmp_path)
    one, two, three = hdf5.read(tmp_path, "test")
    assert (one.id, one.captions, one.changed) == ("test_000000", ("a tree", "there is a house"), None)
    assert two.captions == ("no change", "unk is there")  # which word it was is lost
    assert three.captions == ("a", "house")
    assert three.sem_b == Stored(tmp_path / f"TEST_IMAGES_{BASE}.hdf5", 2, 3)


def test_splits_have_files_of_their_own(tmp_path):
    write(tmp_path, "TEST")
    write(tmp_path, "TRAIN", images=np.zeros((3, 4, 3, SIDE, SIDE), np.uint8))
    assert data.load("hdf5", tmp_path, "train")[0].a.max() == 0
    assert data.load("hdf5", tmp_path, "test")[0].a.max() > 0
    with pytest.raises(DataError, match=r"no split 'val' \(VAL_IMAGES_\*\.hdf5\), only: test, train"):
        hdf5.read(tmp_path, "val")


def test_a_file_of_two_pictures_a_pair_has_no_maps(tmp_path):
    images = write(tmp_path, pictures=2, base="LEVIR_CC_5_cap_per_img_5_min_word_freq")
    pair = data.load("hdf5", tmp_path, "test", maps=False)[1]
    np.testing.assert_array_equal(pair.b.numpy(), images[1, 1])
    with pytest.raises(DataError, match="has no maps; use inputs=rgb"):
        data.load("hdf5", tmp_path, "test")[1]


def test_without_maps_none_are_read(tmp_path):
    write(tmp_path)
    assert hdf5.read(tmp_path, "test", maps=False)[0].sem_a is None
    assert data.load("hdf5", tmp_path, "test", maps=False)[0].sem_b is None


@pytest.mark.parametrize("size", [None, 4])
def test_preloaded_and_packed_it_gives_the_same(tmp_path, size, monkeypatch):
    write(tmp_path)
    lazy, ready = (data.load("hdf5", tmp_path, "test", size) for _ in "ab")
    ready.preload(workers=4)
    packed = data.load("hdf5", tmp_path, "test", size, pack=True)
    monkeypatch.setattr(hdf5, "pixels", None)
    again = data.load("hdf5", tmp_path, "test", size, pack=True)
    monkeypatch.undo()
    for other in (ready, packed, again):
        assert all(map(torch.equal, lazy.batch([2, 0]), other.batch([2, 0])))


def test_a_file_that_is_replaced_is_opened_and_packed_anew(tmp_path):
    write(tmp_path)
    one = data.load("hdf5", tmp_path, "test", pack=True)
    black = np.zeros((PAIRS, 4, 3, SIDE, SIDE), np.uint8)
    before = (tmp_path / f"TEST_IMAGES_{BASE}.hdf5").stat()
    (tmp_path / f"TEST_IMAGES_{BASE}.hdf5").unlink()
    write(tmp_path, images=black)
    os.utime(tmp_path / f"TEST_IMAGES_{BASE}.hdf5", ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert data.load("hdf5", tmp_path, "test")[0].a.max() == 0
    assert data.load("hdf5", tmp_path, "test", pack=True)[0].a.max() == 0
    assert one[0].a.max() > 0


def _sum(dataset):
    return dataset[1].a.sum().item()


@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_open_the_file_for_themselves(tmp_path, way):
    images = write(tmp_path)
    dataset = data.load("hdf5", tmp_path, "test")
    expected = int(images[1, 0].astype(int).sum())
    assert _sum(dataset) == expected
    with ProcessPoolExecutor(2, mp_context=get_context(way)) as pool:
        assert list(pool.map(_sum, [dataset] * 4)) == [expected] * 4


def test_a_colour_off_the_palette_names_the_picture(tmp_path):
    images = write(tmp_path)
    images[1, 3, :, 0, 0] = (9, 8, 7)
    write(tmp_path, images=images)
    with pytest.raises(DataError, match=r"hdf5\[1, 3\]: 1 pixels of colour \(9, 8, 7\)"):
        data.load("hdf5", tmp_path, "test")[1]
    assert data.load("hdf5", tmp_path, "test", palette="nearest")[1].sem_b[0, 0] == 0


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    (tmp_path / f"TEST_IMAGES_{BASE}.hdf5").write_bytes(b"whatever")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"needs h5py, which is not installed: pip install 'changecap\[hdf5\]'"):
        hdf5.read(tmp_path, "test")


def test_an_empty_folder_says_what_to_set(tmp_path):
    with pytest.raises(DataError, match=r"no TEST_IMAGES_\*\.hdf5 in .*; set data\.root"):
        hdf5.read(tmp_path, "test")


def test_two_data_sets_in_one_folder_are_an_error(tmp_path):
    for base in "ab":
        (tmp_path / f"TEST_IMAGES_{base}.hdf5").touch()
    with pytest.raises(DataError, match=r"several data sets \(TEST_IMAGES_a\.hdf5, TEST_IMAGES_b\.hdf5\)"):
        hdf5.read(tmp_path, "test")


@pytest.mark.parametrize("content", [b"", b"<html>", "cut"], ids=str)
def test_a_file_that_is_no_hdf5_or_cut_short_is_named(tmp_path, content):
    write(tmp_path)
    path = tmp_path / f"TEST_IMAGES_{BASE}.hdf5"
    path.write_bytes(path.read_bytes()[:1500] if content == "cut" else content)
    with pytest.raises(DataError, match=r"TEST_IMAGES_.*is no HDF5 file with a dataset 'images', or cut short"):
        hdf5.read(tmp_path, "test")


def test_another_dataset_in_the_file_is_not_taken_for_images(tmp_path, h5py):
    write(tmp_path)
    with h5py.File(tmp_path / f"TEST_IMAGES_{BASE}.hdf5", "w") as file:
        file["pictures"] = np.zeros(3)
    with pytest.raises(DataError, match="no HDF5 file with a dataset 'images'"):
        hdf5.read(tmp_path, "test")
    with h5py.File(tmp_path / f"TEST_IMAGES_{BASE}.hdf5", "w") as file:
        file.create_group("images").attrs["something"] = 1
    with pytest.raises(DataError, match="images is a group"):
        hdf5.read(tmp_path, "test")


@pytest.mark.parametrize("shape", [(3, 3, 3, 8, 8), (3, 4, 8, 8, 3), (3, 3, 8, 8)])
def test_images_of_another_shape_are_refused(tmp_path, shape):
    write(tmp_path, images=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=r"images is \(3, .*expected \(N, 4 or 2, 3, H, W\) uint8"):
        hdf5.read(tmp_path, "test")


def test_images_that_are_not_eight_bit_are_refused(tmp_path):
    write(tmp_path, images=np.zeros((PAIRS, 2, 3, 8, 8), np.float32))
    with pytest.raises(DataError, match="float32; expected"):
        hdf5.read(tmp_path, "test")


@pytest.mark.parametrize("name", ["WORDMAP", "TEST_CAPTIONS", "TEST_CAPLENS"])
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no {}.*copy it too"), ("{", "{}.* is empty or broken JSON"), ('"x"', "{}.* is a str; expected a")],
)
def test_a_companion_that_is_missing_or_broken_is_named(tmp_path, name, content, said):
    write(tmp_path)
    path = tmp_path / f"{name}_{BASE}.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=said.format(name)):
        hdf5.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ids: ids.pop("<end>"), "it has no <end>"),
        (lambda ids: ids.update(tree="7"), "an id is no number"),
        (lambda ids: ids.pop("tree"), "caption 0 is no list of ids in the word map: KeyError"),
    ],
)
def test_a_word_map_that_does_not_fit_is_an_error(tmp_path, change, said):
    write(tmp_path)
    ids = load(tmp_path, f"WORDMAP_{BASE}")
    change(ids)
    save(tmp_path, f"WORDMAP_{BASE}", ids)
    with pytest.raises(DataError, match=said):
        hdf5.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("CAPTIONS", lambda rows: rows.pop(), "holds 5 captions, and its CAPLENS file 6 lengths"),
        (
            "CAPLENS",
            lambda rows: rows.__setitem__(1, 4),
            "caption 1 of length 4 is .*; expected <start>, words",
        ),
        ("CAPLENS", lambda rows: rows.__setitem__(2, "4"), "caption 2 is no list of ids"),
        ("CAPTIONS", lambda rows: rows.__setitem__(2, 4), "caption 2 is no list of ids"),
        ("CAPTIONS", lambda rows: rows[4].__setitem__(1, 0), "expected <start>, words and <end>"),
    ],
)
def test_captions_that_do_not_fit_are_named_by_their_number(tmp_path, name, change, said):
    write(tmp_path)
    rows = load(tmp_path, f"TEST_{name}_{BASE}")
    change(rows)
    save(tmp_path, f"TEST_{name}_{BASE}", rows)
    with pytest.raises(DataError, match=said):
        hdf5.read(tmp_path, "test")


def test_images_and_captions_of_different_runs_are_told(tmp_path):
    write(tmp_path, images=np.zeros((PAIRS + 1, 4, 3, SIDE, SIDE), np.uint8))
    with pytest.raises(DataError, match=r"holds 4 pairs of 2 captions .* its CAPTIONS file 6 captions"):
        hdf5.read(tmp_path, "test")


def test_a_file_that_does_not_say_how_many_captions_a_pair_has_is_refused(tmp_path, h5py):
    write(tmp_path)
    with h5py.File(tmp_path / f"TEST_IMAGES_{BASE}.hdf5", "r+") as file:
        del file.attrs["captions_per_image"]
    with pytest.raises(DataError, match="an unknown number of captions"):
        hdf5.read(tmp_path, "test")


def test_a_picture_of_a_file_that_went_away_is_named(tmp_path):
    write(tmp_path)
    dataset = data.load("hdf5", tmp_path, "test")
    (tmp_path / f"TEST_IMAGES_{BASE}.hdf5").unlink()
    with pytest.raises(DataError, match=r"no file at .*TEST_IMAGES"):
        dataset[0]


def test_a_picture_that_is_not_in_the_file_is_named(tmp_path):
    write(tmp_path)
    file = tmp_path / f"TEST_IMAGES_{BASE}.hdf5"
    beyond = Example("x", Stored(file, 99, 0), Stored(file, 99, 1), None, None, ("a",), None)
    with pytest.raises(DataError, match=r"hdf5\[99, 0\] cannot be read"):
        PairDataset([beyond], "test", maps=False)[0]


def test_reading_a_format_does_not_bring_h5py():
    code = "import sys, changecap.data.dataset, changecap.data.formats.hdf5; sys.exit('h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
