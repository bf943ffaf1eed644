"""Preparing files: what is written is what a captioner would see, whole, once, and a broken pair stops nothing."""

import json
import os
import signal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin

from changecap import data
from changecap.cli.entry import main
from changecap.data.file_pairs import Job, jobs_of_folders
from changecap.data.synthetic import render_pair
from changecap.errors import ConfigError, DataError, UsageError
from changecap.inference import prepare
from changecap.inference.prepare import chain_of, prepare_files, read
from changecap.io import geotiff as geo
from changecap.landcover import to_rgb
from preprocess import Pair, warp

SHIFT = np.array([5, -4])  # by which date b was moved: x, y
SIZE = 112
KINDS = ("A", "B", "sem_a", "sem_b")
SHARED = Path(os.environ.get("CHANGECAP_SHARED", "../shared"))


@cache
def drawn(seed):
    """A pair that did not lie on one grid: both images ``(H, W, 3)`` and maps ``(H, W)``."""
    a, b, sem_a, sem_b, _ = render_pair(seed, 1, SIZE + 16)
    here = np.s_[8 : 8 + SIZE, 8 : 8 + SIZE]
    there = np.s_[8 - SHIFT[1] : 8 - SHIFT[1] + SIZE, 8 - SHIFT[0] : 8 - SHIFT[0] + SIZE]
    return a[here], b[there], sem_a[here], sem_b[there]


@pytest.fixture
def folders(tmp_path):
    """Three pairs with maps, as PNGs in four folders."""
    for seed in range(3):
        for kind, picture in zip(KINDS, drawn(seed), strict=True):
            (tmp_path / kind).mkdir(exist_ok=True)
            pixels = picture if picture.ndim == 3 else to_rgb(picture)
            Image.fromarray(pixels).save(tmp_path / kind / f"pair {seed}.png")
    return tmp_path


def jobs_in(root, *kinds):
    return jobs_of_folders(*(root / kind for kind in kinds or KINDS))


def run(jobs, out, steps=("register",), **options):
    return list(prepare_files(chain_of(list(steps)), jobs, out, progress=False, **options))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_what_had_moved_lies_on_date_a(folders):
    rows = run(jobs_in(folders), folders / "out")
    inner = np.s_[8:-8, 8:-8]
    for row in rows:
        (told,) = row["steps"]
        assert told["step"] == "register"
        assert told["ok"]
        assert np.array(told["matrix"])[:2, 2] == pytest.approx(SHIFT, abs=0.5)
        a, b, was = (pixels(folders / f"{kind}/{row['id']}.png")[inner] for kind in ("A", "out/B", "B"))
        assert np.abs(a - b).mean() < 0.7 * np.abs(a - was).mean()
        assert np.array_equal(a, pixels(folders / f"out/A/{row['id']}.png")[inner])
        assert row["overlap"] == pytest.approx((1 - 5 / SIZE) * (1 - 4 / SIZE), abs=0.02)


def test_what_is_written_is_what_a_captioner_with_these_steps_sees(folders):
    jobs, steps = jobs_in(folders), ["register", {"illuminate": {"onto": "common"}}, "equalise"]
    rows = run(jobs, folders / "out", steps)
    written, given = (data.load("folder", root, "test", maps=True) for root in (folders / "out", folders))
    for i in range(3):
        for x, y in zip(written[i], chain_of(steps)(given[i]), strict=True):
            assert torch.equal(x, y)
    assert [told["step"] for told in rows[0]["steps"]] == ["register", "illuminate", "equalise"]
    assert rows[0]["steps"][2]["kind"] in ("none", "gaussian", "motion")


def test_maps_move_by_nearest_neighbour_and_hold_no_class_that_was_not_there(folders):
    run(jobs_in(folders), folders / "out", [{"register": {"model": "similarity"}}])
    for i in range(3):
        written, given = (data.load("folder", root, "test", maps=True)[i] for root in (folders / "out", folders))
        assert set(written.sem_b.unique().tolist()) <= set(given.sem_b.unique().tolist())
        assert torch.equal(written.sem_a, given.sem_a)
        moved = given.sem_b.numpy()[:-4, 5:]  # by whole pixels, near enough
        assert (written.sem_b.numpy()[4:, :-5] == moved).mean() > 0.9


def test_a_png_is_transparent_where_date_b_does_not_show_the_place(folders):
    row = run(jobs_in(folders, "A", "B"), folders / "out")[0]
    with Image.open(folders / "out/B/pair 0.png") as there:
        assert there.mode == "RGBA"
        alpha = np.asarray(there)[..., 3]
    assert (alpha > 0).mean() == pytest.approx(row["overlap"])
    assert not alpha[:3].any()  # date b had moved up
    with Image.open(folders / "out/A/pair 0.png") as here:
        assert here.mode == "RGB"


