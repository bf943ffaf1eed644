"""Degradations of known severity: deterministic, per pair, maps in step with geometry."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

from preprocess import Pair
from preprocess.corruption import CORRUPTIONS, GROUPS, corrupt, named, parameters
from preprocess.operators import color_temperature, haze

NAMES = ("p1", "p2", "p3", "p4", "p5")
GEOMETRY = [name for name, corruption in CORRUPTIONS.items() if corruption.is_geometry]
OTHERS = [name for name in CORRUPTIONS if name not in GEOMETRY]
SETTLED = ("gaussian_blur", "resolution", "jpeg")  # by their level alone: there is nothing to draw


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(5, 3, 80, 104, generator=generator).mul(255).to(torch.uint8) for _ in "ab")
    sem_a, sem_b = (torch.randint(0, 7, (5, 80, 104), generator=generator, dtype=torch.uint8) for _ in "ab")
    return Pair(a, b, sem_a, sem_b)


def rows(pair, indices):
    return Pair(*(x[list(indices)] for x in pair))


@pytest.fixture(params=CORRUPTIONS)
def name(request):
    return request.param


@pytest.fixture(params=OTHERS)
def light(request):
    return request.param


@pytest.fixture(params=GEOMETRY)
def geometry(request):
    return request.param


def test_a_pair_is_degraded_alike_in_any_batch_and_order(pair, name):
    whole = corrupt(pair, name, 3, NAMES, "set")
    order = [4, 0, 2]
    some = corrupt(rows(pair, order), name, 3, [NAMES[i] for i in order], "set")
    one = corrupt(rows(pair, [2]), name, 3, NAMES[2:3], "set")
    for x, y, z in zip(whole, some, one, strict=True):
        assert torch.equal(x[order], y)
        assert torch.equal(x[2:3], z)


def test_data_set_pair_and_seed_each_draw_anew_and_severity_does_not(name):
    def drawn(severity=3, of="p1", dataset="set", seed=0):
        return torch.cat([x.flatten() for x in parameters(name, severity, [of], dataset, seed).values()])

    others = [drawn(of=f"q{i}") for i in range(8)]
    if name not in SETTLED:
        assert any(not torch.equal(drawn(), other) for other in others)
        assert any(not torch.equal(drawn(), drawn(seed=i)) for i in range(1, 9))
        assert any(not torch.equal(drawn(), drawn(dataset=f"set{i}")) for i in range(8))
    assert not torch.equal(drawn(3), drawn(4))
    assert torch.equal(drawn(), drawn())


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cast_shadow", ("angle", "offset", "width", "wave")),
        ("motion_blur", ("angle",)),
        ("haze", ("thickness", "airlight")),
        ("noise", ("seed",)),
        ("parallax", ("relief",)),
        ("clouds", ("density",)),
    ],
)
def test_severity_changes_how_much_and_not_in_which_way(name, kept):
    mild, bad = (parameters(name, severity, NAMES, "set") for severity in (2, 5))
    assert all(torch.equal(mild[key], bad[key]) for key in kept)


def test_each_severity_takes_every_image_further_from_itself(name):
    generator = torch.Generator().manual_seed(1)
    coarse, fine = (torch.rand(5, 3, n, n + 1, generator=generator) for n in (6, 90))
    coarse, fine = (torch.nn.functional.interpolate(x, (256, 272), mode="bicubic").clamp(0, 1) for x in (coarse, fine))
    image = 0.8 * coarse + 0.2 * fine
    there = [corrupt(Pair(image, image), name, severity, NAMES, "set").b for severity in range(1, 6)]
    psnr = torch.stack([-10 * (x - image).square().mean((1, 2, 3)).log10() for x in there])
    assert (psnr[1:] < psnr[:-1]).all()
    assert psnr[0].isfinite().all()


def test_maps_keep_still_under_light_and_blur(pair, light):
    there = corrupt(pair, light, 5, NAMES, "set", side="both")
    assert torch.equal(there.sem_a, pair.sem_a)
    assert torch.equal(there.sem_b, pair.sem_b)


def test_maps_move_with_their_images_by_nearest_neighbour(pair, geometry):
    blocks = torch.arange(7).repeat_interleave(8)[None, None, :] * torch.ones(5, 40, 1, dtype=torch.long)
    image = (blocks / 8.0)[:, None].expand(-1, 3, -1, -1)
    there = corrupt(Pair(image, image, blocks, blocks), geometry, 5, NAMES, "set")
    assert set(there.sem_b.unique().tolist()) <= set(range(7))
    assert not torch.equal(there.sem_b, blocks)
    assert ((there.b[:, 0] * 8 - there.sem_b).abs() > 0.51).float().mean() < 0.02  # bilinear between neighbours


def test_a_side_is_degraded_and_the_other_is_not(pair, name):
    for side, kept in (("a", (1, 3)), ("b", (0, 2))):
        there = corrupt(pair, name, 4, NAMES, "set", side=side)
        assert all(torch.equal(there[i], pair[i]) for i in kept)
        assert not torch.equal(there.a if side == "a" else there.b, pair.a if side == "a" else pair.b)


def test_both_sides_are_degraded_alike(pair, name):
    twice = Pair(pair.a, pair.a, pair.sem_a, pair.sem_a)
    there = corrupt(twice, name, 4, NAMES, "set", side="both")
    assert torch.equal(there.a, there.b)
    assert torch.equal(there.sem_a, there.sem_b)


def test_each_corruption_is_of_one_group_and_geometry_moves_maps():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(CORRUPTIONS)
    assert len(CORRUPTIONS) == 14
    assert set(GROUPS["geometry"]) == set(GEOMETRY) - set(GROUPS["held_out"])


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["geometry"], ("translation", "viewpoint")),
        (["noise", "geometry", "noise", "viewpoint"], ("noise", "translation", "viewpoint")),
        (["all"], tuple(CORRUPTIONS)),
        ([], ()),
    ],
)
def test_corruptions_are_named_by_themselves_or_their_group(names, found):
    assert named(names) == found


def test_a_group_that_does_not_exist_is_told():
    with pytest.raises(ValueError, match="'geometri', did you mean 'geometry'"):
        named(["geometri"])


def test_a_translation_moves_by_its_level():
    matrix = parameters("translation", 4, NAMES, "set")["matrix"]
    assert_close(256 * matrix[:, :2, 2].norm(dim=1), torch.full((5,), 8.0, dtype=torch.float64))


def test_a_viewpoint_moves_the_corners_by_its_level_and_is_of_both_kinds():
    matrix = parameters("viewpoint", 3, [str(i) for i in range(64)], "set")["matrix"]
    corners = torch.tensor([[-0.5, -0.5, 1], [0.5, -0.5, 1], [0.5, 0.5, 1], [-0.5, 0.5, 1]], dtype=torch.float64)
    there = corners @ matrix.transpose(1, 2)
    moved = 256 * (there[..., :2] / there[..., 2:] - corners[:, :2]).norm(dim=-1).mean(1)
    assert_close(moved, torch.full((64,), 6.5, dtype=torch.float64))
    perspective = matrix[:, 2, :2].abs().sum(1) > 0
    assert 0 < perspective.sum() < 64


def test_parallax_moves_pixels_along_one_line_by_its_level_on_average_and_never_past_each_other():
    line = torch.arange(256.0) / 256
    places = torch.stack([*torch.meshgrid(line, line, indexing="xy"), torch.zeros(256, 256)]).expand(5, -1, -1, -1)
    there = corrupt(Pair(places, places), "parallax", 4, NAMES, "set").b
    inner = (..., slice(40, -40), slice(40, -40))
    offset = 256 * (there - places)[:, :2][inner]
    assert_close(offset.norm(dim=1).mean(), torch.tensor(8.0), atol=2.0, rtol=0)  # the border is left out
    shift = parameters("parallax", 4, NAMES, "set")["shift"].float()
    across = offset[:, 0] * shift[:, 1, None, None] - offset[:, 1] * shift[:, 0, None, None]
    assert (across / shift.norm(dim=1)[:, None, None]).abs().max() < 0.01
    assert (there[:, 0].diff(dim=2)[inner] > 0).all()
    assert (there[:, 1].diff(dim=1)[inner] > 0).all()


def test_clouds_cover_their_level_and_have_soft_edges():
    black = torch.zeros(5, 3, 256, 256)
    cover = corrupt(Pair(black, black), "clouds", 5, NAMES, "set").b[:, 0]
    assert_close((cover > 0.41).float().mean((1, 2)), torch.full((5,), 0.37), atol=0.02, rtol=0)
    assert (cover.diff(dim=2).abs().amax((1, 2)) < 0.5).all()
    assert ((cover > 0.05) & (cover < 0.75)).any(2).any(1).all()


def test_a_wrong_white_balance_keeps_the_luminance_of_grey_and_goes_both_ways():
    grey = torch.full((8, 3, 2, 2), 0.4)
    names = [str(i) for i in range(8)]
    r, g, b = corrupt(Pair(grey, grey), "color_temperature", 2, names, "set").b[:, :, 0, 0].T
    warmer = parameters("color_temperature", 2, names, "set")["mired"] > 0
    assert 0 < warmer.sum() < 8
    assert torch.equal(r > g, warmer)
    assert torch.equal(b < g, warmer)
    luminance = torch.stack([((x + 0.055) / 1.055) ** 2.4 for x in (r, g, b)], 1) @ torch.tensor(
        [0.2126, 0.7152, 0.0722]
    )
    assert_close(luminance, torch.full((8,), ((0.4 + 0.055) / 1.055) ** 2.4), atol=1e-4, rtol=0)


def test_the_light_of_a_lamp_has_the_colour_of_a_black_body():
    grey = torch.full((1, 3, 1, 1), 0.5)
    lit = color_temperature(grey, torch.tensor([1e6 / 2856 - 1e6 / 6504])).flatten()
    linear = ((lit + 0.055) / 1.055) ** 2.4
    # chromaticities of CIE illuminant A and of the black body of 6504 K, by the inverse of sRGB's matrix
    to_rgb = torch.tensor([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    lamp, daylight = (
        to_rgb @ torch.tensor([x / y, 1, (1 - x - y) / y]) for x, y in ((0.44757, 0.40745), (0.31352, 0.32363))
    )
    gains = lamp / daylight
    assert_close(linear / linear[1], gains / gains[1], atol=0.02, rtol=0)


def test_haze_hides_contrast_by_its_depth_and_blue_before_red():
    scene = torch.cat([torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)])
    hazy = haze(scene, torch.tensor([0.5]), torch.ones(1, 4, 4), torch.tensor([0.8]))
    contrast = (hazy[1] - hazy[0]).mean((1, 2)) / 0.5
    assert_close(contrast[1], torch.tensor(-0.5).exp())
    assert contrast[0] > contrast[1] > contrast[2]


def test_resolution_is_that_of_its_pixels_and_leaves_coarser_images_alone():
    stripes = (torch.arange(256) % 6 < 3).float().expand(1, 3, 256, 256)  # 6 pixels a period
    coarse = [corrupt(Pair(stripes, stripes), "resolution", s, ["p"], "set").b.std() for s in (1, 5)]
    assert coarse[0] > 0.6 * stripes.std()
    assert coarse[1] < 0.15 * stripes.std()  # pixels of 6.5 see no stripes
    small = stripes[..., :32, :32]
    assert torch.equal(corrupt(Pair(small, small), "resolution", 5, ["p"], "set").b, small)


def test_jpeg_is_what_a_file_of_that_quality_holds(pair):
    there = corrupt(pair, "jpeg", 3, NAMES, "set").b
    for image, expected in zip(pair.b, there, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=14)
        held = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        assert (held.int() - expected.int()).abs().max() <= 1  # by another build of libjpeg


def test_noise_grows_with_light_and_is_the_same_at_every_severity():
    dark, bright = (torch.full((1, 3, 64, 64), value) for value in (0.1, 0.5))
    noise = {
        (value, s): corrupt(Pair(x, x), "noise", s, ["p"], "set").b - x
        for value, x in (("dark", dark), ("bright", bright))
        for s in (1, 2)
    }
    assert_close(noise["bright", 1].std(), torch.tensor(0.012), atol=4e-4, rtol=0)
    assert noise["dark", 1].std() < 0.7 * noise["bright", 1].std()
    assert_close(noise["bright", 2] / 0.023, noise["bright", 1] / 0.012, atol=1e-3, rtol=0)


def test_a_gaussian_blur_has_the_standard_deviation_of_its_level():
    point = torch.zeros(1, 3, 256, 256)
    point[..., 128, 128] = 1
    there = corrupt(Pair(point, point), "gaussian_blur", 4, ["p"], "set").b[0, 0]
    line = torch.arange(256.0) - 128
    assert_close(float((there.sum(0) * line**2).sum()), 2.6**2, rtol=0.03, atol=0)


def test_a_motion_blur_has_the_length_of_its_level_along_its_angle():
    point = torch.zeros(1, 3, 256, 256)
    point[..., 128, 128] = 1
    there = corrupt(Pair(point, point), "motion_blur", 4, ["p"], "set").b[0, 0]
    angle = float(parameters("motion_blur", 4, ["p"], "set")["angle"])
    line = torch.arange(256.0) - 128
    along = line * torch.tensor(angle).cos() + line[:, None] * torch.tensor(angle).sin()
    variance = float((there * along**2).sum())
    assert_close(variance, 12**2 / 12, rtol=0.15, atol=0)  # of a uniform path
    assert_close(float(there.sum()), 1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_images_keep_their_type(pair, name, dtype):
    images = pair if dtype == torch.uint8 else Pair(*(x.to(dtype) / 255 for x in pair[:2]))
    there = corrupt(images, name, 2, NAMES, "set")
    single = corrupt(Pair(*(x.float() / 255 for x in pair[:2])), name, 2, NAMES, "set")
    assert there.b.dtype == dtype
    scale = 255 if dtype == torch.uint8 else 1
    assert_close(there.b.float() / scale, single.b, atol=2e-2, rtol=0)


def test_the_input_is_left_unchanged(pair, name):
    before = [x.clone() for x in pair]
    corrupt(pair, name, 5, NAMES, "set", side="both")
    assert all(torch.equal(x, y) for x, y in zip(pair, before, strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_tiny_and_constant_images_stay_finite(name, shape, value):
    image = torch.full((1, 3, *shape), value)
    sem = torch.ones(1, *shape, dtype=torch.long)
    there = corrupt(Pair(image, image, sem, sem), name, 5, ["p"], "set")
    assert there.b.isfinite().all()
    assert there.b.min() >= 0
    assert there.b.max() <= 1
    assert torch.equal(there.sem_b, sem)


@given(
    st.sampled_from(sorted(CORRUPTIONS)),
    st.integers(1, 5),
    st.tuples(st.integers(1, 3), st.integers(1, 48), st.integers(1, 48)),
    st.text(max_size=4),
    st.integers(0, 2**40),
)
@settings(max_examples=60, deadline=None)
def test_any_image_keeps_its_shape_its_range_and_the_classes_of_its_map(name, severity, shape, dataset, seed):
    count, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 3, h, w, generator=generator)
    sem = torch.randint(2, 6, (count, h, w), generator=generator, dtype=torch.uint8)
    there = corrupt(Pair(image, image, sem, sem), name, severity, NAMES[:count], dataset, seed)
    assert there.b.shape == image.shape
    assert there.b.amin() >= 0
    assert there.b.amax() <= 1
    assert there.sem_b.dtype == sem.dtype
    assert all(set(x.unique().tolist()) <= set(y.unique().tolist()) for x, y in zip(there.sem_b, sem, strict=True))


def test_channels_last_and_sliced_images_are_degraded_alike(pair, name):
    there = corrupt(pair, name, 3, NAMES, "set")
    last = Pair(*(x.to(memory_format=torch.channels_last) for x in pair[:2]), pair.sem_a, pair.sem_b)
    wide = Pair(*(torch.cat([x, x], -1)[..., : x.shape[-1]] for x in pair))
    for other in (last, wide):
        found = corrupt(other, name, 3, NAMES, "set")
        assert (found.b.int() - there.b.int()).abs().max() <= 1  # sums in another order


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "gama"}, "'gama', did you mean 'gamma'"),
        ({"severity": 6}, "got 6"),
        ({"severity": 0}, "got 0"),
        ({"side": "c"}, "got 'c'"),
        ({"pairs": ("p1",)}, "got 1 for"),
    ],
)
def test_a_wrong_argument_is_told(pair, change, message):
    arguments = {"name": "gamma", "severity": 1, "pairs": NAMES, "dataset": "set", **change}
    with pytest.raises(ValueError, match=message):
        corrupt(pair, **arguments)


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan")])
def test_images_beyond_their_range_are_refused(bad):
    image = torch.full((1, 3, 4, 4), 0.5)
    wrong = image.clone()
    wrong[0, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        corrupt(Pair(image, wrong), "gamma", 1, ["p"], "set")
