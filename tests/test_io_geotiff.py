import logging
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform as project

from changecap.errors import DataError
from changecap.io import geotiff
from changecap.landcover import PALETTE

HEIGHT, WIDTH, METRES = 48, 64, 10
WEST, NORTH = 500_000, 5_000_000
UTM = "EPSG:32633"
GRID = from_origin(WEST, NORTH, METRES, METRES)


def write(path, data, transform=GRID, crs=UTM, alpha=False, colormap=None, mask=None, **options):
    """A GeoTIFF of ``data`` ``(C, H, W)``."""
    data = np.asarray(data)
    count, height, width = data.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": data.dtype}
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs, **options) as file:
        file.write(data)
        if alpha:
            file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        if colormap:
            file.write_colormap(1, colormap)
        if mask is not None:
            file.write_mask(mask)
    return path


def noise(dtype=np.uint8, high=256, seed=0, count=3):
    return np.random.default_rng(seed).integers(0, high, (count, HEIGHT, WIDTH)).astype(dtype)


def spot(row, column, background=50, height=HEIGHT, width=WIDTH):
    """A bright square of 5 x 5 pixels around (row, column) on an even ground."""
    image = np.full((3, height, width), background, np.uint8)
    image[:, row - 2 : row + 3, column - 2 : column + 3] = 250
    return image


def centre(image, above=150):
    """Where the bright pixels of ``image`` ``(3, H, W)`` are on average: row, column."""
    return np.argwhere(image[0].numpy() > above).mean(0)


@pytest.fixture
def pair(tmp_path):
    """Two dates on one grid: paths and pixels."""
    a, b = noise(seed=1), noise(seed=2)
    return write(tmp_path / "a.tif", a), write(tmp_path / "b.tif", b), a, b


@pytest.mark.parametrize(("name", "is_one"), [("x.tif", True), ("x.TIFF", True), ("x.png", False), ("tif", False)])
def test_a_geotiff_is_known_by_its_suffix(tmp_path, name, is_one):
    assert geotiff.is_geotiff(tmp_path / name) is is_one


def test_importing_geo_does_not_import_rasterio():
    code = "import sys, changecap.io.geotiff; sys.exit('rasterio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_eight_bit_dates_on_one_grid_come_as_their_bytes(pair):
    a, b, pixels_a, pixels_b = pair
    found = geotiff.read_pair(a, b)
    assert found.pair.check().a.dtype == torch.uint8
    np.testing.assert_array_equal(found.pair.a.numpy(), pixels_a)
    np.testing.assert_array_equal(found.pair.b.numpy(), pixels_b)
    assert found.valid.all()
    assert found.window == (0, 0, WIDTH, HEIGHT)
    assert found.bounds == (WEST, NORTH - HEIGHT * METRES, WEST + WIDTH * METRES, NORTH)


def test_a_window_is_cut_out_and_knows_where_it_lies(pair):
    a, b, pixels_a, pixels_b = pair
    found = geotiff.read_pair(a, b, window=(10, 20, 7, 5))
    np.testing.assert_array_equal(found.pair.a.numpy(), pixels_a[:, 20:25, 10:17])
    np.testing.assert_array_equal(found.pair.b.numpy(), pixels_b[:, 20:25, 10:17])
    assert found.transform * (0, 0) == (WEST + 100, NORTH - 200)
    assert found.bounds == (WEST + 100, NORTH - 250, WEST + 170, NORTH - 200)
    assert found.crs == rasterio.CRS.from_user_input(UTM)


def test_a_window_beyond_the_edge_keeps_its_size_and_marks_what_is_unknown(pair):
    a, b, pixels_a, pixels_b = pair
    found = geotiff.read_pair(a, b, window=(-3, HEIGHT - 4, 8, 6))
    assert found.valid.tolist() == [[False] * 3 + [True] * 5] * 4 + [[False] * 8] * 2
    np.testing.assert_array_equal(found.pair.a[:, :4, 3:].numpy(), pixels_a[:, -4:, :5])
    np.testing.assert_array_equal(found.pair.b[:, :4, 3:].numpy(), pixels_b[:, -4:, :5])
    assert not found.pair.a[:, ~found.valid].any()


