import pytest
import torch
from torch.testing import assert_close

from preprocess import Pair, Registration, warp, warp_pair


def shift(x, y):
    return torch.tensor([[[1.0, 0, x], [0, 1, y], [0, 0, 1]]])


def numbers(height=6, width=9):
    return torch.arange(height * width).view(1, height, width)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_an_image_is_read_where_the_matrix_points(mode):
    image = numbers()[:, None].float() / 100
    moved = warp(image, shift(2, 1), (6, 9), mode)
    assert_close(moved[..., :-1, :-2], image[..., 1:, 2:], atol=1e-5, rtol=0)
    assert moved.dtype == image.dtype


def test_half_a_pixel_is_the_mean_of_two():
    image = numbers()[:, None].float()
    assert_close(warp(image, shift(0.5, 0), (6, 8)), (image[..., 1:] + image[..., :-1]) / 2)


def test_bytes_stay_bytes():
    image = torch.tensor([[[[0, 255, 0, 255]]]], dtype=torch.uint8)
    assert warp(image, shift(0, 0), (1, 4), "bicubic").tolist() == image.tolist()
    assert warp(image, shift(0.5, 0), (1, 3)).tolist() == [[[[128, 128, 128]]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_a_map_holds_only_classes_that_were_there(dtype):
    classes = torch.tensor([[[1, 7], [7, 40]]], dtype=dtype)
    matrix = torch.tensor([[[0.13, 0.02, -0.4], [-0.01, 0.17, -0.3], [0.001, 0, 1]]])
    moved = warp(classes, matrix, (12, 15))
    assert moved.dtype == dtype
    assert set(moved.unique().tolist()) <= {1, 7, 40}
    assert moved[0, 0, 0] == 1
    assert moved[0, -1, -1] == 40


def test_maps_move_as_their_image():
    image = torch.zeros(1, 1, 12, 12)
    image[..., 3:7, 5:9] = 1
    moved = warp(image, shift(1, -2), (12, 12))
    assert torch.equal(moved[:, 0] > 0.5, warp(image[:, 0].long(), shift(1, -2), (12, 12)) == 1)


def test_wrong_shapes_and_modes_are_stated():
    with pytest.raises(ValueError, match="'nearest', expected bilinear or bicubic"):
        warp(numbers()[:, None].float(), shift(0, 0), (4, 4), "nearest")
    with pytest.raises(ValueError, match=r"\(1, 1, 6, 9\) and \(3, 3\)"):
        warp(numbers()[:, None].float(), shift(0, 0)[0], (4, 4))


def registered(matrix, height=6, width=9):
    overlap = torch.zeros(1, height, width, dtype=torch.bool)
    overlap[:, :-1, :-2] = True
    one = torch.ones(1)
    return Registration(matrix, one, one > 0, overlap, one)


@pytest.mark.parametrize("maps", [True, False])
def test_a_pair_is_brought_onto_its_first_date(maps):
    image = numbers()[:, None].float().expand(1, 3, -1, -1) / 100
    pair = Pair(image, image, *((numbers(), numbers()) if maps else ()))
    moved, overlap = warp_pair(pair, registered(shift(2, 1)))
    assert moved.a is pair.a
    assert moved.sem_a is pair.sem_a
    assert_close(moved.b[..., :-1, :-2], image[..., 1:, 2:])
    assert (moved.sem_b is None) == (not maps)
    if maps:
        assert torch.equal(moved.sem_b[:, :-1, :-2], numbers()[:, 1:, 2:])
    assert torch.equal(overlap, registered(shift(2, 1)).overlap)


def test_onto_the_second_date_the_first_moves_back_and_the_overlap_with_it():
    image = numbers()[:, None].float().expand(1, 3, -1, -1) / 100
    pair = Pair(image, image, numbers(), numbers())
    moved, overlap = warp_pair(pair, registered(shift(2, 1)), onto="b")
    assert moved.b is pair.b
    assert_close(moved.a[..., 1:, 2:], image[..., :-1, :-2])
    assert torch.equal(moved.sem_a[:, 1:, 2:], numbers()[:, :-1, :-2])
    assert overlap[:, 1:, 2:].all()
    assert not overlap[:, 0].any()


def test_an_unknown_date_is_stated():
    image = torch.zeros(1, 3, 6, 9)
    with pytest.raises(ValueError, match="'c'"):
        warp_pair(Pair(image, image), registered(shift(0, 0)), onto="c")
