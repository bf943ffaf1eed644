"""What ``changecap caption`` says of files that it cannot use."""

import csv
import re

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from test_inference_batch import talkative
from test_inference_captioner import draw

from changecap.cli.entry import main


def geotiff(path, pixels, crs="EPSG:32633", **options):
    profile = {"driver": "GTiff", "count": len(pixels), "height": 40, "width": 40, "dtype": pixels.dtype, "crs": crs}
    with rasterio.open(path, "w", **profile, transform=from_origin(500_000, 5_000_000, 10, 10), **options) as file:
        file.write(pixels)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Captioners, a pair of each kind that can be used, and files that cannot."""
    place = tmp_path_factory.mktemp("bad")
    for inputs in ("rgb", "both"):
        talkative(inputs).save(place / inputs)
    a, b, *_ = draw(1)
    noise = np.random.default_rng(0).integers(1, 255, (3, 40, 40), np.uint8)
    Image.fromarray(a).save(place / "a.png")
    Image.fromarray(b).save(place / "b.png")
    Image.fromarray(noise.transpose(1, 2, 0)).save(place / "cut.png")
    (place / "cut.png").write_bytes((place / "cut.png").read_bytes()[:2000])
    Image.fromarray(a).resize((40, 24)).save(place / "other size.png")
    Image.fromarray(a).convert("CMYK").save(place / "cmyk.jpg")
    Image.fromarray(a[..., 0].astype(np.uint16) * 100).save(place / "deep.png")
    frames = [Image.fromarray(draw(seed)[0]) for seed in range(3)]
    frames[0].save(place / "film.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(a * 0).save(place / "black.png")
    geotiff(place / "a.tif", noise)
    geotiff(place / "no crs.tif", noise, crs=None)
    geotiff(place / "black.tif", noise * 0)
    geotiff(place / "nodata.tif", noise * 0, nodata=0)
    geotiff(place / "nan.tif", np.full((3, 40, 40), np.nan, np.float32))
    geotiff(place / "grey.tif", noise[:1])
    (place / "latin.csv").write_bytes(b"a,b\na.png,b.png\nb\xe9fore.png,b.png\n")
    for folder in "AB":
        (place / folder).mkdir()
        (place / folder / "pair.png").write_bytes((place / f"{folder.lower()}.png").read_bytes())
    return place


@pytest.fixture
def fails(place, capsys, monkeypatch):
    """Check that the command fails in one line, without a traceback and a caption, and says what it should."""
    monkeypatch.chdir(place)

    def call(message, *arguments, status=1, checkpoint="rgb"):
        assert main(["caption", f"checkpoint={checkpoint}", *arguments]) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("changecap: error: ")
        assert err.count("\n") == 1
        assert re.search(message, err), err

    return call


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("cut.png", "b.png", "cut.png cannot be read as an image: .*; copy or download it anew"),
        ("a.png", "other size.png", r"must be of one size .*, got a.png 32 x 32, other size.png 24 x 40; cut them"),
        ("a.png", "none.png", "no image at none.png; is the path right"),
        ("cmyk.jpg", "b.png", "cmyk.jpg is an image of mode CMYK; convert it to 8-bit RGB"),
        ("a.png", "deep.png", "deep.png is an image of mode I;16; convert it to 8-bit RGB"),
        ("film.gif", "b.png", "film.gif is an animation; save the frame"),
        ("a.png", "black.png", "black.png is black in every pixel: .*; look whether it was written whole"),
        ("black.tif", "a.tif", "black.tif is black in every pixel"),
        ("nan.tif", "nan.tif", "nan.tif has no data: all of bands .* is nodata, transparent or NaN"),
        ("a.tif", "nodata.tif", "have no pixel in window .* known at both dates; take another"),
        ("a.tif", "no crs.tif", "no crs.tif has no CRS, but a.tif has EPSG:32633; if it is the same, write it"),
        ("a.tif", "grey.tif", "grey.tif has 1 band, but bands .* were asked for"),
        ("a.tif", "none.tif", "no GeoTIFF at none.tif; is the path right"),
    ],
)
def test_a_pair_that_cannot_be_captioned_is_named_with_what_to_do(fails, a, b, message):
    fails(message, f"a={a}", f"b={b}")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a=a.tif", "b=a.tif", "bands=4,3,2"], 1, r"a.tif has 3 bands, but bands \[4, 3, 2\] were asked for"),
        (["a=a.png", "b=b.png", "bands=4,3,2"], 1, "bands can be chosen of two GeoTIFFs .* got a.png and b.png; leave"),
        (["a=a.png", "b=b.png", "window=0,0,9,9"], 1, "window can be chosen of two GeoTIFFs"),
        (["a=a.tif", "b=b.png", "scale=0,99"], 1, "scale can be chosen of two GeoTIFFs .* got a.tif and b.png"),
        (["a=A", "b=b.png"], 2, "must be all files or all folders, but A is a folder, b.png is a file"),
        (["a=A", "b=C"], 1, "no folder C"),
        (["a=A", "b=B", "out=A"], 1, "A is a folder; give out= as a file"),
        (["a=A", "b=B", "out=a.png/c.csv"], 1, "a.png/c.csv.part cannot be written: .*; mend that"),
        (["a=a.png", "b=b.png", "out=a.png/c.csv"], 1, "a.png/c.csv cannot be written: .*; mend that"),
        (["a=a.png", "b=b.png", "figure=A"], 1, "A cannot be written: Is a directory; mend that"),
        (["a=a.png", "b=b.png", "beams=99"], 1, "a beam of 99 is wider than the vocabulary of"),
        (["a=A", "b=B", "out=c.csv", "beams=99"], 1, "a beam of 99 is wider than the vocabulary of"),
        (["a=A", "b=B", "out=c.csv", "decode.force_words=[tower]"], 1, "force_words: 'tower' is not one of the"),
        (["a=a.png", "b=b.png", "decode.top_p=0.9"], 1, "top_p change how words are drawn: give do_sample=true"),
        (["a=a.png", "b=b.png", "decode.do_sample=true"], 1, "give beams=1, got beams=3"),
        (["a=a.png", "b=b.png", "decode.topp=0.9"], 2, "unknown key 'decode.topp', did you mean 'decode.top_p'"),
        (["a=a.png", "b=b.png", "decode.top_k=many"], 2, "decode.top_k must be a whole number, got 'many'"),
        (["a=a.png", "b=b.png", "decode.bad_words=road"], 2, r"decode.bad_words must be \[a, list\], got 'road'"),
        (["list=latin.csv"], 1, "latin.csv is not UTF-8: line 3 cannot be read; save the list as CSV in UTF-8"),
        (["list=none.csv"], 1, "none.csv cannot be read as a list of pairs: No such file"),
    ],
)
def test_a_call_that_cannot_be_done_says_so_before_any_caption(fails, place, arguments, status, message):
    before = sorted(place.rglob("*"))
    fails(message, *arguments, status=status)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["a=a.png", "b=b.png"], ["a=A", "b=B"], ["a=a.png", "b=b.png", "sem_a=a.png"]])
def test_maps_that_are_missing_are_asked_for_once(fails, arguments):
    fails(r"inputs=both: it needs a land-cover map for both .*sem_a, sem_b", *arguments, checkpoint="both")


def test_a_map_that_is_not_there_is_named(fails):
    maps = ["sem_a=none.png", "sem_b=none.png"]
    fails("no land-cover map at none.png; is the path", "a=a.png", "b=b.png", *maps, checkpoint="both")


def test_three_bad_files_among_many_become_three_lines(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    bad = {3: "cut.png", 5: "deep.png", 11: "none.png"}
    rows = [f"{i},{place / bad.get(i, 'a.png')},{place / 'b.png'}" for i in range(12)]
    (tmp_path / "pairs.csv").write_text("\n".join(["id,a,b", *rows]))
    out = tmp_path / "c.csv"
    call = ["caption", "checkpoint=rgb", f"list={tmp_path / 'pairs.csv'}", f"out={out}", "format=csv", "batch=4"]
    assert main(call) == 1
    *_, summary, first, second, third = capsys.readouterr().err.splitlines()
    assert summary == f"9 of 12 pairs captioned: {out}"
    for line, (i, name) in zip((first, second, third), bad.items(), strict=True):
        assert line.startswith(f"  {i}: ")
        assert name in line
    table = list(csv.DictReader(out.read_text().splitlines()))
    assert [int(row["id"]) for row in table if row["error"]] == list(bad)
    assert all(row["text"] for row in table if not row["error"])
