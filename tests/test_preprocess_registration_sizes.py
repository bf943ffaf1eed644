import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.testing import assert_close

from preprocess import register, warp
from preprocess.registration.features import PAD, quick_length

ODD = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "pairs" / "odd"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def shift(x, y):
    return torch.tensor([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def odd():
    """The files of the pair whose dates differ in size."""
    return [next((ODD / date).glob("*.png")) for date in "AB"]


def test_an_image_one_pixel_wide_is_refused():
    found = register(noise(2, 3, 64, 1), noise(2, 3, 64, 1))
    assert not found.ok.any()
    assert not found.confidence.any()
    assert torch.equal(found.matrix, torch.eye(3).expand(2, -1, -1))


@pytest.mark.skipif(not ODD.is_dir(), reason=f"no pair of two sizes at {ODD}; set CHANGECAP_SHARED")
def test_dates_of_two_sizes_are_stated_and_register_on_what_they_share():
    a, b = (torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 255 for path in odd())
    assert a.shape[-2] == b.shape[-2] + 1
    with pytest.raises(ValueError, match=f"both of one size.*{a.shape[-2]}.*{b.shape[-2]}"):
        register(a, b)
    rows = b.shape[-2]
    truth = shift(4.0, -7.0)
    found = register(a[..., :rows, :], warp(a, torch.linalg.inv(truth)[None], (rows, a.shape[-1])))
    assert found.ok.all()
    assert_close(found.matrix[0], truth, atol=0.5, rtol=0)
    assert register(a[..., :rows, :], b).overlap.shape == (1, rows, a.shape[-1])


@pytest.mark.parametrize("size", [(330, 345), (64, 700)])
def test_large_and_long_images_are_registered(size):
    texture = F.interpolate(noise(1, 3, size[0] // 4 + 20, size[1] // 4 + 20), scale_factor=4, mode="bicubic")
    texture = texture.clamp(0, 1)
    a = texture[..., 20 : 20 + size[0], 20 : 20 + size[1]]
    b = texture[..., 14 : 14 + size[0], 25 : 25 + size[1]]  # 6 rows up, 5 columns to the right
    found = register(a, b)
    assert found.ok.all()
    assert_close(found.matrix[0], shift(-5.0, 6.0), atol=0.3, rtol=0)


def test_lengths_are_quick_to_transform_and_never_mirror_more_than_there_is():
    for n in range(24, 3000):  # 24 is the shortest side that maps have
        length = quick_length(n + 2 * PAD)
        assert length % 8 == 0
        assert length - n - PAD < n
        for prime in (2, 3, 5, 7):
            while length % prime == 0:
                length //= prime
        assert length == 1
