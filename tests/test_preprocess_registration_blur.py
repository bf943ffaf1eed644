import math

import pytest
import torch
from torch.testing import assert_close

from preprocess.registration.blur import blur_gap, shares


def scene(batch=2, size=128):
    """Grey noise with a spectrum like that of scenes: it falls with the frequency."""
    white = torch.randn(batch, size, size, generator=torch.Generator().manual_seed(0))
    f = torch.fft.fftfreq(size)
    r = (f[:, None] ** 2 + f**2).sqrt().clamp_min(1 / size)
    return 0.5 + 0.1 * torch.fft.ifft2(torch.fft.fft2(white) / r**1.2).real / 30


def blurred(x, xx, xy, yy):
    f = torch.fft.fftfreq(x.shape[-1])
    fx, fy = f, f[:, None]
    transfer = torch.exp(-2 * math.pi**2 * (xx * fx**2 + 2 * xy * fx * fy + yy * fy**2))
    return torch.fft.ifft2(torch.fft.fft2(x) * transfer).real


@pytest.mark.parametrize("gap", [(0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (2.0, 0.0, 0.3), (1.0, 0.6, 1.0)])
def test_the_covariance_of_a_blur_is_found_with_its_direction(gap):
    x = scene()
    assert_close(blur_gap(x, blurred(x, *gap)), torch.tensor([gap, gap]), atol=0.15, rtol=0.1)
    assert_close(blur_gap(blurred(x, *gap), x), -torch.tensor([gap, gap]), atol=0.15, rtol=0.1)


def test_light_does_not_change_the_gap():
    x = scene()
    y = blurred(x, 1.0, 0.0, 1.0)
    assert_close(blur_gap(x, 0.6 * y + 0.1), blur_gap(x, y), atol=1e-3, rtol=1e-3)


def test_each_date_is_blurred_by_what_it_lacks_and_never_sharpened():
    a, b = shares(torch.tensor([[2.0, 0.0, -1.0], [1.0, 0.5, 1.0], [-1.0, 0.0, -2.0], [0.0, 0.0, 0.0]]))
    assert_close(a, torch.tensor([[2.0, 0, 0], [1.0, 0.5, 1.0], [0, 0, 0], [0, 0, 0]]), atol=1e-5, rtol=0)
    assert_close(b, torch.tensor([[0.0, 0, 1], [0, 0, 0], [1.0, 0, 2.0], [0, 0, 0]]), atol=1e-5, rtol=0)