@pytest.mark.parametrize("window", [(WIDTH, 0, 5, 5), (0, -5, 5, 5), (0, 0, 0, 5), (3, 3, 5, -1)])
def test_a_window_outside_is_refused_with_what_the_dates_share(pair, window):
    with pytest.raises(DataError, match=r"lies outside what the two dates share, \(0, 0, 64, 48\)"):
        geotiff.read_pair(*pair[:2], window=window)


def test_a_shift_by_whole_pixels_moves_no_value(tmp_path, pair):
    a, _, pixels, _ = pair
    b = write(tmp_path / "shifted.tif", pixels[:, 7:, 5:], GRID * Affine.translation(5, 7))
    found = geotiff.read_pair(a, b)
    assert found.window == (5, 7, WIDTH - 5, HEIGHT - 7)
    assert found.valid.all()
    assert torch.equal(found.pair.a, found.pair.b)


@pytest.mark.parametrize("metres", [2.5, 5, 20, 13])
def test_another_resolution_is_brought_to_that_of_the_first(tmp_path, metres):
    a = write(tmp_path / "a.tif", spot(20, 30))
    # the same square of 50 m, on a grid shifted by (30 m, 20 m)
    shape = int(HEIGHT * METRES / metres), int(WIDTH * METRES / metres)
    y, x = (NORTH - 20 - (np.arange(shape[0]) + 0.5) * metres, WEST + 30 + (np.arange(shape[1]) + 0.5) * metres)
    inside = (abs(y - (NORTH - 205)) < 25)[:, None] & (abs(x - (WEST + 305)) < 25)
    data = np.where(inside, 250, 50).astype(np.uint8)[None].repeat(3, 0)
    found = geotiff.read_pair(a, write(tmp_path / "b.tif", data, from_origin(WEST + 30, NORTH - 20, metres, metres)))
    assert found.window[:2] == (3, 2)
    assert abs(centre(found.pair.a) - centre(found.pair.b)).max() < 1
    assert abs(found.pair.a.float() - found.pair.b.float()).mean() < 4


def test_another_crs_lands_within_a_pixel(tmp_path):
    a = write(tmp_path / "a.tif", spot(20, 30))
    # degrees, about 10 m a pixel north and 7 m east; the spot is put where the projection says
    xs, ys = project(UTM, "EPSG:4326", [WEST + 305, WEST], [NORTH - 205, NORTH])
    grid = from_origin(xs[1] - 0.0005, ys[1] + 0.0005, 0.0001, 0.0001)
    column, row = ~grid * (xs[0], ys[0])
    data = spot(int(row), int(column), height=80, width=110)
    found = geotiff.read_pair(a, write(tmp_path / "b.tif", data, grid, "EPSG:4326"))
    assert found.crs == rasterio.CRS.from_user_input(UTM)
    assert found.window == (0, 0, WIDTH, HEIGHT)
    assert found.valid.all()
    assert abs(centre(found.pair.a) - centre(found.pair.b)).max() < 1


@pytest.mark.parametrize("turned", ["a", "b"])
def test_a_rotated_date_lands_within_a_pixel(tmp_path, turned):
    rotated = GRID * Affine.translation(20, -10) * Affine.rotation(25)
    x, y = GRID * (30.5, 20.5)
    column, row = ~rotated * (x, y)
    upright = write(tmp_path / "upright.tif", spot(20, 30))
    other = write(tmp_path / "rotated.tif", spot(int(row), int(column)), rotated)
    paths = (other, upright) if turned == "a" else (upright, other)
    found = geotiff.read_pair(*paths)
    assert abs(centre(found.pair.a) - centre(found.pair.b)).max() < 1
    assert not found.valid.all()
    x, y = found.transform * (centre(found.pair.a)[::-1] + 0.5)
    assert abs(x - WEST - 305) < METRES
    assert abs(y - NORTH + 205) < METRES


def test_a_map_of_the_world_holds_a_small_scene(tmp_path):
    world = np.full((3, 180, 360), 90, np.uint8)
    a = write(tmp_path / "a.tif", spot(20, 30))
    found = geotiff.read_pair(a, write(tmp_path / "b.tif", world, from_origin(-180, 90, 1, 1), "EPSG:4326"))
    assert found.window == (0, 0, WIDTH, HEIGHT)
    assert found.pair.b.unique().tolist() == [90]


