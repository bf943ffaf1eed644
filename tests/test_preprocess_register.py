import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import preprocess
from changecap.data.synthetic.render import render
from changecap.data.synthetic.scene import WORLD, draw_scene
from preprocess import register, warp
from preprocess.registration.calibration import ENOUGH

SIZE, FRAME = 160, 24  # pixels of a view, and of the frame around it that moves in


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scenes():
    """Simulated scenes before and after their changes, (3, 208, 208) each, and by how much the sensor moved."""
    made = []
    for seed in (1, 2):
        scene, size = draw_scene(np.random.default_rng(seed)), SIZE + 2 * FRAME
        before, after = (torch.from_numpy(x.copy()).permute(2, 0, 1) / 255 for x in render(scene, size)[:2])
        offset = [(m - n) * size / WORLD for m, n in zip(*(light.shift for light in scene.lights), strict=True)]
        made.append((before, after, shift(*offset)))
    return made


def shift(x, y):
    return torch.tensor([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def about_centre(matrix):
    centre = shift((SIZE - 1) / 2, (SIZE - 1) / 2)
    return centre @ matrix @ torch.linalg.inv(centre)


def turned(degrees, scale=1.0, x=0.0, y=0.0):
    angle = math.radians(degrees)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return about_centre(torch.tensor([[c, -s, x], [s, c, y], [0, 0, 1]]))


MOTIONS = {
    "shift": shift(7.3, -11.6),
    "similarity": turned(3, 1.03, 4, -5),
    "affine": about_centre(torch.tensor([[1.05, 0.04, 3], [-0.02, 0.96, -4], [0, 0, 1]])),
    "homography": about_centre(torch.tensor([[1.03, 0.03, 2], [-0.02, 0.98, 3], [4e-4, -3e-4, 1]])),
}
# growth along x, perspective along x and y; the first is nearly an affine motion, which misses it by 3 px
STEEP = [(0.008, -3.9e-4, -2.6e-4), (0.02, 1.2e-3, -6e-4), (-0.02, -9e-4, 1e-3)]


def view(scene, matrix=None):
    """The middle of ``scene`` (3, h, w) as a date that shows at ``matrix`` p what the first shows at p."""
    if matrix is not None:
        frame = shift(FRAME, FRAME)
        back = frame @ torch.linalg.inv(matrix) @ torch.linalg.inv(frame)
        scene = warp(scene[None], back[None], scene.shape[-2:], mode="bicubic")[0].clamp(0, 1)
    return scene[:, FRAME:-FRAME, FRAME:-FRAME]


def moved(scene, motion):
    """Both dates of a scene, one row each, and the motion between them."""
    before, after, offset = scene
    return view(before)[None], view(after, MOTIONS[motion])[None], MOTIONS[motion] @ offset


def corner_error(found, truth):
    corners = torch.tensor([[0.0, 0, 1], [SIZE - 1, 0, 1], [SIZE - 1, SIZE - 1, 1], [0, SIZE - 1, 1]])
    p, q = (corners @ m.mT for m in (found, truth))
    return float((p[:, :2] / p[:, 2:] - q[:, :2] / q[:, 2:]).norm(dim=1).mean())


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def refused(found, i=0):
    return not found.ok[i] and torch.equal(found.matrix[i], torch.eye(3)) and found.confidence[i] < ENOUGH


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_known_motion_is_found_under_change(scenes, motion):
    a, b, truth = zip(*(moved(scene, motion) for scene in scenes), strict=True)
    found = register(torch.cat(a), torch.cat(b))
    assert found.ok.all()
    assert all(corner_error(m, t) < 0.7 for m, t in zip(found.matrix, truth, strict=True))
    assert (found.confidence > 0.5).all()


def test_a_homography_is_not_taken_for_an_affine_motion(scenes):
    steep = [about_centre(torch.tensor([[1.0 + g, 0.02, 2], [-0.03, 1.0, 3], [h, k, 1]])) for g, h, k in STEEP]
    pairs = [(view(before), view(before, matrix), matrix) for before, _, _ in scenes for matrix in steep]
    a, b, truth = (torch.stack(x) for x in zip(*pairs, strict=True))
    found = register(a, b)
    assert found.ok.all()
    assert all(corner_error(m, t) < 1 for m, t in zip(found.matrix, truth, strict=True))


def test_a_perspective_is_found_though_half_of_the_place_is_another(scenes):
    """Corners displaced by up to 16 pixels, which no turn, scale and shift comes near."""
    truth = about_centre(torch.tensor([[1.06, 0.05, 6], [-0.04, 0.95, -8], [9e-4, -7e-4, 1]]))
    here, other = view(scenes[0][0], truth), view(scenes[1][0])
    x = torch.arange(SIZE)
    patches = ((x[:, None] // 26 + x // 26) % 2).bool()  # a chessboard of both places
    found = register(view(scenes[0][0])[None], torch.where(patches, here, other)[None])
    assert found.ok.all()
    assert corner_error(found.matrix[0], truth) < 2


def test_light_blur_and_noise_leave_it_findable(scenes):
    a, b, truth = moved(scenes[0], "similarity")
    b = b[0].pow(1.7) * torch.tensor([0.7, 0.9, 0.8])[:, None, None] + 0.1
    b = b * torch.linspace(1, 0.6, SIZE)
    kernel = torch.exp(-torch.arange(-6.0, 7).square() / (2 * 2.0**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    b = F.conv2d(F.pad(b[None], (6,) * 4, mode="reflect"), kernel, groups=3)
    b = F.conv2d(b, kernel.mT, groups=3)[0]
    b = (b + 0.02 * (noise(3, SIZE, SIZE) - 0.5)).clamp(0, 1)
    found = register(a, b[None])
    assert found.ok.all()
    assert corner_error(found.matrix[0], truth) < 1.5


def test_contrast_reversal_does_not_matter(scenes):
    before = scenes[0][0]
    found = register(view(before)[None], 1 - view(before, MOTIONS["shift"])[None])
    assert found.ok.all()
    assert corner_error(found.matrix[0], MOTIONS["shift"]) < 1


def test_the_same_image_twice_does_not_move(scenes):
    a = view(scenes[0][0])[None]
    found = register(a, a)
    assert_close(found.matrix, torch.eye(3)[None], atol=0.02, rtol=0)
    assert found.residual < 0.01
    assert found.overlap.float().mean() > 0.95


def test_swapped_dates_give_inverse_motions(scenes):
    a, b, _ = moved(scenes[0], "similarity")
    there, back = register(a, b), register(b, a)
    assert corner_error(there.matrix[0] @ back.matrix[0], torch.eye(3)) < 0.3


def test_a_model_that_is_asked_for_is_kept(scenes):
    a, b, truth = moved(scenes[0], "shift")
    matrix = register(a, b, model="translation").matrix[0]
    assert_close(matrix[:2, :2], torch.eye(2), atol=1e-5, rtol=0)
    assert corner_error(matrix, truth) < 0.5
    matrix = register(a, b, model="affine").matrix[0]
    assert_close(matrix[2], torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)


def test_the_fast_profile_finds_a_motion_too(scenes):
    a, b, truth = moved(scenes[0], "similarity")
    found = register(a, b, profile="fast")
    assert found.ok.all()
    assert corner_error(found.matrix[0], truth) < 2


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_uniform_image_is_refused(scenes, value):
    flat = torch.full((1, 3, SIZE, SIZE), value)
    assert refused(register(view(scenes[0][0])[None], flat))
    assert refused(register(flat, flat))


def test_pure_noise_is_refused():
    assert refused(register(noise(1, 3, SIZE, SIZE), noise(1, 3, SIZE, SIZE, seed=1)))


def test_a_wholly_changed_scene_is_refused(scenes):
    found = register(view(scenes[0][0])[None], view(scenes[1][0])[None])
    assert refused(found)


def test_a_turn_by_half_is_refused(scenes):
    a = view(scenes[0][0])[None]
    assert refused(register(a, a.flip(-1, -2)))


def test_a_repeated_texture_is_not_moved_by_a_period_or_is_refused():
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    rows = ((x % 12 < 5) & (y % 16 < 9)).float()[None, None].expand(1, 3, -1, -1) * 0.6 + 0.2
    a, b = ((rows + 0.05 * noise(1, 3, SIZE, SIZE, seed=s)).clamp(0, 1) for s in (0, 1))
    found = register(a, b)
    assert corner_error(found.matrix[0], torch.eye(3)) < 1


@pytest.mark.parametrize("fill", [math.nan, 0.0, 1.0])
def test_a_wedge_without_data_does_not_pull(scenes, fill):
    a, b, truth = moved(scenes[0], "shift")
    a, b = a.clone(), b.clone()
    wedge = torch.ones(SIZE, SIZE).triu(SIZE // 3).bool()
    a[..., wedge], b[..., wedge] = fill, fill
    found = register(a, b)
    assert found.ok.all()
    assert corner_error(found.matrix[0], truth) < 1
    assert not found.overlap[0][wedge][FRAME:].float().mean() > 0.05


def test_masked_pixels_have_no_say(scenes):
    a, b, truth = moved(scenes[0], "shift")
    mask = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    mask[..., :60] = False
    one, two = a.clone(), a.clone()
    one[..., :60], two[..., :60] = noise(3, SIZE, 60), 0.3
    found = [register(x, b, mask_a=mask) for x in (one, two)]
    assert_close(found[0].matrix, found[1].matrix)
    assert corner_error(found[0].matrix[0], truth) < 1
    assert not found[0].overlap[..., :60].any()


def test_sides_that_are_no_multiple_of_four_are_registered(scenes):
    a, b, truth = moved(scenes[0], "shift")
    found = register(a[..., :-3, :-17], b[..., :-3, :-17])
    assert found.overlap.shape == (1, SIZE - 3, SIZE - 17)
    assert corner_error(found.matrix[0], truth) < 0.7


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ((1, 3, 256, 64), (1, 3, 255, 64), r"\(1, 3, 256, 64\) and \(1, 3, 255, 64\)"),
        ((1, 4, 64, 64), (1, 4, 64, 64), r"without alpha.*\(1, 4, 64, 64\)"),
        ((1, 1, 64, 64), (1, 1, 64, 64), r"\(1, 1, 64, 64\)"),
        ((1, 8, 64, 64), (1, 8, 64, 64), r"\(1, 8, 64, 64\)"),
        ((3, 64, 64), (3, 64, 64), r"\(3, 64, 64\)"),
        ((0, 3, 64, 64), (0, 3, 64, 64), r"none, got \(0, 3, 64, 64\)"),
        ((2, 3, 64, 64), (1, 3, 64, 64), r"\(2, 3, 64, 64\) and \(1, 3, 64, 64\)"),
    ],
)
def test_a_wrong_shape_is_stated(a, b, said):
    with pytest.raises(ValueError, match=said):
        register(torch.zeros(a), torch.zeros(b))


def test_a_wrong_range_type_or_name_is_stated():
    x = noise(1, 3, 64, 64)
    with pytest.raises(ValueError, match=r"got b from .* to 25\d"):
        register(x, x * 255)
    with pytest.raises(ValueError, match=r"got a as torch\.uint8"):
        register((x * 255).byte(), x)
    with pytest.raises(ValueError, match=r"got a as torch\.int32"):
        register((x * 65535).int(), x)  # 16 bits
    with pytest.raises(ValueError, match=r"mask_b .*got \(1, 64, 63\)"):
        register(x, x, mask_b=torch.ones(1, 64, 63))
    with pytest.raises(ValueError, match="'rigid', expected one of: auto, translation"):
        register(x, x, model="rigid")
    with pytest.raises(ValueError, match="'slow', expected one of: accurate, fast"):
        register(x, x, profile="slow")


@pytest.fixture(scope="module")
def mixed(scenes):
    """A batch of good and bad pairs, and which are good."""
    a = [view(scenes[0][0]), torch.zeros(3, SIZE, SIZE), view(scenes[1][0]), noise(3, SIZE, SIZE), view(scenes[0][0])]
    b = [
        view(scenes[0][1], MOTIONS["shift"]),
        view(scenes[0][1]),
        view(scenes[1][1], MOTIONS["homography"]),
        noise(3, SIZE, SIZE, seed=5),
        torch.full((3, SIZE, SIZE), math.nan),
    ]
    return torch.stack(a), torch.stack(b), [True, False, True, False, False]


def test_a_batch_is_the_same_as_one_by_one(mixed):
    a, b, good = mixed
    whole = register(a, b)
    assert whole.ok.tolist() == good
    for i in range(len(a)):
        one = register(a[i : i + 1], b[i : i + 1])
        assert_close(one.matrix[0], whole.matrix[i], atol=2e-2, rtol=0)  # sums of float32 in another order
        assert_close(one.confidence[0], whole.confidence[i], atol=1e-2, rtol=0)
        assert one.ok[0] == whole.ok[i]


def test_what_bad_pairs_hold_does_not_touch_the_others(mixed, scenes):
    a, b, good = mixed
    others_a, others_b = a.clone(), b.clone()
    others_a[1], others_b[1] = math.nan, 1.0
    others_a[3], others_b[3] = view(scenes[0][0]), view(scenes[1][0])  # wholly changed
    others_a[4], others_b[4] = view(scenes[1][0]), view(scenes[1][0]).flip(-1, -2)  # turned by half
    first, second = register(a, b), register(others_a, others_b)
    assert second.ok.tolist() == good
    for x, y in zip(first[:5], second[:5], strict=True):
        assert_close(x[good], y[good], atol=1e-5, rtol=0)


def test_the_same_call_gives_the_same_bits(mixed):
    a, b, _ = mixed
    first, second = register(a, b, refine="flow"), register(a, b, refine="flow")
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_memory_layout_does_not_matter_and_inputs_stay(mixed):
    a, b, _ = mixed
    kept = a.clone()
    plain = register(a, b)
    last = register(a.to(memory_format=torch.channels_last), b.to(memory_format=torch.channels_last))
    strided = register(*(F.pad(x, (0, 5))[..., :SIZE] for x in (a, b)))
    for other in (last, strided):
        assert_close(other.matrix, plain.matrix, atol=2e-2, rtol=0)
        assert torch.equal(other.ok, plain.ok)
    assert torch.equal(a, kept)


def test_half_precision_is_enough(mixed, scenes):
    a, b, good = mixed
    found = register(a.half(), b.half())
    assert found.matrix.dtype == torch.float32
    assert found.ok.tolist() == good
    assert corner_error(found.matrix[0], MOTIONS["shift"] @ scenes[0][2]) < 0.7


def test_the_package_offers_what_registers():
    assert preprocess.register is register