def test_rows_are_json_a_line_for_each_pair(folders):
    rows = run(jobs_in(folders), folders / "out")
    lines = (folders / "out/pairs.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert rows[0]["window"] == [0, 0, SIZE, SIZE]
    assert all((folders / "out" / file).is_file() for row in rows for file in row["files"])


# going on


def test_pairs_that_are_done_are_not_done_again(folders, monkeypatch):
    jobs, out, asked = jobs_in(folders), folders / "out", []
    going = prepare_files(chain_of(["register"]), jobs, out, workers=1, progress=False)
    first = next(going)
    going.close()  # as Ctrl-C does
    assert not (out / "pairs.jsonl").exists()
    monkeypatch.setattr(prepare, "read", lambda job, **raster: asked.append(job.id) or read(job, **raster))
    rows = run(jobs, out)
    assert rows[0] == first
    assert asked == ["pair 1", "pair 2"]
    assert run(jobs, out) == rows
    assert asked == ["pair 1", "pair 2"]
    (out / "B/pair 1.png").unlink()
    run(jobs, out)
    assert asked == ["pair 1", "pair 2", "pair 1"]


@pytest.mark.parametrize("other", ["steps", "files"])
def test_what_another_call_did_is_done_anew(folders, other):
    jobs, out = jobs_in(folders, "A", "B"), folders / "out"
    run(jobs, out)
    if other == "files":
        jobs = [Job(job.id, job.a, job.a) for job in jobs]
    rows = run(jobs, out, ["register"] if other == "files" else ["illuminate"])
    assert rows[0]["overlap"] == 1.0
    assert len(rows[0]["steps"]) == 1


def test_a_broken_pair_is_a_row_and_the_others_go_on(folders):
    (folders / "A/pair 0.png").write_bytes((folders / "A/pair 0.png").read_bytes()[:90])
    (folders / "B/pair 1.png").unlink()
    rows = run(jobs_in(folders), folders / "out")
    assert [row["error"] is None for row in rows] == [False, False, True]
    assert "cannot be read" in rows[0]["error"]
    assert "has no pair 1" in rows[1]["error"]
    assert [file.name for file in (folders / "out/B").iterdir()] == ["pair 2.png"]


def test_a_pair_that_a_step_cannot_take_is_a_row(folders):
    Image.new("RGB", (8, 8), "gray").save(folders / "small.png")
    job = Job("small", folders / "small.png", folders / "small.png")
    row, other = run([job, *jobs_in(folders)[:1]], folders / "out", [{"illuminate": {"method": "clahe"}}])
    assert "16 x 16" in row["error"]
    assert other["error"] is None


def test_a_full_disk_leaves_no_half_file_and_what_was_done(folders, monkeypatch):
    jobs, out, real = jobs_in(folders), folders / "out", prepare.save

    def full(path, *arguments):
        if path.name == "pair 1.png":
            path.with_name(f".{path.name}.new").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(path, *arguments)

    monkeypatch.setattr(prepare, "save", full)
    with pytest.raises(DataError, match="No space left on device; mend that and make the same call again"):
        run(jobs, out)
    monkeypatch.undo()
    assert not (out / "A/pair 1.png").exists()
    assert len(run(jobs, out)) == 3
    assert data.load("folder", out, "test", maps=True)[1].a.shape == (3, SIZE, SIZE)


def test_pairs_are_not_written_over(folders):
    with pytest.raises(UsageError, match="would be written over"):
        run(jobs_in(folders), folders)


def test_ids_stay_in_their_folder(folders):
    one = jobs_in(folders, "A", "B")[0]
    run([Job("../../up", one.a, one.b), Job("x/y", one.a, one.b)], folders / "out")
    assert sorted(path.name for path in (folders / "out/B").iterdir()) == ["..%2F..%2Fup.png", "x%2Fy.png"]


# sizes and kinds of files


def test_sizes_that_nearly_agree_are_cut_to_what_both_have(folders):
    with Image.open(folders / "B/pair 0.png") as b:
        b.crop((0, 0, SIZE, SIZE - 1)).save(folders / "B/pair 0.png")
    row = run(jobs_in(folders, "A", "B"), folders / "out")[0]
    assert row["window"] == [0, 0, SIZE, SIZE - 1]
    assert np.array(row["steps"][0]["matrix"])[:2, 2] == pytest.approx(SHIFT, abs=0.5)


def test_the_real_pair_of_256_against_255_rows_is_prepared(tmp_path):
    odd = SHARED / "pairs" / "odd"
    if not odd.is_dir():
        pytest.skip(f"no real pairs in {SHARED}; set CHANGECAP_SHARED")
    (row,) = run(jobs_of_folders(odd / "A", odd / "B"), tmp_path / "out", [{"register": {"profile": "fast"}}])
    assert row["error"] is None
    assert row["window"] == [0, 0, 768, 383]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: Image.new("RGB", (SIZE, 90)).save(root / "B/pair 0.png"), "112 x 90 pixels: sizes that differ"),
        (lambda root: Image.new("RGB", (SIZE, 90)).save(root / "sem_a/pair 0.png"), "but its image .* 112 x 112"),
        (lambda root: (root / "sem_b/pair 0.png").unlink(), "has no pair 0"),
    ],
)
def test_files_that_do_not_belong_together_are_told(folders, change, message):
    change(folders)
    job = jobs_in(folders)[0]
    with pytest.raises(DataError, match=message):
        read(Job(job.id, job.a, job.b) if "sizes" in message else job)


