import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from preprocess.sharpness import KINDS, BlurGap, blur_gap, defocus, equalise, gaussian, motion


def scene(batch=1, height=160, width=192, seed=0):
    """Grey noise whose spectrum falls as that of a photograph, mean 0.5, deviation 0.12."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 1, height, width, generator=generator)
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    radius = (fy.square() + fx.square()).sqrt().clamp_min(1 / width)
    x = torch.fft.irfft2(torch.fft.rfft2(noise) / radius, s=(height, width))
    return (0.5 + 0.12 * x / x.std((2, 3), keepdim=True)).clamp(0, 1).expand(-1, 3, -1, -1)


def noisy(x, level=4, seed=1):
    noise = torch.randn(x[:, :1].shape, generator=torch.Generator().manual_seed(seed)) * level / 255
    return ((x + noise).clamp(0, 1) * 255).round() / 255


def sigmas(*values):
    return torch.tensor(values)


@pytest.mark.parametrize("other_scene", [False, True])
def test_the_sigma_of_a_gaussian_is_found_under_noise(other_scene):
    truth = sigmas(0.0, 1.0, 2.0, 3.0)
    a, b = scene(4), scene(4, seed=7 if other_scene else 0)
    gap = blur_gap(a, noisy(gaussian(b, truth)))
    assert_close(gap.sigma[1:], truth[1:], atol=0.2, rtol=0)
    assert gap.sigma[0].abs() < 0.35
    assert [KINDS[k] for k in gap.kind[1:]] == ["gaussian"] * 3


def test_light_does_not_pass_for_blur():
    a = scene()
    gap = blur_gap(a, 0.2 + 0.4 * gaussian(a, sigmas(1.5)))
    assert_close(gap.sigma, sigmas(1.5), atol=0.15, rtol=0)


def test_swapped_dates_swap_the_sign():
    a = scene()
    b = gaussian(a, sigmas(2.0))
    there, back = blur_gap(a, b), blur_gap(b, a)
    assert there.sigma > 0
    assert_close(back.sigma, -there.sigma, atol=0.02, rtol=0)


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize(("length", "angle"), [(5.0, 0.0), (9.0, 35.0), (15.0, 120.0)])
def test_length_and_angle_of_a_motion_are_found(length, angle, level):
    a = scene()
    gap = blur_gap(a, noisy(motion(a, sigmas(length), sigmas(angle)), level))
    assert KINDS[gap.kind] == "motion"
    assert abs(gap.length.item() - length) <= 2
    assert abs((gap.angle.item() - angle + 90) % 180 - 90) <= 10


def test_the_motion_of_the_first_date_has_a_negative_length():
    b = scene()
    gap = blur_gap(motion(b, sigmas(11.0), sigmas(70.0)), b)
    assert abs(gap.length.item() + 11) <= 2


def test_equal_dates_have_no_gap():
    a = scene()
    gap = blur_gap(a, a)
    assert gap.sigma == 0
    assert KINDS[gap.kind] == "none"
    assert torch.equal(equalise(a, a, gap)[1], a)


@pytest.mark.parametrize("blur", [lambda x: gaussian(x, sigmas(2.0)), lambda x: motion(x, sigmas(9.0), sigmas(30.0))])
def test_equalising_closes_the_gap_and_never_sharpens(blur):
    sharp = scene()
    soft = blur(sharp)
    a, b = equalise(sharp, soft, blur_gap(sharp, soft))
    assert torch.equal(b, soft)
    assert (a - b).std() < 0.15 * (sharp - soft).std()
    a, b = equalise(soft, sharp, blur_gap(soft, sharp))
    assert torch.equal(a, soft)
    assert (a - b).std() < 0.15 * (sharp - soft).std()


def test_each_pair_of_a_batch_is_equalised_by_its_own_gap():
    x = scene(3, 40, 40)
    gap = BlurGap(sigmas(2.0, -1.0, 0.0), sigmas(0.0, 0.0, 7.0), sigmas(0.0, 0.0, 90.0), torch.tensor([1, 1, 2]))
    a, b = equalise(x, x, gap)
    assert_close(a[:1], gaussian(x[:1], sigmas(2.0)), atol=1e-4, rtol=0)
    assert torch.equal(b[0], x[0])
    assert torch.equal(a[1], x[1])
    assert_close(b[1:2], gaussian(x[1:2], sigmas(1.0)), atol=1e-4, rtol=0)
    assert_close(a[2:], motion(x[2:], sigmas(7.0), sigmas(90.0)))


@settings(max_examples=15, deadline=None)
@given(sigma=st.floats(0.6, 4), length=st.floats(3, 15), angle=st.floats(0, 180), radius=st.floats(1, 6))
def test_a_kernel_sums_to_one_and_has_the_size_it_is_told(sigma, length, angle, radius):
    point = torch.zeros(1, 1, 45, 45)
    point[..., 22, 22] = 1
    axis = torch.arange(45.0) - 22
    theta = math.radians(angle)
    kernels = {
        "gaussian": (gaussian(point, sigmas(sigma)), sigma**2 * 2),
        "motion": (motion(point, sigmas(length), sigmas(angle)), length**2 / 12),
        "defocus": (defocus(point, sigmas(radius)), radius**2 / 2),
    }
    for name, (kernel, variance) in kernels.items():
        assert_close(kernel.sum(), torch.tensor(1.0), atol=1e-5, rtol=0)
        spread = (kernel * (axis.square() + axis[:, None].square())).sum().item()
        assert abs(spread - variance) < 0.15 * variance + 0.6, name
    line = kernels["motion"][0]
    across = (line * (axis * math.sin(theta) + axis[:, None] * math.cos(theta)).square()).sum().item()
    assert across < 0.4  # no wider than a pixel's own interpolation


@pytest.mark.parametrize("blur", [gaussian, defocus, lambda x, v: motion(x, 2 * v, 40 * v)])
def test_blur_takes_each_image_its_own_parameter_and_nought_is_none(blur):
    x = scene(3, 33, 47)
    values = sigmas(0.0, 1.5, 3.0)
    whole = blur(x, values)
    assert torch.equal(whole[0], x[0])
    for k in range(3):
        assert_close(whole[k : k + 1], blur(x[k : k + 1], values[k : k + 1]), atol=1e-6, rtol=0)
    assert whole[2].std() < whole[1].std() < x[1].std() * 1.2


def test_blur_keeps_a_constant_up_to_its_border_and_holes_where_they_are():
    x = torch.full((1, 3, 20, 30), 0.4)
    x[..., 5:8, 5:8] = torch.nan
    for out in (gaussian(x, sigmas(2.0)), motion(x, sigmas(7.0), sigmas(20.0)), defocus(x, sigmas(2.0))):
        assert torch.equal(out.isnan(), x.isnan())
        assert_close(out[~out.isnan()], torch.full_like(out[~out.isnan()], 0.4))


def test_a_batch_has_the_gaps_of_its_pairs_one_by_one_in_any_layout_and_precision():
    a = scene(3, 128, 128)
    b = noisy(gaussian(a, sigmas(0.0, 1.2, 2.5)))
    whole = blur_gap(a, b)
    ones = [blur_gap(a[k : k + 1], b[k : k + 1]) for k in range(3)]
    assert_close(whole.sigma, torch.cat([g.sigma for g in ones]), atol=1e-3, rtol=0)
    last = blur_gap(*(x.contiguous(memory_format=torch.channels_last) for x in (a, b)))
    assert_close(last.sigma, whole.sigma, atol=1e-3, rtol=0)
    assert torch.equal(blur_gap(a, b).sigma, whole.sigma)
    assert_close(blur_gap(a.half(), b.half()).sigma, whole.sigma, atol=0.1, rtol=0)
    assert gaussian(b.half(), sigmas(1.0, 1.0, 1.0)).dtype == torch.half


def test_tiles_that_the_mask_or_nodata_leave_out_do_not_matter():
    a = scene(1, 192, 256)
    b = noisy(gaussian(a, sigmas(2.0)))
    mask = torch.ones(1, 192, 256, dtype=torch.bool)
    mask[..., 128:] = False
    spoilt = torch.where(mask[:, None], b, torch.rand(b.shape, generator=torch.Generator().manual_seed(0)))
    assert_close(blur_gap(a, spoilt, mask).sigma, sigmas(2.0), atol=0.25, rtol=0)
    holes = b.masked_fill(~mask[:, None], torch.nan)
    assert_close(blur_gap(a, holes).sigma, sigmas(2.0), atol=0.25, rtol=0)


def test_images_with_nothing_to_see_have_no_gap_and_do_not_disturb_their_neighbours():
    a = scene(4, 128, 128).clone()
    b = gaussian(a, sigmas(1.5).expand(4))
    b[1], b[2], b[3] = 0, torch.nan, 0.5
    gap = blur_gap(a, b)
    assert gap.kind[1:].tolist() == [0, 0, 0]
    assert (gap.sigma[1:] == 0).all()
    assert_close(gap.sigma[0], torch.tensor(1.5), atol=0.15, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (15, 80), (16, 16), (20, 65)])
def test_small_images_have_finite_gaps(shape):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, *shape, generator=generator) for _ in range(2))
    gap = blur_gap(a, b)
    assert all(x.isfinite().all() for x in gap)
    assert all(x.shape == a.shape for x in equalise(a, b, gap))


def test_a_kernel_is_the_same_whatever_bound_is_told():
    x = scene(2, 40, 40)
    for blurred in (gaussian, defocus, lambda x, v, *most: motion(x, v, 30 * v, *most)):
        assert_close(blurred(x, sigmas(1.3, 2.6), 9.0), blurred(x, sigmas(1.3, 2.6)), atol=1e-6, rtol=0)


def test_images_that_cannot_be_compared_are_named():
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 9\)"):
        blur_gap(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
    with pytest.raises(ValueError, match=r"image b leaves \[0, 1\]"):
        blur_gap(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8) * 255)


def test_a_gaussian_is_the_convolution_written_out():
    x = scene(1, 24, 24)[:, :1]
    axis = torch.arange(-8.0, 9)
    line = torch.exp(-axis.square() / (2 * 1.5**2))
    kernel = line[:, None] * line / line.sum() ** 2
    plain = F.conv2d(F.pad(x, (8,) * 4, mode="replicate"), kernel[None, None])
    assert_close(gaussian(x, sigmas(1.5)), plain, atol=1e-4, rtol=0)
