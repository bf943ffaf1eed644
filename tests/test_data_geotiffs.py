"""Data sets made of GeoTIFFs, from the files to the checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_data_cache import packs, same
from test_io_geotiff import GRID, HEIGHT, WIDTH, noise, write

from changecap import data
from changecap.cli.entry import main
from changecap.data import doctor
from changecap.errors import DataError
from changecap.inference import captioner
from changecap.io import geotiff
from changecap.landcover import PALETTE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Nothing is written to the real cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def scenes(root, count=2, shift=0, **options):
    """Pairs of five bands of 16 bits; the second date begins ``shift`` pixels further east."""
    for date, east in (("A", 0), ("B", shift)):
        (root / date).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = noise(np.uint16, 4000, seed=2 * i + (date == "B"), count=5)
            write(root / date / f"{i}.tif", pixels, GRID * GRID.translation(east, 0), **options)
    return root


def classes(seed):
    return np.random.default_rng(seed).integers(0, 7, (HEIGHT, WIDTH)).astype(np.uint8)


@pytest.mark.parametrize("scale", [None, "0,3000", "5%-95%"])
def test_a_set_gives_what_a_captioner_sees_of_the_same_files(tmp_path, scale):
    root = scenes(tmp_path, shift=7)
    options = {"bands": "5,1,2", "scale": scale}
    pair = data.load("folder", root, "test", maps=False, **options)[1]
    expected = geotiff.read_pair(root / "A/1.tif", root / "B/1.tif", **options)
    assert pair.a.shape == (3, HEIGHT, WIDTH - 7)
    assert same(pair, expected.pair)


def test_bands_are_given_as_text_or_numbers(tmp_path):
    root = scenes(tmp_path)
    text, numbers = (data.load("folder", root, "test", maps=False, bands=x)[0] for x in ("4,3,2", [4, 3, 2]))
    assert same(text, numbers)
    assert not same(text, data.load("folder", root, "test", maps=False)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": "1,2"}, "bands are three whole numbers, for red, green and blue, such as 4,3,2, got '1,2'"),
        ({"bands": "r,g,b"}, "bands are three whole numbers"),
        ({"scale": "bright"}, "scale must be percentiles like"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_file_is_read(tmp_path, options, message):
    root = scenes(tmp_path)
    with pytest.raises(DataError, match=message):
        data.load("folder", root, "test", maps=False, **options)
    with pytest.raises(DataError, match=message):
        doctor.examine("folder", root, **options)


@pytest.mark.parametrize("form", ["tif of classes", "tif of colours", "png"])
def test_maps_come_along_in_any_form(tmp_path, form):
    root = scenes(tmp_path, count=1)
    for k, kind in enumerate(("sem_a", "sem_b")):
        (root / kind).mkdir()
        if form == "tif of classes":
            write(root / kind / "0.tif", classes(k)[None])
        elif form == "tif of colours":
            write(root / kind / "0.tif", PALETTE[classes(k)].transpose(2, 0, 1))
        else:
            Image.fromarray(PALETTE[classes(k)]).save(root / kind / "0.png")
    pair = data.load("folder", root, "test")[0].check()
    np.testing.assert_array_equal(pair.sem_a.numpy(), classes(0))
    np.testing.assert_array_equal(pair.sem_b.numpy(), classes(1))
    assert same(pair._replace(sem_a=None, sem_b=None), data.load("folder", root, "test", maps=False)[0])
    assert [f.kind for f in doctor.examine("folder", root).findings] == []


def test_snapped_pixels_of_a_geotiff_are_counted(tmp_path, caplog):
    root = scenes(tmp_path, count=1)
    rgb = PALETTE[classes(0)].transpose(2, 0, 1).copy()
    rgb[:, 0, :4] = 77
    for kind in ("sem_a", "sem_b"):
        (root / kind).mkdir()
        write(root / kind / "0.tif", rgb)
    with pytest.raises(DataError, match=r"0\.tif: 4 pixels of colour \(77, 77, 77\)"):
        data.load("folder", root, "test")[0]
    dataset = data.load("folder", root, "test", palette="nearest")
    dataset.preload()
    assert dataset.snapped == {str(root / kind / "0.tif"): 4 for kind in ("sem_a", "sem_b")}
    assert "4 pixels off the palette were snapped" in caplog.text
    findings = doctor.examine("folder", root).findings
    assert [f.message.split(": ")[1][:8] for f in findings if f.kind == "palette"] == ["4 pixels"] * 2


def test_dates_of_two_places_are_an_error_that_names_both(tmp_path):
    root = scenes(tmp_path, count=1, shift=WIDTH + 10)
    with pytest.raises(DataError, match=r"no overlap: .*A/0\.tif covers .*B/0\.tif covers"):
        data.load("folder", root, "test", maps=False)[0]
    (finding,) = (f for f in doctor.examine("folder", root).findings if f.kind == "size")
    assert "no overlap" in finding.message


def test_what_one_date_does_not_know_is_black_at_both(tmp_path):
    root = scenes(tmp_path, count=1, nodata=0)
    pixels = noise(np.uint16, 4000, count=5)
    pixels[:, :9] = 0
    write(root / "B/0.tif", pixels, nodata=0)
    pair = data.load("folder", root, "test", maps=False)[0]
    assert not pair.a[:, :9].any()
    assert pair.a[:, 9:].any()


@pytest.mark.parametrize("options", [{"bands": (3, 2, 1)}, {"scale": "0,2000"}, {"scale": (0, 2000)}])
def test_other_bands_or_another_scale_make_another_pack(tmp_path, options):
    root = scenes(tmp_path)
    read = {"name": "folder", "root": root, "split": "test", "size": 16, "maps": False}
    data.load(**read, pack=True)
    other = data.load(**read, **options, pack=True)
    assert len(packs(root)) == 2
    assert same(other[1], data.load(**read, **options)[1])
    data.load(**read, **options, pack=True)
    assert len(packs(root)) == 2


@pytest.mark.parametrize("name", ["second_cc", "levir_cc", "dubai_cc", "chg2cap_tokens"])
def test_every_format_of_files_takes_bands_and_scale(tmp_path, name):
    places = {"second_cc": "test/rgb", "levir_cc": "images/test", "dubai_cc": "test", "chg2cap_tokens": "images/test"}
    root = tmp_path / name
    scenes(root / places[name], count=1)
    sentences = [{"raw": "a house"}]
    entry = {"filename": "0.tif", "split": "test", "sentences": sentences}
    for file in ("SECOND-CC-AUG.json", "LevirCCcaptions.json", "DubaiCCcaptions.json"):
        (root / file).write_text(json.dumps({"images": [entry]}))
    (root / "tokens").mkdir()
    (root / "tokens/0.txt").write_text(json.dumps([["<START>", "a", "house", "<END>"]]))
    (root / "test.txt").write_text("0.tif\n")
    options = {"bands": "4,3,2", "scale": "0,4000"}
    files = (root / places[name] / date / "0.tif" for date in "AB")
    assert same(data.load(name, root, "test", maps=False, **options)[0], geotiff.read_pair(*files, **options).pair)


# doctor


def test_the_doctor_reads_sixteen_bits_and_says_what_of_a_geotiff_is_unreadable(tmp_path):
    root = scenes(tmp_path, count=3)
    (root / "B/1.tif").write_bytes((root / "B/1.tif").read_bytes()[:300])
    write(root / "A/2.tif", noise(np.uint16, 4000, count=2))
    findings = doctor.examine("folder", root).findings
    assert {f.kind for f in findings} == {"unreadable"}
    told = sorted(f.message for f in findings)
    assert "A/2.tif has 2 bands, but bands [1, 2, 3] were asked for" in told[0]
    assert "B/1.tif cannot be read as a GeoTIFF" in told[1]


def test_the_doctor_minds_no_grids_that_differ(tmp_path):
    health = doctor.examine("folder", scenes(tmp_path, shift=5), bands="5,4,3", scale="0,4000")
    assert health.findings == []
    assert health.splits["test"]["sizes"] == {f"{WIDTH - 5} x {HEIGHT}": 2}


# the commands


@pytest.mark.slow
def test_bands_and_scale_go_from_training_to_evaluation_and_captions(tmp_path, capsys):
    root = tmp_path / "set"
    for split in ("train", "val", "test"):
        scenes(root / split, count=2, shift=3)
        (root / split / "captions.json").write_text(json.dumps({f"{i}.tif": ["a house", "no change"] for i in (0, 1)}))
    own = ["data=folder", f"data.root={root}", "data.size=32", "data.bands=5,4,3", "data.scale=0,5000"]
    small = ["model.dim=16", "backbone.options={channels: [8, 8, 8, 8], stem_width: 8}", "device=cpu", "inputs=rgb"]
    out = tmp_path / "run"
    given = ["experiment=demo", f"out={out}", "steps=1", "batch=2", "data.pack=true"]
    assert main(["train", *given, *own, *small]) == 0
    stored = json.loads((out / "best/config.json").read_text())["data"]
    assert (stored["bands"], stored["scale"]) == ("5,4,3", "0,5000")
    assert len(packs(root)) == 2
    assert main(["evaluate", f"checkpoint={out}", "device=cpu", "report=false"]) == 0
    assert len(packs(root)) == 3  # of the test pairs one more, and that of training is good for the baselines
    files = [root / "test" / date / "0.tif" for date in "AB"]
    expected = data.load("folder", root, "test", size=32, maps=False, bands="5,4,3", scale="0,5000")[0]
    trained = captioner.load(out)
    assert torch.equal(trained.read(*files).a, expected.float().a)
    assert not torch.equal(trained.read(*files, bands=(1, 2, 3)).a, expected.float().a)
    capsys.readouterr()
    assert main(["caption", f"checkpoint={out}", "device=cpu", f"a={files[0]}", f"b={files[1]}", "format=json"]) == 0
    text = json.loads(capsys.readouterr().out)["text"]
    assert text == trained(*files).text
    assert main(["doctor", *own[:2], *own[3:5]]) == 0
