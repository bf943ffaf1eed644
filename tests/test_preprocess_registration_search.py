import math

import pytest
import torch
from torch.testing import assert_close

from preprocess.registration import motion
from preprocess.registration.calibration import WEIGHTS, judged
from preprocess.registration.estimation import EVIDENCE, PROFILES
from preprocess.registration.features import Spectrum, edges
from preprocess.registration.search import Effort, search

EFFORT = Effort(4, 16, 8, 32, 3)


def maps(height=50, width=61, margin=8):
    """Random maps (2, 3, H, W) of a first date, and of the second one, where all has moved by (3, -4) pixels."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(2, 3, height + 2 * margin, width + 2 * margin, generator=generator)
    a = whole[..., margin:-margin, margin:-margin]
    b = whole[..., margin + 4 : margin + 4 + height, margin - 3 : margin - 3 + width]
    return a, b + 0.5 * torch.randn(b.shape, generator=generator)


def corners_apart(starts, width=61):
    """How far a motion of (3, -4) pixels is from those that were found, in pixels."""
    truth = torch.eye(3).repeat(len(starts), 1, 1)
    truth[:, 0, 2], truth[:, 1, 2] = 3 / (width / 2), -4 / (width / 2)
    return motion.corner_distance(starts, truth, (50, width))


@pytest.mark.parametrize("blocks", [3, 4, 6])
def test_a_shift_is_found_whether_or_not_the_blocks_divide_the_map(blocks):
    a, b = maps()
    found = search(a, b, (2,), EFFORT._replace(blocks=blocks))
    assert (corners_apart(found.starts[:, 0]) < 0.3).all()
    assert (found.margin > 5).all()
    assert (found.breadth > 2).all()


def test_one_of_the_maps_is_enough():
    a, b = maps()
    other, noise = torch.randn(2, 2, *a.shape[1:], generator=torch.Generator().manual_seed(1))
    a, b = torch.cat([a[:, :1], other[:, 1:]], 1), torch.cat([b[:, :1], noise[:, 1:]], 1)
    assert (corners_apart(search(a, b, (2,), EFFORT).starts[:, 0]) < 0.3).all()


def test_maps_that_have_nothing_in_common_have_no_margin():
    a, b = torch.randn(2, 4, 3, 50, 61, generator=torch.Generator().manual_seed(1))
    related = search(*maps(), (2, 4, 6, 8), EFFORT)
    unrelated = search(a, b, (2, 4, 6, 8), EFFORT)
    assert (unrelated.margin.amax() < related.margin).all()
    assert (unrelated.breadth.amax() < related.breadth).all()


def test_edges_are_blind_to_contrast_and_their_strength_has_no_mean():
    x = torch.rand(2, 64, 48, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(2, 64, 48)
    seen[:, :20] = 0
    found, reversed_ = (edges(Spectrum(image).orientation(1.0, 0.1), seen) for image in (x, 1 - 0.5 * x))
    assert_close(found, reversed_, atol=1e-4, rtol=0)
    assert_close(found[:, 2].sum((-2, -1)) / seen.sum((-2, -1)), torch.zeros(2), atol=1e-5, rtol=0)
    assert not found[:, :, :20].any()


@pytest.mark.parametrize("profile", PROFILES)
def test_without_evidence_nothing_is_claimed(profile):
    evidence = torch.full((3, len(EVIDENCE)), 1.0)
    evidence[1, 2], evidence[2, 0] = math.nan, math.inf
    confidence, ok = judged(evidence, profile)
    assert confidence[0] > 0
    assert not confidence[1:].any()
    assert not ok[1:].any()
    assert all(len(w) == len(WEIGHTS[profile][0]) for w in WEIGHTS[profile])