def test_dates_apart_are_refused_with_both_extents(tmp_path, pair):
    xs, ys = project(UTM, "EPSG:4326", [WEST + 10_000], [NORTH])
    far = write(tmp_path / "far.tif", noise(), from_origin(xs[0], ys[0], 0.0001, 0.0001), "EPSG:4326")
    with pytest.raises(
        DataError, match=r"no overlap: .*a.tif covers 500000 to 500640, 4999520 to 5000000; .*EPSG:32633"
    ):
        geotiff.read_pair(pair[0], far)
    touching = write(tmp_path / "touching.tif", noise(), GRID * Affine.translation(WIDTH, 0))
    with pytest.raises(DataError, match="no overlap"):
        geotiff.read_pair(pair[0], touching)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_crs_on_one_side_only_is_refused(tmp_path, pair):
    bare = write(tmp_path / "bare.tif", noise(), crs=None)
    for paths in ((bare, pair[0]), (pair[0], bare)):
        with pytest.raises(DataError, match=r"bare.tif has no CRS, but .*a.tif has EPSG:32633.*gdal_edit.py"):
            geotiff.read_pair(*paths)


def bare(path, data):
    with pytest.warns(NotGeoreferencedWarning):
        return write(path, data, transform=Affine.identity(), crs=None)


def test_plain_pictures_lie_on_one_another_without_a_word(tmp_path, caplog):
    a, b = bare(tmp_path / "a.tif", noise(seed=1)), bare(tmp_path / "b.tif", noise(seed=2))
    np.testing.assert_array_equal(geotiff.read_pair(a, b).pair.b.numpy(), noise(seed=2))
    assert caplog.text == ""


def test_places_without_any_crs_lie_on_one_another_and_the_log_says_so(tmp_path, caplog):
    a, b = (write(tmp_path / f"{name}.tif", noise(seed=seed), crs=None) for name, seed in (("a", 1), ("b", 2)))
    with caplog.at_level(logging.WARNING):
        found = geotiff.read_pair(a, b)
    assert "has a CRS: their pixels are taken to lie on one another" in caplog.text
    assert found.crs is None
    np.testing.assert_array_equal(found.pair.b.numpy(), noise(seed=2))
    small = bare(tmp_path / "small.tif", noise()[:, :-1])
    with pytest.raises(DataError, match="differ in size or transform"):
        geotiff.read_pair(a, small)


def test_percentiles_are_common_to_both_dates(tmp_path):
    dark, light = noise(np.uint16, 1000, 1), noise(np.uint16, 1000, 2) + 1000
    paths = [write(tmp_path / f"{name}.tif", x.astype(np.uint16)) for name, x in (("a", dark), ("b", light))]
    with geotiff.Scene(*paths) as scene:
        pooled = np.concatenate([dark.reshape(3, -1), light.reshape(3, -1)], 1)
        np.testing.assert_allclose([scene.scaling.low, scene.scaling.high], np.percentile(pooled, (2, 98), axis=1))
        found = scene.read().pair
    assert found.a.float().mean() < 70
    assert found.b.float().mean() > 185


def test_percentiles_of_a_huge_scene_come_from_patches_all_over_it(tmp_path, monkeypatch):
    slope = np.broadcast_to(np.arange(400) + 10.0 * np.arange(300)[:, None], (3, 300, 400)).astype(np.uint16)
    path = write(tmp_path / "a.tif", slope)
    monkeypatch.setattr(geotiff, "MAX_PIXELS", 100_000)
    with geotiff.Scene(path, path) as scene:
        expected = np.percentile(slope[0], (2, 98))
        # the patches overlap in so small an image, so its border counts for less
        assert abs(np.array([scene.scaling.low, scene.scaling.high])[:, 0] - expected).max() < 0.05 * slope.max()
        assert len(set(scene.scaling.low)) == 1


@pytest.mark.parametrize("scale", [(0, 3000), "0,3000", " 0 , 3e3 "])
def test_a_range_is_the_same_for_every_scene(tmp_path, scale):
    values = noise(np.uint16, 4000)
    path = write(tmp_path / "a.tif", values)
    expected = (values / 3000 * 255).clip(0, 255).round()
    np.testing.assert_allclose(geotiff.read_pair(path, path, scale=scale).pair.b.numpy(), expected, atol=1)
    np.testing.assert_allclose(geotiff.read_image(path, scale=scale).numpy(), expected, atol=1)