def test_one_map_alone_and_rasters_of_pngs_are_refused(folders):
    job = jobs_in(folders)[0]
    with pytest.raises(DataError, match="maps come in pairs"):
        read(Job("x", job.a, job.b, job.sem_a))
    with pytest.raises(DataError, match="window can be chosen of two GeoTIFFs only"):
        read(job, window=(0, 0, 8, 8))


@pytest.mark.parametrize(("steps", "message"), [(["flip"], "flip augments"), (["registr"], "did you mean 'register'")])
def test_steps_that_cannot_prepare_are_told(steps, message):
    with pytest.raises(ConfigError, match=message):
        chain_of(steps)


# GeoTIFFs


def geotiff(path, image, west=500_000, north=5_000_000, crs="EPSG:32633", mask=None):
    bands = image.transpose(2, 0, 1) if image.ndim == 3 else image[None]
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "crs": crs}
    with rasterio.open(path, "w", **profile, dtype=bands.dtype, transform=from_origin(west, north, 10, 10)) as file:
        file.write(bands)
        if mask is not None:
            file.write_mask(mask)
    return path


@pytest.fixture
def scene(tmp_path):
    """Two GeoTIFFs with maps; the second begins 20 pixels further east, and its content has moved."""
    a, b, sem_a, sem_b = drawn(4)
    known = np.ones((SIZE, SIZE), bool)
    known[30:40, 50:70] = False
    return Job(
        "scene",
        geotiff(tmp_path / "a.tif", a, mask=known),
        geotiff(tmp_path / "b.tif", b[:, 20:], west=500_200),
        geotiff(tmp_path / "sem_a.tif", sem_a),
        geotiff(tmp_path / "sem_b.tif", sem_b[:, 20:], west=500_200),
    )


def test_a_geotiff_keeps_the_georeference_of_date_a_and_says_where_nothing_is_known(scene, tmp_path):
    (row,) = run([scene], tmp_path / "out")
    assert row["window"] == [20, 0, SIZE - 20, SIZE]
    for kind in KINDS:
        with rasterio.open(tmp_path / f"out/{kind}/scene.tif") as file:
            assert file.crs == "EPSG:32633"
            assert file.transform == from_origin(500_200, 5_000_000, 10, 10)
            known = file.dataset_mask() > 0
            assert (file.count, known.shape) == (3 if kind in "AB" else 1, (SIZE, SIZE - 20))
        if kind == "B":
            assert known.mean() == pytest.approx(row["overlap"])
            assert not known[:3].any()
            assert not known[31:39, 31:49].any()


def test_prepared_geotiffs_are_read_as_a_pair_of_one_grid(scene, tmp_path):
    (row,) = run([scene], tmp_path / "out")
    again = geo.read_pair(*(tmp_path / "out" / file for file in row["files"][:2]))
    assert again.valid.float().mean() == pytest.approx(row["overlap"])
    inner = again.valid.numpy()
    inner[:8], inner[-8:], inner[:, :8], inner[:, -8:] = (False,) * 4
    was = geo.read_pair(scene.a, scene.b).pair
    apart, before = ((x.a.int() - x.b.int()).abs()[:, inner].float().mean() for x in (again.pair, was))
    assert apart < 0.7 * before
    matrix = torch.tensor(row["steps"][0]["matrix"])[None]
    there = warp(was.b[None], matrix, inner.shape)[0]
    assert torch.equal(there[:, inner], again.pair.b[:, inner])


