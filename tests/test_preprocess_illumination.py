import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from preprocess.illumination import METHODS, illuminate

INVERTIBLE = ["robust", "moments", "lab", "gamma", "pif", "histogram"]


def texture(batch=1, height=96, width=128, seed=0):
    """Structure of several sizes in colour, between 0.15 and 0.85."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(batch, 3, height, width)
    for cell in (4, 16):
        noise = torch.rand(batch, 3, height // cell + 2, width // cell + 2, generator=generator)
        x += F.interpolate(noise, (height, width), mode="bilinear")
    return 0.15 + 0.7 * x / 2


def relit(x, power=1.4, gain=(0.8, 0.9, 0.7), offset=0.03, shadow=0.3):
    """``x`` under another light: power, gain and offset per channel, and a shadow that grows to the right."""
    field = 1 - shadow * torch.linspace(0, 1, x.shape[-1])
    return ((x**power * torch.tensor(gain)[:, None, None] + offset) * field).clamp(0, 1)


def shadow(x, light=(0.5, 0.52, 0.57), slope=0.7):
    """``x`` under a band of shadow, a third of it, from light to dark within three pixels; and where it is dark."""
    rows, columns = (torch.arange(n) / n * 2 - 1 for n in x.shape[-2:])
    inside = 0.35 - (columns + slope * rows[:, None] - 0.1).abs()
    dark = (inside * x.shape[-1] / 2 / 3 + 0.5).clamp(0, 1)
    return x * (1 - dark * (1 - torch.tensor(light)[:, None, None])), dark == 1


def changed(x, seed=9):
    """``x`` with another scene in its left third; and where."""
    where = torch.zeros(len(x), *x.shape[-2:], dtype=torch.bool)
    where[..., : x.shape[-1] // 3] = True
    return torch.where(where[:, None], texture(*x.shape[:1], *x.shape[-2:], seed=seed), x), where


def psnr(x, y):
    return -10 * (x - y).square().mean().log10().item()


def test_robust_light_undoes_power_gain_offset_and_shadow_though_a_third_has_changed():
    a = texture()
    after, where = changed(a)
    out = illuminate(a, relit(after))
    keep = (~where[:, None]).expand_as(a)
    assert psnr(out.b[keep], a[keep]) > 40
    assert psnr(out.b[~keep], after[~keep]) > 37  # the change keeps its own contrast, in the light of a
    assert 0.5 < out.inliers.item() < 0.8  # two thirds agree
    assert not out.weak.item()


@pytest.mark.parametrize(
    ("light", "least"), [((0.8, 0.81, 0.83), 40), ((0.5, 0.52, 0.57), 35), ((0.2, 0.25, 0.32), 28)]
)
def test_a_shadow_with_sharp_edges_is_undone_though_something_changed_inside_it(light, least):
    a = texture(height=192, width=256)
    after = a.clone()
    block = (..., slice(80, 112), slice(124, 156))
    after[block] = texture(height=192, width=256, seed=9)[block]
    dark, where = shadow(relit(after, shadow=0.1), light)
    assert where[80:112, 124:156].all()
    keep = torch.ones_like(where)
    keep[80:112, 124:156] = False
    out = illuminate(a, dark)
    assert out.light.shade is not None
    assert psnr(out.b[..., keep], after[..., keep]) > least
    assert psnr(out.b[block], after[block]) > 32  # in the light of its surroundings, not in that of what was there


def test_a_shadow_on_the_first_date_falls_on_the_second():
    b = texture(height=192, width=256)
    a, _ = shadow(b)
    assert psnr(illuminate(a, b).b, a) > 35


def test_a_shadow_is_left_where_the_dates_share_no_texture():
    a, _ = shadow(texture(height=192, width=256))
    assert illuminate(a, texture(height=192, width=256, seed=3)).light.shade is None


def test_a_roof_in_place_of_a_lawn_is_no_shadow():
    a = texture(height=192, width=256)
    b = a.clone()
    b[..., 40:120, 60:180] = 0.2
    out = illuminate(a, b)
    assert out.light.shade is None
    assert psnr(out.b, b) > 45


def test_a_crop_that_turned_another_colour_is_no_shadow_though_its_texture_stayed():
    a = texture(height=192, width=256)
    b, _ = shadow(a, light=(0.45, 0.65, 0.5))
    assert illuminate(a, b).light.shade is None
    assert illuminate(b, a).light.shade is None


def test_a_pair_beside_one_with_a_shadow_is_as_it_would_be_alone():
    a = texture(3, height=192, width=256)
    b = relit(a)
    b[1] = shadow(a[1])[0]
    out, alone = illuminate(a, b), illuminate(a[::2], b[::2])
    assert out.light.shade[1].abs().max() > 0.5
    assert torch.equal(out.light.shade[::2], torch.zeros_like(out.light.shade[::2]))
    assert_close(out.b[::2], alone.b, atol=2e-4, rtol=0)
    assert_close(out.b[1:2], illuminate(a[1:2], b[1:2]).b, atol=2e-4, rtol=0)


def test_the_inverse_brings_the_shadow_back():
    a = texture(height=192, width=256)
    dark, _ = shadow(a)
    light = illuminate(a, dark).light
    assert_close(light.undo(light(dark)), dark, atol=5e-3, rtol=0)


def test_robust_light_beats_every_method_that_looks_at_the_whole_scene():
    a = texture()
    after, _ = changed(a)
    scores = {method: psnr(illuminate(a, relit(after), method).b, after) for method in METHODS}
    assert max(scores, key=scores.get) == "robust"


@pytest.mark.parametrize("method", ["moments", "pif", "histogram", "robust"])
def test_a_gain_and_an_offset_per_channel_are_undone(method):
    a = texture()
    b = relit(a, power=1.0, shadow=0.0)
    assert psnr(illuminate(a, b, method).b, a) > 45


def test_gamma_finds_a_power():
    a = texture()
    assert psnr(illuminate(a, a**1.7, "gamma").b, a) > 45


def test_pseudo_invariant_pixels_are_found_beside_a_change():
    a = texture()
    after, _ = changed(a)
    b = relit(after, power=1.0, shadow=0.0)
    pif, moments = (psnr(illuminate(a, b, method).b, after) for method in ("pif", "moments"))
    assert pif > moments + 3


def test_moments_of_lab_are_those_of_the_first_date():
    from kornia.color import rgb_to_lab

    a, b = 0.3 + 0.4 * texture(), 0.3 + 0.3 * texture(seed=3)
    out = rgb_to_lab(illuminate(a, b, "lab").b)
    assert_close(out.mean((2, 3)), rgb_to_lab(a).mean((2, 3)), atol=0.5, rtol=0)
    assert_close(out.std((2, 3)), rgb_to_lab(a).std((2, 3)), atol=0.5, rtol=0)


def test_equalisation_treats_both_dates_and_raises_the_contrast():
    a = 0.4 + 0.1 * texture()
    out = illuminate(a, a, "clahe")
    assert torch.equal(out.a, out.b)
    assert out.b.std() > 1.5 * a.std()


@pytest.mark.parametrize("method", INVERTIBLE)
def test_the_inverse_brings_the_first_date_back(method):
    a = texture()
    b = relit(a, shadow=0.2)
    light = illuminate(a, b, method).light
    assert_close(light.undo(light(b)), b, atol=5e-3, rtol=0)


@pytest.mark.parametrize("method", ["robust", "moments", "histogram"])
def test_in_a_common_light_both_dates_move_and_meet(method):
    a = texture()
    b = relit(a, power=1.0, shadow=0.0)
    out = illuminate(a, b, method, onto="common")
    assert psnr(out.a, out.b) > 40
    assert psnr(out.a, a) < 35
    assert psnr(out.b, b) < 35


def test_method_none_changes_nothing():
    a, b = texture(), texture(seed=1)
    out = illuminate(a, b, "none")
    assert torch.equal(out.a, a)
    assert torch.equal(out.b, b)
    assert out.light is None


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_images_one_by_one(method):
    a = texture(3)
    b = torch.cat([relit(a[:1]), a[1:2] * 0.5, texture(seed=5)])
    whole = illuminate(a, b, method)
    for k in range(3):
        one = illuminate(a[k : k + 1], b[k : k + 1], method)
        assert_close(whole.b[k : k + 1], one.b, atol=2e-4, rtol=0)
        assert_close(whole.inliers[k : k + 1], one.inliers, atol=0.01, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_comes_out_twice_and_in_any_memory_layout(method):
    a = texture(2)
    b = relit(a)
    first = illuminate(a, b, method)
    assert torch.equal(first.b, illuminate(a, b, method).b)
    last = illuminate(*(x.to(memory_format=torch.channels_last) for x in (a, b)), method)
    apart = illuminate(*(x.transpose(2, 3).contiguous().transpose(2, 3) for x in (a, b)), method)
    assert_close(last.b, first.b, atol=2e-4, rtol=0)
    assert_close(apart.b, first.b, atol=2e-4, rtol=0)


def test_half_precision_comes_back_as_it_came():
    a = texture()
    out = illuminate(a.half(), relit(a).half())
    assert out.b.dtype == torch.half
    assert psnr(out.b.float(), a) > 38


@pytest.mark.parametrize("method", INVERTIBLE)
def test_what_the_mask_leaves_out_does_not_matter(method):
    a = texture()
    b = relit(a, power=1.0, shadow=0.0)
    mask = torch.ones(1, *a.shape[-2:], dtype=torch.bool)
    mask[..., :40] = False
    spoilt = b.clone()
    spoilt[..., :40] = torch.rand(1, 3, a.shape[-2], 40, generator=torch.Generator().manual_seed(2))
    with_mask, clean = (illuminate(a, x, method, mask=mask).b[..., 40:] for x in (spoilt, b))
    assert_close(with_mask, clean)


def test_pixels_without_data_are_left_out_and_stay_without():
    a = texture()
    b = relit(a)
    b[..., :20, :30] = torch.nan
    out = illuminate(a, b)
    assert out.b[..., :20, :30].isnan().all()
    seen = ~b.isnan()
    assert psnr(out.b[seen], a[seen]) > 38


def test_the_share_that_was_clipped_is_reported():
    a = texture(2)
    b = a * 0.7
    a[1] = (a[1] + 0.4).clamp(0, 1)
    shares = illuminate(a, b, "moments").clipped
    assert shares[0] == 0
    assert 0.05 < shares[1] < 0.9


def test_two_scenes_with_nothing_in_common_get_gains_alone():
    generator = torch.Generator().manual_seed(4)
    a, b = ((torch.rand(1, 3, 64, 64, generator=generator) > 0.5).float() * 0.8 + 0.1 for _ in range(2))
    out = illuminate(a, b)
    assert out.weak.item()
    assert out.light.power.abs().max() == 0
    assert out.light.field.abs().max() == 0


@pytest.mark.parametrize("method", [m for m in METHODS if m != "clahe"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3)])
def test_tiny_images_come_out_finite_and_in_range(method, shape):
    a, b = (torch.full((1, 3, *shape), v) for v in (0.6, 0.3))
    out = illuminate(a, b, method)
    assert out.b.shape == b.shape
    assert 0 <= out.b.min() <= out.b.max() <= 1


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("clahe", "none")])
def test_a_constant_image_takes_the_constant_of_the_other(method):
    a, b = (torch.full((1, 3, 32, 32), v) for v in (0.6, 0.3))
    assert_close(illuminate(a, b, method).b, a, atol=0.03, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_black_date_or_one_without_data_leaves_both_as_they_are(method):
    a = texture(3, 48, 48)
    b = relit(a)
    b[0], b[1] = 0, torch.nan
    alone = illuminate(a[2:], b[2:], method)
    out = illuminate(a, b, method)
    assert_close(out.b[:2], b[:2], equal_nan=True)
    assert (out.inliers[:2] == 0).all()
    assert_close(out.b[2:], alone.b, atol=2e-4, rtol=0)


def test_an_equalisation_too_small_for_its_tiles_says_so():
    with pytest.raises(ValueError, match=r"16 x 16 pixels and more.*\(1, 3, 8, 40\)"):
        illuminate(*[torch.rand(1, 3, 8, 40)] * 2, "clahe")


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 7), {}, r"one size.*\(1, 3, 8, 7\)"),
        (torch.rand(3, 8, 8), torch.rand(3, 8, 8), {}, r"\(B, 3, H, W\)"),
        (torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8), {}, r"\(1, 4, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8),) * 2 + ({}, "torch.uint8"),
        (torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 200.0), {}, r"image b leaves \[0, 1\]: 200"),
        (torch.full((1, 3, 8, 8), -0.5), torch.full((1, 3, 8, 8), 0.5), {}, r"image a leaves \[0, 1\]: -0.5"),
        (torch.full((1, 3, 8, 8), torch.inf), torch.full((1, 3, 8, 8), 0.5), {}, "inf"),
        (*[torch.rand(1, 3, 8, 8)] * 2, {"method": "robustt"}, "'robustt', expected one of: robust, histogram"),
        (*[torch.rand(1, 3, 8, 8)] * 2, {"onto": "b"}, "'a' or 'common', got 'b'"),
        (*[torch.rand(1, 3, 8, 8)] * 2, {"mask": torch.ones(1, 8, 7, dtype=torch.bool)}, r"\(1, 8, 7\)"),
        (*[torch.rand(1, 3, 8, 8)] * 2, {"mask": torch.ones(1, 8, 8)}, "torch.float32"),
    ],
)
def test_what_cannot_be_used_is_named(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        illuminate(a, b, **options)


def test_the_input_is_left_as_it_was():
    a = texture()
    b = relit(a)
    kept = a.clone(), b.clone()
    illuminate(a, b, onto="common")
    assert torch.equal(a, kept[0])
    assert torch.equal(b, kept[1])