@pytest.mark.parametrize("scale", ["much", "2-98", "98%-2%", "-1%-50%", "3000,0", (5, 5), "0,nan", "1.2.3,4", "2%,98%"])
def test_a_scale_that_makes_no_sense_is_refused(pair, scale):
    with pytest.raises(DataError, match="scale must be percentiles like"):
        geotiff.read_pair(*pair[:2], scale=scale)


def test_eight_bits_beside_sixteen_need_a_stated_scale(tmp_path, pair):
    b = write(tmp_path / "wide.tif", noise(np.uint16, 3000))
    with pytest.raises(DataError, match=r"is uint8 and .*wide.tif is uint16.*state scale"):
        geotiff.read_pair(pair[0], b)
    assert geotiff.read_pair(pair[0], b, scale=(0, 3000)).valid.all()


@pytest.mark.parametrize("shift", [0, 0.5])
def test_nan_infinity_and_nodata_are_unknown_and_black(tmp_path, shift):
    b = noise(np.float32, 100) + 1
    b[0, 9:12, 9:12], b[1, 19:22, 19:22], b[2, 29:32, 29:32] = np.nan, -9999, np.inf
    a = write(tmp_path / "a.tif", noise(np.float32, 100))
    grid = GRID * Affine.translation(shift, shift)
    found = geotiff.read_pair(a, write(tmp_path / "b.tif", b, grid, nodata=-9999), window=(0, 0, WIDTH, HEIGHT))
    assert not found.valid[[10, 20, 30], [10, 20, 30]].any()
    assert not found.valid[[11, 21, 31], [11, 21, 31]].any()
    assert found.valid[1:, 1:].float().mean() > 0.98
    assert not found.pair.a[:, ~found.valid].any()
    assert not found.pair.b[:, ~found.valid].any()
    # an infinite or missing number is in no percentile
    assert found.pair.b[:, found.valid].float().std() > 30


@pytest.mark.parametrize("shift", [0, 0.5])
def test_eight_bit_nodata_needs_every_band(tmp_path, shift):
    b = noise() // 2 + 100
    b[:, :10] = 0
    b[0, 20:30, 20:30] = 0  # a colour without red
    a = write(tmp_path / "a.tif", noise())
    path = write(tmp_path / "b.tif", b, GRID * Affine.translation(shift, shift), nodata=0)
    found = geotiff.read_pair(a, path, window=(0, 0, WIDTH, HEIGHT))
    assert not found.valid[:10].any()
    assert found.valid[11:, 1:].all()
    assert not found.pair.b[0, 22:28, 22:28].any()


@pytest.mark.parametrize("shift", [0, 0.5])
@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_what_alpha_or_a_mask_hides_is_unknown(tmp_path, kind, shift):
    b, seen = noise() // 2 + 100, np.full((HEIGHT, WIDTH), 255, np.uint8)
    b[:, :, :12] = 0
    seen[:, :12] = 0
    data, options = (np.concatenate([b, seen[None]]), {"alpha": True}) if kind == "alpha" else (b, {"mask": seen})
    a = write(tmp_path / "a.tif", noise())
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "b.tif", data, GRID * Affine.translation(shift, shift), **options)
    found = geotiff.read_pair(a, path, window=(0, 0, WIDTH, HEIGHT))
    assert not found.valid[:, :12].any()
    assert found.valid[1:, 13:].all()
    assert found.pair.b[:, found.valid].min() >= 99  # black from behind the mask does not bleed in


def test_nothing_known_is_an_error(tmp_path, pair):
    empty = write(tmp_path / "nan.tif", np.full((3, HEIGHT, WIDTH), np.nan, np.float32))
    with pytest.raises(DataError, match=r"nan.tif has no data"):
        geotiff.read_pair(empty, empty)
    with pytest.raises(DataError, match="known at both dates"):
        geotiff.read_pair(pair[0], empty, scale=(0, 255))
    assert not geotiff.read_image(empty, scale=(0, 1)).any()