def test_another_crs_is_no_obstacle_and_none_on_one_side_is_told(scene, tmp_path):
    with rasterio.open(scene.b) as file:
        west, south, east, north = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        pixels = file.read()
    where = rasterio.transform.from_bounds(west, south, east, north, pixels.shape[2], pixels.shape[1])
    profile = {"driver": "GTiff", "count": 3, "height": pixels.shape[1], "width": pixels.shape[2], "dtype": "uint8"}
    for name, crs in (("other", "EPSG:4326"), ("none", None)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile, transform=where, crs=crs) as file:
            file.write(pixels)
    other, none = (Job(name, scene.a, tmp_path / f"{name}.tif") for name in ("other", "none"))
    rows = run([other, none], tmp_path / "out")
    assert rows[0]["error"] is None
    assert np.array(rows[0]["steps"][0]["matrix"])[:2, 2] == pytest.approx(SHIFT, abs=1.0)
    assert "none.tif has no CRS" in rows[1]["error"]


def test_a_geotiff_and_a_picture_are_no_pair(scene, folders):
    with pytest.raises(DataError, match=r"a\.tif is a GeoTIFF and the other date is not"):
        read(Job("x", scene.a, folders / "B/pair 0.png"))


# the command


def test_two_files_from_the_command_line_with_their_figure(folders, capsys):
    named = [f"a={folders}/A/pair 0.png", f"b={folders}/B/pair 0.png", f"out={folders}/out"]
    assert main(["prepare", *named, f"figure={folders}/seen.png", "device=cpu"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("pair 0\toverlap 9")
    assert "register: moved by 6." in said.out
    assert "1 of 1 pairs prepared" in said.err
    with Image.open(folders / "seen.png") as figure:
        assert figure.width > 1000
        assert len(figure.convert("L").getcolors()) > 100


def test_a_figure_for_each_pair_shows_what_changed(folders):
    run(jobs_in(folders, "A", "B")[:2], folders / "out", figures=folders / "figures")
    same = Pair(*(torch.zeros(3, SIZE, SIZE, dtype=torch.uint8),) * 2)
    row = {"id": "same", "steps": []}
    prepare.figure.draw_prepared(folders / "figures/x.png", same, same, torch.zeros(SIZE, SIZE, dtype=torch.bool), row)
    drawn_files = sorted((folders / "figures").iterdir())
    assert [file.name for file in drawn_files] == ["pair 0.png", "pair 1.png", "x.png"]
    assert drawn_files[0].read_bytes() != drawn_files[1].read_bytes()


def test_a_list_with_a_broken_pair_ends_with_a_status(folders, capsys):
    (folders / "list.csv").write_text("a,b\nA/pair 0.png,B/pair 0.png\nA/pair 1.png,B/none.png\n")
    assert main(["prepare", f"list={folders}/list.csv", f"out={folders}/out", "device=cpu"]) == 1
    said = capsys.readouterr()
    assert "pair 1\terror: no image at" in said.out
    assert "1 of 2 pairs prepared" in said.err


def test_ctrl_c_says_how_to_go_on(folders, capsys, monkeypatch):
    real, calls = prepare.save, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        real(*arguments)

    call = ["prepare", f"a={folders}/A", f"b={folders}/B", f"out={folders}/out", "device=cpu"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with monkeypatch.context() as patch:
            patch.setattr(prepare, "save", interrupted)
            assert main(call) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("changecap: stopped after 1 of 3 pairs; the same call goes on from there")
    assert main(call) == 0
    assert len((folders / "out/pairs.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a=x.png"], "needs a=... and b=..."),
        (["a=x.png", "b=y.png", "list=z.csv"], "not both"),
        (["a=A", "b=B", "figure=one.png"], "one picture for 3 pairs"),
        (["a=A", "b=B", "steps=[flip]"], "flip augments"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_before_anything_is_written(
    folders, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(folders)
    assert main(["prepare", "out=out", *arguments]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_relief_is_told_in_a_number_and_moves_the_mask_too(folders):
    rows = run(jobs_in(folders, "A", "B"), folders / "out", ["relief"])
    for row in rows:
        (told,) = row["steps"]
        assert told["ok"]
        assert 0 <= told["flow_confidence"] <= 1
        assert (told["flow"] > 0) == (told["flow_confidence"] >= 0.7)
        assert row["overlap"] == pytest.approx((1 - 5 / SIZE) * (1 - 4 / SIZE), abs=0.04)
        assert "relief: moved by" in prepare.in_short(row)
    assert (folders / "out/pairs.jsonl").read_text() == "".join(json.dumps(row) + "\n" for row in rows)
