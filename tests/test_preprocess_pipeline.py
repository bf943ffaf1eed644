"""The chain: steps by name, drawn from a generator, one batch as its samples, what was drawn told."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from changecap.data.synthetic import render_pair
from changecap.language.directions import TURNS
from preprocess import Pair, build
from preprocess.corruption import corrupt
from preprocess.pipeline import STEPS

RANDOM = [name for name in STEPS if STEPS[name].draws]
ALL = ["flip", "transpose", "rotate90", "gamma", "brightness", "gaussian_blur", "motion_blur", "defocus"]


def made(count=4, shape=(24, 24), seed=0):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(count, 3, *shape, generator=generator) for _ in "ab")
    sem_a, sem_b = (torch.randint(0, 7, (count, *shape), generator=generator) for _ in "ab")
    return Pair(a, b, sem_a, sem_b)


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_batch_is_its_samples_one_by_one():
    chain, pair, one = build(ALL), made(), dice()
    whole = chain.run(pair, dice())
    for i in range(4):
        alone = chain.run(Pair(*(x[i : i + 1] for x in pair)), one)
        assert torch.equal(alone.turn[0], whole.turn[i])
        for x, y in zip(alone.pair, whole.pair, strict=True):
            assert_close(x[0], y[i], atol=1e-6, rtol=0)
        for (_, x), (_, y) in zip(alone.parameters, whole.parameters, strict=True):
            assert all(torch.equal(x[key][0].nan_to_num(), y[key][i].nan_to_num()) for key in y)


def test_the_same_generator_draws_the_same():
    chain, pair = build(ALL), made()
    first, again, other = (chain(pair, dice(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first.a, other.a)


def test_geometry_is_one_for_all_four_tensors():
    images = torch.rand(16, 3, 9, 9)
    sem = (images[:, 0] * 100).long()
    done = build(["flip", "transpose", "rotate90"]).run(Pair(images, images, sem, sem), dice())
    assert torch.equal(done.pair.a, done.pair.b)
    assert torch.equal((done.pair.a[:, 0] * 100).long(), done.pair.sem_a)
    assert torch.equal(done.pair.sem_a, done.pair.sem_b)
    assert len({str(turn) for turn in done.turn.tolist()}) > 4


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_the_turn_told_is_what_happened_to_the_pixels(seed):
    place = torch.stack(torch.meshgrid(torch.arange(7), torch.arange(7), indexing="xy")) - 3  # x and y of each pixel
    image = torch.cat([place, torch.zeros(1, 7, 7, dtype=torch.long)])[None] / 6 + 0.5
    done = build(["rotate90", "flip", "transpose", "flip"]).run(Pair(image, image), dice(seed))
    turn = tuple(map(tuple, done.turn[0].tolist()))
    assert turn in TURNS.values()
    there = ((done.pair.a[0, :2] - 0.5) * 6).round().long()  # where the pixel that is here was
    assert torch.equal(torch.einsum("ij,jhw->ihw", done.turn[0], there), place)


def test_a_quarter_turn_is_clockwise():
    image = torch.rand(64, 3, 5, 5)
    done = build(["rotate90"]).run(Pair(image, image), dice())
    turned = [i for i, turn in enumerate(done.turn.tolist()) if tuple(map(tuple, turn)) == TURNS["rotate90"]]
    assert turned
    assert all(torch.equal(done.pair.a[i], image[i].rot90(-1, (-2, -1))) for i in turned)


@pytest.mark.parametrize("name", ["gamma", "brightness", "gaussian_blur", "motion_blur", "defocus"])
def test_light_and_blur_are_drawn_for_each_date_and_leave_maps_alone(name):
    image, _, *maps = made(shape=(96, 96))
    pair = Pair(image, image, *maps)
    each = build([{name: {"p": 1.0}}])(pair, dice())
    both = build([{name: {"p": 1.0, "dates": "both"}}])(pair, dice())
    only_b = build([{name: {"p": 1.0, "dates": "b"}}])(pair, dice())
    assert not torch.equal(each.a, each.b)
    assert torch.equal(both.a, both.b)
    assert torch.equal(only_b.a, image)
    assert torch.equal(each.b, only_b.b)
    assert all(torch.equal(x.sem_a, pair.sem_a) and torch.equal(x.sem_b, pair.sem_b) for x in (each, both, only_b))


CORRUPTED = [
    ["light", "sharpness", "geometry"],
    ["noise", "jpeg"],
]


@pytest.mark.parametrize("names", CORRUPTED)
def test_a_corrupted_batch_is_its_samples_one_by_one_and_one_date_of_each_is_touched(names):
    chain, pair, one = build([{"corrupt": {"names": names, "p": 0.7}}]), made(16), dice()
    whole = chain.run(pair, dice())
    told = whole.parameters[0][1]
    for i in range(16):
        alone = chain.run(Pair(*(x[i : i + 1] for x in pair)), one)
        assert all(torch.equal(x[0], y[i]) for x, y in zip(alone.pair, whole.pair, strict=True))
        same = [torch.equal(x[i], y[i]) for x, y in zip(whole.pair, pair, strict=True)]
        date = int(told["date"][i])
        assert date in (-1, 0, 1)
        assert date == 0 or (same[0] and same[2])
        assert date == 1 or (same[1] and same[3])
    assert set(told["date"].tolist()) == {-1, 0, 1}
    assert ((told["corruption"] == -1) == (told["severity"] == -1)).all()


def test_a_corrupted_date_is_what_its_corruption_makes_of_it():
    coarse = torch.rand(24, 3, 4, 4, generator=dice(1))
    image = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)
    maps = (image[:, 0] * 7).long()
    step = {"corrupt": {"names": ["brightness", "translation"], "severities": [2, 5], "p": 1.0}}
    done = build([step]).run(Pair(image, image, maps, maps), dice())
    told = done.parameters[0][1]
    assert set(told["severity"].tolist()) == {2, 5}
    for i, (name, severity, date) in enumerate(zip(*(told[k].tolist() for k in told), strict=True)):
        there, sem = done.pair[date][i], done.pair[2 + date][i]
        if name == 0:
            shift = (0.09, 0.26)[severity == 5]
            assert torch.equal(sem, maps[i])
            assert ((there - image[i]).abs() <= shift + 1e-6).all()
            assert_close((there - image[i]).abs().amax(), torch.tensor(shift))
        else:
            inner = (slice(8, -8), slice(8, -8))
            assert ((there[0] * 7).long() == sem)[inner].float().mean() > 0.8
            assert severity == 2 or not torch.equal(sem, maps[i])  # 2 is half a pixel here


@pytest.mark.parametrize("name", RANDOM)
def test_an_augmentation_acts_in_training_only(name):
    chain, pair = build([name]).eval(), made()
    assert all(torch.equal(x, y) for x, y in zip(chain(pair), pair, strict=True))
    with pytest.raises(ValueError, match="give generator="):
        chain.train()(pair)


@pytest.mark.parametrize("name", RANDOM)
def test_what_happens_never_is_not_told_and_changes_nothing(name):
    arguments = {"horizontal": 0.0, "vertical": 0.0} if name == "flip" else {"p": 0.0}
    pair = made()
    done = build([{name: arguments}]).run(pair, dice())
    assert all(torch.equal(x, y) for x, y in zip(done.pair, pair, strict=True))
    told = {key: value for key, value in done.parameters[0][1].items() if key != "turn"}
    assert all((value.isnan() if value.is_floating_point() else value == -1).all() for value in told.values())
    assert torch.equal(done.turn, torch.eye(2, dtype=torch.long).repeat(4, 1, 1))


def test_what_is_told_can_be_measured():
    grey = torch.full((8, 3, 6, 6), 0.5)
    done = build([{"gamma": {"dates": "b"}}, {"brightness": {"low": 0.05, "dates": "a"}}]).run(Pair(grey, grey), dice())
    (_, gamma), (_, brightness) = done.parameters
    assert_close(done.pair.b[:, 0, 0, 0].double(), 0.5 ** gamma["exponent_b"], atol=1e-6, rtol=0)
    assert_close(done.pair.a[:, 0, 0, 0].double(), 0.5 + brightness["shift_a"], atol=1e-6, rtol=0)
    assert gamma["exponent_b"].min() >= 0.6
    assert gamma["exponent_b"].max() <= 1.7


@pytest.mark.parametrize(
    ("name", "size"), [("gaussian_blur", "sigma"), ("motion_blur", "length"), ("defocus", "radius")]
)
def test_what_is_told_of_a_blur_can_be_measured_in_pixels_of_256(name, size):
    point = torch.zeros(8, 3, 128, 128)
    point[..., 64, 64] = 1
    steps = [{name: {"low": 8.0, "high": 16.0, "p": 1.0, "dates": "b"}}]
    done = build(steps).run(Pair(point, point), dice())
    told = {key: value.float() for key, value in done.parameters[0][1].items()}
    line = torch.arange(128.0) - 64
    radians = torch.deg2rad(told.get("angle_b", torch.zeros(8)))[:, None, None]  # from the x axis towards the top
    along = line * radians.cos() - line[:, None] * radians.sin()
    variance = (done.pair.b[:, 0] * along.square()).sum((1, 2))
    # of its square what is the variance along a line
    size, share = {"gaussian_blur": ("sigma", 1), "motion_blur": ("length", 1 / 12), "defocus": ("radius", 1 / 4)}[name]
    assert_close(variance, share * (told[f"{size}_b"] / 2).square(), rtol=0.1, atol=0.2)


def test_a_chain_is_built_again_of_its_plain_configuration():
    chain = build(["flip", {"gamma": {"low": 0.5}}])
    again = build(json.loads(json.dumps(chain.config)))
    assert again.config == chain.config
    assert all(torch.equal(x, y) for x, y in zip(chain(made(), dice()), again(made(), dice()), strict=True))


def test_registration_brings_the_second_date_onto_the_first():
    coarse = torch.rand(1, 3, 40, 40, generator=dice(1))
    wide = torch.nn.functional.interpolate(coarse, size=(160, 160), mode="bicubic").clamp(0, 1)
    a, b = wide[..., 16:144, 16:144], wide[..., 12:140, 21:149]  # b is a moved by 5 to the left, 4 down
    done = build([{"register": {"model": "translation"}}]).eval().run(Pair(a, b))
    (name, found) = done.parameters[0]
    assert name == "register"
    assert found["ok"].all()
    assert_close(found["matrix"][0, :2, 2], torch.tensor([-5.0, 4.0]), atol=0.3, rtol=0)
    inner = (..., slice(12, -12), slice(12, -12))
    assert (done.pair.b[inner] - a[inner]).abs().mean() < 0.02 < (b[inner] - a[inner]).abs().mean()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_where_the_second_date_shows_nothing_it_stays_as_it_was(dtype):
    scene = torch.as_tensor(render_pair(5, 0, 96)[0]).permute(2, 0, 1)[None]
    scene = scene if dtype == torch.uint8 else scene / 255
    a, b = scene[..., 8:88, 8:88], scene[..., 8:88, 1:81]
    b = (b * 0.8 + (40 if dtype == torch.uint8 else 0.16)).to(dtype)  # brighter: a black border would show
    done = build(["register"]).eval().run(Pair(a, b))
    (_, told), out = done.parameters[0], done.pair.b
    assert told["ok"].all()
    assert out.dtype == dtype
    matrix = told["matrix"][0]
    assert matrix[0, 2] == pytest.approx(7, abs=0.3)
    assert_close(out[..., 75:].float(), b[..., 75:].float(), atol=2e-5 if dtype.is_floating_point else 1, rtol=0)
    assert not torch.equal(out[..., :60], b[..., :60])


def test_illumination_brings_the_second_date_to_the_light_of_the_first():
    coarse = torch.rand(2, 3, 32, 32, generator=dice(2)) * 0.6 + 0.2
    a = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bilinear")
    done = build(["illuminate"]).eval().run(Pair(a, a**1.6))
    assert (done.pair.b - a).abs().mean() < 0.25 * (a**1.6 - a).abs().mean()
    assert set(done.parameters[0][1]) == {"inliers", "clipped"}


def test_equalising_blurs_the_sharper_date_and_keeps_bytes_bytes():
    sharp = torch.from_numpy(render_pair(3, 0, 256)[0]).permute(2, 0, 1)[None]
    soft = build([{"gaussian_blur": {"low": 2.0, "high": 2.0, "p": 1.0}}])(Pair(sharp, sharp), dice()).b
    done = build(["equalise"]).eval().run(Pair(sharp, soft))
    assert done.pair.a.dtype == torch.uint8
    assert torch.equal(done.pair.b, soft)
    assert (done.pair.a.int() - soft.int()).abs().sum() < 0.3 * (sharp.int() - soft.int()).abs().sum()
    assert_close(done.parameters[0][1]["sigma"].item(), 2.0, atol=0.3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_images_keep_their_type(dtype):
    pair = made()
    low = Pair(*((x * 255).to(dtype) if dtype == torch.uint8 else x.to(dtype) for x in pair[:2]), *pair[2:])
    there, single = (build(ALL)(x, dice()) for x in (low, pair))
    assert there.a.dtype == dtype
    assert there.sem_a.dtype == pair.sem_a.dtype
    scale = 255 if dtype == torch.uint8 else 1
    assert_close(there.a.float() / scale, single.a, atol=0.03, rtol=0)


def test_a_single_pair_and_an_empty_chain_are_served():
    pair = Pair(*(x[0] for x in made()))
    assert build(ALL)(pair, dice()).a.shape == (3, 24, 24)
    assert build([])(pair).a is not None
    assert torch.equal(build([])(made()).a, made().a)


def test_the_input_is_left_unchanged():
    pair = made()
    build(ALL)(pair, dice())
    assert all(torch.equal(x, y) for x, y in zip(pair, made(), strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (24, 24)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("aligned", ["register", "relief"])
def test_constant_images_of_any_size_stay_finite(shape, value, aligned):
    image = torch.full((2, 3, *shape), value)
    done = build([aligned, *ALL]).run(Pair(image, image), dice())
    assert done.pair.b.isfinite().all()
    assert not done.parameters[0][1]["ok"].any()


@pytest.mark.parametrize("nothing", [0.0, math.nan])
@pytest.mark.parametrize("dates", ["a", "b", "ab"])
@pytest.mark.parametrize("aligned", ["register", "relief"])
def test_a_date_without_data_is_refused_and_both_are_left_as_they_are(nothing, dates, aligned):
    empty, (image, _, *maps) = torch.full((1, 3, 96, 96), nothing), made(1, shape=(96, 96))
    pair = Pair(*(empty if date in dates else image for date in "ab"), *maps)
    done = build([aligned, "illuminate", "equalise"]).eval().run(pair)
    assert not done.parameters[0][1]["ok"].any()
    for x, y in zip(done.pair, pair, strict=True):
        assert_close(x, y, atol=1e-5, rtol=0, equal_nan=True)  # of float images a warp by nothing rounds


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16])
def test_maps_of_two_classes_keep_them_and_their_type(dtype):
    wide = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 40, generator=dice(1)), 160, mode="bicubic").clamp(0, 1)
    a, b = wide[..., 16:144, 16:144], wide[..., 12:140, 21:149]
    two = (wide[:, 0] > 0.5).to(dtype)
    pair = Pair(a, b, two[:, 16:144, 16:144], two[:, 12:140, 21:149])
    done = build(["register", "flip", "transpose", "gamma"]).run(pair, dice()).pair
    for m in (done.sem_a, done.sem_b):
        assert m.dtype == dtype
        assert set(m.unique().tolist()) == {0, 1}
    inner = (..., slice(12, -12), slice(12, -12))
    assert (done.sem_a[inner] == done.sem_b[inner]).float().mean() > 0.98


def test_a_quarter_turn_of_an_oblong_image_is_refused():
    with pytest.raises(ValueError, match="24 x 32"):
        build([{"transpose": {"p": 1.0}}])(made(shape=(24, 32)), dice())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["gama"], "'gama', did you mean 'gamma'"),
        ([{"gamma": {"lo": 1}}], "gamma knows no 'lo'; it takes low, high, p, dates"),
        ([{"gamma": {"low": 2.0, "high": 1.0}}], "low=2.0, high=1.0"),
        ([{"gamma": {"low": "x"}}], "step gamma"),
        ([{"flip": {"horizontal": 1.5}}], "got 1.5"),
        ([{"brightness": {"dates": "c"}}], "got 'c'"),
        ([{"corrupt": {"names": ["nois"]}}], "'nois', did you mean 'noise'"),
        ([{"corrupt": {"names": ["light", "clouds"]}}], "clouds is held out of training"),
        ([{"corrupt": {"names": "light"}}], "a list like"),
        ([{"corrupt": {"severities": [0, 1]}}], "from 1 to 5, got 0"),
        ([{"corrupt": {"severities": []}}], "got none"),
        ([{"register": {"model": "rubber"}}], "model='rubber'"),
        ([{"illuminate": {"method": "magic"}}], "method='magic'"),
        ([{"flip": {}, "gamma": {}}], "a step is a name"),
        ("flip", "steps are a list"),
        ({"format": 2, "steps": []}, "saved by a newer version"),
    ],
)
def test_wrong_steps_are_told(steps, message):
    with pytest.raises(ValueError, match=message):
        build(steps)


def test_images_beyond_their_range_are_refused():
    image = torch.full((1, 3, 4, 4), 1.5)
    with pytest.raises(ValueError, match=r"1\.5"):
        build([{"gamma": {"p": 1.0}}])(Pair(image, image), dice())


@pytest.mark.parametrize(("steps", "turns"), [(["gamma", "flip"], True), (["second_cc"], True), (["gamma"], False)])
def test_a_chain_says_whether_captions_have_to_follow_it(steps, turns):
    assert build(steps).turns is turns


def test_relief_takes_back_what_a_plane_motion_leaves():
    drawn = [render_pair(seed, 0, 192) for seed in range(4)]
    a, b = (torch.stack([torch.from_numpy(d[i]).permute(2, 0, 1) for d in drawn]) for i in (0, 1))
    leaning = corrupt(Pair(a, b), "parallax", 3, list("abcd"), "hills")
    apart = {}
    for name in ("register", "relief"):
        done = build([name]).run(leaning)
        apart[name] = (done.pair.b.float() - b).square().mean((1, 2, 3))
        ((_, told),) = done.parameters
        assert told["ok"].all()
        assert ("flow" in told) == (name == "relief")
    assert (told["flow_confidence"] > 0.5).all()
    assert told["flow"].shape == (4, 2, 192, 192)
    assert apart["relief"].mean() < 0.8 * apart["register"].mean()