def test_bands_are_chosen_by_number(tmp_path):
    pixels = noise(count=5)
    path = write(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(geotiff.read_pair(path, path, bands=(5, 1, 1)).pair.a.numpy(), pixels[[4, 0, 0]])
    with pytest.raises(DataError, match=r"has 5 bands, but bands \[4, 5, 6\] were asked for"):
        geotiff.read_pair(path, path, bands=(4, 5, 6))
    with pytest.raises(DataError, match=r"has 5 bands, but bands \[0, 1, 2\]"):
        geotiff.read_image(path, bands=(0, 1, 2))
    with pytest.raises(DataError, match="bands are three whole numbers"):
        geotiff.read_image(path, bands=(1,))


def test_complex_numbers_are_refused(tmp_path):
    path = write(tmp_path / "slc.tif", noise().astype(np.complex64))
    with pytest.raises(DataError, match="holds complex64 numbers"):
        geotiff.read_image(path)


def test_a_missing_or_foreign_file_is_named(tmp_path, pair):
    with pytest.raises(DataError, match=r"no GeoTIFF at .*nowhere.tif"):
        geotiff.read_pair(pair[0], tmp_path / "nowhere.tif")
    (tmp_path / "text.tif").write_text("not an image")
    with pytest.raises(DataError, match=r"text.tif cannot be read as a GeoTIFF: .*download it anew"):
        geotiff.read_image(tmp_path / "text.tif")


@pytest.mark.parametrize("shift", [0, 0.5])
def test_a_truncated_file_is_named(tmp_path, pair, shift):
    whole = write(tmp_path / "whole.tif", noise(), GRID * Affine.translation(shift, 0), compress="deflate").read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.tif cannot be read as a GeoTIFF"):
        geotiff.read_pair(pair[0], cut)


def test_a_whole_image_comes_as_its_bytes(pair):
    np.testing.assert_array_equal(geotiff.read_image(pair[0]).numpy(), pair[2])


def test_too_large_an_image_is_sent_to_windows(tmp_path):
    huge = tmp_path / "huge.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 8001, "width": 8000, "dtype": "uint8", "sparse_ok": True}
    with rasterio.open(huge, "w", **profile, tiled=True, crs=UTM, transform=GRID):
        pass
    with pytest.raises(DataError, match=r"8000 x 8001 pixels are more than 64,000,000 at once; read it by windows"):
        geotiff.read_image(huge)
    with pytest.raises(DataError, match="read it by windows"):
        geotiff.read_pair(huge, huge)


@pytest.mark.parametrize("form", ["classes", "colours", "colormap", "classes elsewhere", "colours elsewhere"])
def test_maps_keep_their_classes(tmp_path, pair, form):
    classes = np.random.default_rng(3).integers(0, 7, (HEIGHT, WIDTH)).astype(np.uint8)
    times = 3 if "elsewhere" in form else 1  # on a grid three times as fine nearest takes one of nine equal pixels
    classes_there = classes.repeat(times, 0).repeat(times, 1)
    options = {}
    if form == "colormap":
        shuffled = [3, 1, 0, 2, 6, 5, 4]
        data = np.argsort(shuffled).astype(np.uint8)[classes_there][None]
        options["colormap"] = {i: (*PALETTE[c].tolist(), 255) for i, c in enumerate(shuffled)}
    else:
        data = PALETTE[classes_there].transpose(2, 0, 1) if "colours" in form else classes_there[None]
    path = write(tmp_path / "map.tif", data, GRID * Affine.scale(1 / times), **options)
    found = geotiff.read_pair(*pair[:2], sem_a=path, sem_b=path, window=(3, 5, 20, 10))
    np.testing.assert_array_equal(found.pair.check().sem_a.numpy(), classes[5:15, 3:23])
    np.testing.assert_array_equal(found.pair.sem_b.numpy(), classes[5:15, 3:23])


@pytest.mark.parametrize("bands", [1, 3])
def test_a_map_is_unlabelled_where_it_has_no_data(tmp_path, pair, bands):
    data = np.ones((HEIGHT, WIDTH), np.uint8)[None] if bands == 1 else PALETTE[np.ones((HEIGHT, WIDTH), int)]
    data = data if bands == 1 else data.transpose(2, 0, 1).copy()
    data[:, :10] = 99
    path = write(tmp_path / "map.tif", data, GRID * Affine.translation(4, 0), nodata=99)
    found = geotiff.read_pair(*pair[:2], sem_a=path, sem_b=path).pair.sem_a
    assert found.shape == (HEIGHT, WIDTH)
    assert found[10:, 4:].unique().tolist() == [1]
    assert not found[:10].any()
    assert not found[:, :4].any()


def test_a_value_that_is_no_class_is_named(tmp_path, pair):
    path = write(tmp_path / "map.tif", np.full((1, HEIGHT, WIDTH), 7, np.uint8))
    with pytest.raises(DataError, match=r"map.tif has the value 7 .* classes 0 to 6 \(unlabelled, water"):
        geotiff.read_pair(*pair[:2], sem_a=path, sem_b=path)
    strange = write(tmp_path / "rgb.tif", np.full((3, HEIGHT, WIDTH), 7, np.uint8))
    with pytest.raises(DataError, match="not on the SECOND palette"):
        geotiff.read_pair(*pair[:2], sem_a=strange, sem_b=strange)
    assert not geotiff.read_pair(*pair[:2], sem_a=strange, sem_b=strange, palette="nearest").pair.sem_a.any()
    with pytest.raises(DataError, match="maps come in pairs"):
        geotiff.read_pair(*pair[:2], sem_a=path)


@pytest.mark.parametrize(("size", "overlap"), [(16, 0), (20, 4), (64, 0), (100, 10), (7, 6)])
def test_tiles_cover_what_the_dates_share(tmp_path, pair, size, overlap):
    b = write(tmp_path / "shifted.tif", noise(), GRID * Affine.translation(9, 5))
    covered = np.zeros((HEIGHT, WIDTH), int)
    with geotiff.Scene(pair[0], b) as scene:
        for column, row, width, height in scene.tiles(size, overlap):
            assert (width, height) == (min(size, WIDTH - 9), min(size, HEIGHT - 5))
            covered[row : row + height, column : column + width] += 1
    assert (covered[5:, 9:] > 0).all()
    assert not covered[:5].any()
    assert not covered[:, :9].any()


def test_tiles_read_alone_make_the_scene_read_at_once(tmp_path, pair):
    b = write(tmp_path / "b.tif", noise(), GRID * Affine.translation(0.4, -0.3) * Affine.rotation(3))
    with geotiff.Scene(pair[0], b) as scene:
        whole = scene.read()
        left, top = whole.window[:2]
        for window in scene.tiles(16):
            tile = scene.read(window)
            here = np.s_[..., window[1] - top :, window[0] - left :]
            for part, all_of_it in zip((*tile.pair[:2], tile.valid), (*whole.pair[:2], whole.valid), strict=True):
                assert torch.equal(part, all_of_it[here][..., : window[3], : window[2]])


@pytest.mark.parametrize("overlap", [-1, 8])
def test_tiles_that_would_not_advance_are_refused(pair, overlap):
    with geotiff.Scene(*pair[:2]) as scene, pytest.raises(DataError, match=f"got size=8, overlap={overlap}"):
        list(scene.tiles(8, overlap))


def test_no_read_is_larger_than_the_window_or_the_sample(tmp_path, monkeypatch):
    profile = {"driver": "GTiff", "count": 3, "height": 3000, "width": 5000, "dtype": "uint16", "tiled": True}
    paths = []
    for i, shift in enumerate((0, 10.5)):
        paths.append(tmp_path / f"{i}.tif")
        grid = GRID * Affine.translation(shift, 0)
        with rasterio.open(paths[-1], "w", **profile, sparse_ok=True, crs=UTM, transform=grid) as file:
            file.write(np.full((3, 512, 512), 7 * i, np.uint16), window=((0, 512), (0, 512)))
    shapes, plain = [], geotiff._read

    def watched(*arguments):
        data, valid = plain(*arguments)
        shapes.append(data.shape)
        return data, valid

    monkeypatch.setattr(geotiff, "_read", watched)
    found = geotiff.read_pair(*paths, window=(100, 100, 256, 256))
    assert shapes == [(3, 1024, 1024)] * 2 + [(3, 256, 256)] * 2
    assert found.pair.b.unique().tolist() == [255]
