"""Degradations of known severity: deterministic, per pair, maps in step with geometry."""

import pytest
import torch
from torch.testing import assert_close

from preprocess import Pair
from preprocess.corrupt import CORRUPTIONS, corrupt, parameters

NAMES = ("p1", "p2", "p3", "p4", "p5")
GEOMETRY = [name for name, corruption in CORRUPTIONS.items() if corruption.is_geometry]
OTHERS = [name for name in CORRUPTIONS if name not in GEOMETRY]


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(5, 3, 40, 56, generator=generator).mul(255).to(torch.uint8) for _ in "ab")
    sem_a, sem_b = (torch.randint(0, 7, (5, 40, 56), generator=generator, dtype=torch.uint8) for _ in "ab")
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
    if name != "gaussian_blur":  # whose only parameter is its level
        assert any(not torch.equal(drawn(), other) for other in others)
        assert any(not torch.equal(drawn(), drawn(seed=i)) for i in range(1, 9))
        assert any(not torch.equal(drawn(), drawn(dataset=f"set{i}")) for i in range(8))
    angles = [parameters(name, severity, ["p1"], "set").get("angle") for severity in (2, 3)]
    assert angles[0] is None or torch.equal(*angles)
    assert not torch.equal(drawn(3), drawn(4))
    assert torch.equal(drawn(), drawn())


def test_each_severity_takes_the_image_further_from_itself(name):
    noise = torch.rand(5, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    smooth = Pair(*(torch.nn.functional.avg_pool2d(x, 5, 1, 2) for x in (noise, noise)))
    far = [float((corrupt(smooth, name, s, NAMES, "set").b - smooth.b).abs().mean()) for s in range(1, 6)]
    assert far == sorted(far)
    assert far[0] > 0


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


def test_a_translation_moves_by_its_level():
    matrix = parameters("translation", 4, NAMES, "set")["matrix"]
    assert_close(256 * matrix[:, :2, 2].norm(dim=1), torch.full((5,), 8.0, dtype=torch.float64))


def test_a_viewpoint_moves_the_corners_by_its_level_and_is_of_both_kinds():
    matrix = parameters("viewpoint", 3, [str(i) for i in range(64)], "set")["matrix"]
    corners = torch.tensor([[-0.5, -0.5, 1], [0.5, -0.5, 1], [0.5, 0.5, 1], [-0.5, 0.5, 1]], dtype=torch.float64)
    there = corners @ matrix.transpose(1, 2)
    moved = 256 * (there[..., :2] / there[..., 2:] - corners[:, :2]).norm(dim=-1).mean(1)
    assert_close(moved, torch.full((64,), 8.0, dtype=torch.float64))
    perspective = matrix[:, 2, :2].abs().sum(1) > 0
    assert 0 < perspective.sum() < 64


def test_a_gaussian_blur_has_the_standard_deviation_of_its_level():
    point = torch.zeros(1, 3, 256, 256)
    point[..., 128, 128] = 1
    there = corrupt(Pair(point, point), "gaussian_blur", 4, ["p"], "set").b[0, 0]
    line = torch.arange(256.0) - 128
    assert_close(float((there.sum(0) * line**2).sum()), 2.4**2, rtol=0.03, atol=0)


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
def test_tiny_and_constant_images_stay_finite(name, shape):
    image = torch.full((1, 3, *shape), 0.5)
    sem = torch.ones(1, *shape, dtype=torch.long)
    there = corrupt(Pair(image, image, sem, sem), name, 5, ["p"], "set")
    assert there.b.isfinite().all()
    assert there.b.min() >= 0
    assert there.b.max() <= 1
    assert torch.equal(there.sem_b, sem)


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
