import pytest
import torch
from torch.testing import assert_close

from preprocess import Pair


def pair(*shape, height=6, width=10, maps=True):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (*shape, 3, height, width), generator=generator, dtype=torch.uint8) for _ in "ab"]
    classes = [torch.randint(7, (*shape, height, width), generator=generator, dtype=torch.uint8) for _ in "ab"]
    return Pair(*images, *(classes if maps else ()))


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("maps", [True, False])
def test_a_sound_pair_passes_its_check_unchanged(shape, maps):
    sound = pair(*shape, maps=maps)
    assert sound.check() is sound


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p._replace(b=p.b[..., :-1]),
        lambda p: p._replace(a=p.a[:, :2], b=p.b[:, :2]),
        lambda p: p._replace(sem_b=None),
        lambda p: p._replace(sem_a=p.sem_a[..., :-1]),
        lambda p: p._replace(sem_a=p.sem_a[:1]),
        lambda p: p._replace(a=p.a[0, 0], b=p.b[0, 0]),
    ],
)
def test_shapes_that_disagree_are_stated(change):
    broken = change(pair(2))
    with pytest.raises(ValueError, match="a pair is two images") as caught:
        broken.check()
    assert str(tuple(broken.a.shape)) in str(caught.value)


def test_maps_that_are_no_integers_are_refused():
    with pytest.raises(ValueError, match="maps are integer classes"):
        pair(2)._replace(sem_a=torch.zeros(2, 6, 10)).check()


def test_float_brings_bytes_to_zero_to_one_and_maps_to_int64():
    whole = pair(2).float()
    assert_close(whole.a, pair(2).a / 255)
    assert whole.sem_a.dtype == torch.int64
    assert torch.equal(whole.sem_a, pair(2).sem_a.long())
    assert_close(whole.float().b, whole.b)  # what is in [0, 1] already stays


def test_resizing_a_constant_keeps_it():
    flat = Pair(torch.full((3, 7, 5), 200, dtype=torch.uint8), torch.full((3, 7, 5), 9, dtype=torch.uint8)).resize(4)
    assert flat.a.shape == (3, 4, 4)
    assert (flat.a == 200).all()
    assert (flat.b == 9).all()


def test_shrinking_an_image_averages_what_lies_between_the_samples():
    stripes = torch.zeros(3, 32, 32, dtype=torch.uint8)
    stripes[..., ::4] = 200  # no sample of plain bilinear resizing falls there
    middle = Pair(stripes, stripes).resize(8).a[..., 2:-2].float()
    assert_close(middle, torch.full_like(middle, 50), atol=16, rtol=0)


def test_a_shrunken_map_takes_the_class_in_the_middle_of_each_cell():
    classes = torch.arange(36, dtype=torch.uint8).view(6, 6)
    image = torch.zeros(3, 6, 6)
    assert Pair(image, image, classes, classes).resize(2).sem_b.tolist() == [[7, 10], [25, 28]]


def test_resized_maps_hold_only_classes_that_were_there():
    classes = torch.tensor([[1, 5], [6, 2]], dtype=torch.uint8)
    image = torch.zeros(3, 2, 2)
    resized = Pair(image, image, classes, classes).resize(6)
    assert torch.equal(resized.sem_a, classes.repeat_interleave(3, 0).repeat_interleave(3, 1))
    assert resized.sem_a.dtype == torch.uint8


def test_maps_move_with_their_images():
    mask = torch.zeros(12, 12, dtype=torch.uint8)
    mask[3:6, 6:9] = 1
    image = mask.float().expand(3, -1, -1)
    resized = Pair(image, image, mask, mask).resize(4)
    assert torch.equal(resized.sem_a.bool(), resized.a[0] > 0.5)


@pytest.mark.parametrize("shape", [(), (2,)])
def test_all_four_are_resized_batched_or_not(shape):
    resized = pair(*shape).resize(5)
    assert [tuple(x.shape) for x in resized] == [(*shape, 3, 5, 5)] * 2 + [(*shape, 5, 5)] * 2
    assert [x.dtype for x in resized] == [torch.uint8] * 4


def test_resizing_leaves_the_input_as_it_was():
    before, after = pair(2), pair(2)
    before.resize(3)
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))


@pytest.mark.parametrize("maps", [True, False])
def test_stacking_samples_is_what_unsqueezing_undoes(maps):
    one, two = pair(maps=maps), pair(maps=maps)
    batch = Pair.stack([one, two])
    assert batch.check().a.shape == (2, 3, 6, 10)
    assert torch.equal(one.unsqueeze().a, batch.a[:1])
    assert (batch.sem_a is None) == (not maps)


def test_a_pair_moves_to_a_device_whole():
    moved = pair(2).to("meta")
    assert {x.device.type for x in moved} == {"meta"}
    assert pair(2, maps=False).to("meta").sem_a is None
