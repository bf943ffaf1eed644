import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from changecap.data.synthetic.render import render
from changecap.data.synthetic.scene import draw_scene
from preprocess import Pair, register, warp, warp_pair
from preprocess.registration import Registration

SIZE, FRAME = 160, 24
STILL = torch.eye(3)[None]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scene():
    rendered = render(draw_scene(np.random.default_rng(1)), SIZE + 2 * FRAME)[0]
    return torch.from_numpy(rendered.copy()).permute(2, 0, 1)[None] / 255


def field(size, height, seed=0):
    """A smooth field of shifts (1, 2, size, size), of at most ``height`` pixels."""
    low = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    u = F.interpolate(low, (size, size), mode="bicubic", align_corners=True)
    return height * u / u.norm(dim=1).max()


def seen_from_aside(scene, height):
    """The scene with a smooth field of shifts put in, and where its pixels then lie: (1, 2, H, W)."""
    size = scene.shape[-1]
    u = field(size, height)
    there = warp(scene, STILL, (size, size), mode="bicubic", flow=-u).clamp(0, 1)
    truth = u
    for _ in range(8):
        truth = warp(u, STILL, (size, size), flow=truth)
    return middle(there), middle(truth)


def middle(x):
    return x[..., FRAME:-FRAME, FRAME:-FRAME].contiguous()


def end_error(matrix, flow, truth):
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    p = torch.stack([columns, rows]).float()[None]
    q = torch.einsum("bij,bjhw->bihw", matrix, torch.cat([p + flow, torch.ones_like(p[:, :1])], 1))
    return (q[:, :2] / q[:, 2:] - p - truth).norm(dim=1)[..., 12:-12, 12:-12].mean()


@pytest.mark.parametrize("profile", ["accurate", "fast"])
def test_parallax_is_recovered_better_than_by_a_plane_motion(scene, profile):
    a = middle(scene)
    b, truth = seen_from_aside(scene, 4)
    found = register(a, b, profile=profile, refine="flow")
    plane = end_error(found.matrix, torch.zeros_like(truth), truth)
    assert plane > 0.8
    assert end_error(found.matrix, found.flow, truth) < plane / 2
    assert found.flow_confidence > 0.7


def test_without_parallax_there_is_no_field(scene):
    a = middle(scene)
    b = middle(warp(scene, torch.tensor([[[1.0, 0, 5.3], [0, 1, -3.6], [0, 0, 1]]]), scene.shape[-2:]))
    plain, found = register(a, b), register(a, b, refine="flow")
    assert_close(found.matrix, plain.matrix)
    assert_close(found.confidence, plain.confidence)
    assert found.flow.abs().max() < 0.5


def test_a_refused_pair_has_no_field(scene):
    a = torch.cat([middle(scene), torch.zeros(1, 3, SIZE, SIZE)])
    found = register(a, torch.rand(a.shape, generator=torch.Generator().manual_seed(0)), refine="flow")
    assert not found.ok.any()
    assert not found.flow.any()
    assert not found.flow_confidence.any()
    small = register(a[..., :20], a[..., :20], refine="flow")
    assert small.flow.shape == (2, 2, SIZE, 20)
    assert not small.flow.any()


def test_a_field_that_is_not_asked_for_is_none(scene):
    a = middle(scene)
    assert register(a, a).flow is None
    with pytest.raises(ValueError, match="unknown refine 'dense', expected flow or None"):
        register(a, a, refine="dense")


def test_a_pair_follows_its_field_onto_either_date(scene):
    a = middle(scene)
    b, truth = seen_from_aside(scene, 4)
    one = torch.ones(1)
    known = Registration(STILL, one, one > 0, torch.ones(1, SIZE, SIZE, dtype=torch.bool), one, truth, one)
    classes = (a.sum(1) * 3).long()
    apart = (a - b).abs()[..., 12:-12, 12:-12].mean()
    for onto in ("a", "b"):
        warped, overlap = warp_pair(Pair(a, b, classes, classes), known, onto=onto)
        assert (warped.a - warped.b).abs()[..., 12:-12, 12:-12].mean() < apart / 3
        assert overlap[..., 12:-12, 12:-12].all()
        moved = warped.sem_b if onto == "a" else warped.sem_a
        assert not torch.equal(moved, classes)
        assert set(moved.unique().tolist()) <= set(classes.unique().tolist())


def test_a_flow_of_another_size_is_stated(scene):
    with pytest.raises(ValueError, match=r"\(1, 2, 8, 9\), got \(1, 2, 9, 8\)"):
        warp(scene, STILL, (8, 9), flow=torch.zeros(1, 2, 9, 8))
