import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from changecap.errors import DataError
from changecap.landcover import CLASSES, PALETTE, nearest, off_palette, to_classes, to_rgb

COLOURS = {
    "unlabelled": (255, 255, 255),
    "water": (0, 0, 255),
    "ground": (128, 128, 128),
    "low vegetation": (0, 128, 0),
    "tree": (0, 255, 0),
    "building": (128, 0, 0),
    "playground": (255, 0, 0),
}


@pytest.mark.parametrize(("name", "colour"), COLOURS.items())
def test_each_class_has_the_colour_that_second_gives_it(name, colour):
    assert tuple(PALETTE[CLASSES.index(name)]) == colour


def test_black_is_unlabelled_as_white_is():
    rgb = np.array([[(0, 0, 0), (255, 255, 255), (0, 0, 255)]], np.uint8)
    assert to_classes(rgb).tolist() == [[0, 0, 1]]


def test_classes_survive_the_way_to_colours_and_back():
    classes = np.random.default_rng(0).integers(0, 7, (5, 9), np.uint8)
    again = to_classes(to_rgb(classes))
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, classes)


def test_a_colour_off_the_palette_is_named_with_its_file_and_pixel_count():
    rgb = to_rgb(np.zeros((4, 4), np.uint8))
    rgb[0, :3], rgb[1, 0] = (9, 2, 3), (1, 9, 9)
    with pytest.raises(DataError) as caught:
        to_classes(rgb, source="sem/A/7.png")
    message = str(caught.value)
    assert "sem/A/7.png: 3 pixels of colour (9, 2, 3)" in message
    assert "2 such colours, 4 pixels in all" in message
    assert "data.palette=nearest" in message


@pytest.mark.parametrize("colour", [(0, 0, 254), (1, 0, 255), (0, 1, 255), (255, 255, 254), (254, 0, 0), (0, 0, 1)])
def test_a_colour_one_step_beside_the_palette_is_off_it(colour):
    rgb = np.array([[colour]], np.uint8)
    assert off_palette(rgb) == 1
    with pytest.raises(DataError, match="1 pixels of colour"):
        to_classes(rgb)


def test_nearest_snaps_strange_colours_and_keeps_the_others():
    rgb = np.array([[(0, 0, 250), (250, 10, 5), (10, 5, 5)], [(0, 128, 0), (128, 128, 128), (0, 0, 0)]], np.uint8)
    assert to_classes(rgb, "nearest").tolist() == [[1, 6, 0], [3, 2, 0]]
    assert off_palette(rgb) == 3


def test_nearest_agrees_with_the_distances_written_out():
    colours = np.random.default_rng(1).integers(0, 256, (200, 3), np.uint8)
    known = [*COLOURS.values(), (0, 0, 0)]
    expected = [min(range(8), key=lambda k: sum((int(c) - x) ** 2 for c, x in zip(colour, known[k], strict=True))) % 7
                for colour in colours]  # fmt: skip
    assert nearest(colours).tolist() == expected


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, len(CLASSES) - 1)))
def test_any_map_survives_the_way_to_colours_and_back(classes):
    for mode in ("strict", "nearest"):
        np.testing.assert_array_equal(to_classes(to_rgb(classes), mode), classes)
    assert off_palette(to_rgb(classes)) == 0
