import io
import logging
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from changecap.data import Example, doctor
from changecap.data.dataset import PairDataset, read_image, read_map
from changecap.errors import DataError
from changecap.io.sources import MAX_PIXELS
from changecap.landcover import PALETTE

HEIGHT, WIDTH = 6, 10


@pytest.fixture
def examples(tmp_path):
    """Five pairs of noise with maps, indexed PNGs as the simulator writes them."""
    random = np.random.default_rng(0)
    found = []
    for i in range(5):
        paths = [tmp_path / f"{i}-{kind}.png" for kind in ("a", "b", "sem_a", "sem_b")]
        for path in paths[:2]:
            Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
        for path in paths[2:]:
            save_indexed(path, random.integers(0, 7, (HEIGHT, WIDTH), np.uint8))
        found.append(Example(f"{i}.png", *paths, ("a house is built",), True))
    return found


def save_indexed(path, classes):
    image = Image.fromarray(classes)
    image.putpalette(PALETTE.tobytes())
    image.save(path)


def same(one, two):
    return all((x is None and y is None) or torch.equal(x, y) for x, y in zip(one, two, strict=True))


def png_header(width, height):
    """The first bytes of a PNG that claims to be of this size; PIL reads no further to know it."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + ihdr + struct.pack(">I", 100) + b"IDAT"


def test_a_pair_comes_as_the_bytes_of_its_files(examples):
    pair = PairDataset(examples, "test")[1].check()
    assert [x.dtype for x in pair] == [torch.uint8] * 4
    image = np.asarray(Image.open(examples[1].b))
    np.testing.assert_array_equal(pair.b.permute(1, 2, 0).numpy(), image)
    np.testing.assert_array_equal(pair.sem_a.numpy(), np.asarray(Image.open(examples[1].sem_a)))


def test_without_maps_none_are_opened(examples):
    examples[0].sem_a.unlink()
    pair = PairDataset(examples, "test", maps=False)[0]
    assert (pair.sem_a, pair.sem_b) == (None, None)


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("maps", [True, False])
def test_a_preloaded_set_gives_what_it_gave_before(examples, size, maps):
    lazy, ready = (PairDataset(examples, "test", size, maps) for _ in "ab")
    ready.preload()
    for example in examples:
        example.a.unlink()
    with pytest.raises(DataError, match="no image"):
        lazy[0]
    for example in examples:
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(example.a)
    lazy[0]
    side = (HEIGHT, WIDTH) if size is None else (size, size)
    assert ready[2].a.shape == (3, *side)
    assert same(ready.batch([3, 0, 3])._replace(a=ready[0].a), lazy.batch([3, 0, 3])._replace(a=ready[0].a))
    assert same(ready.batch([4]), ready[4].unsqueeze())


def test_a_batch_has_its_rows_in_the_order_asked_for(examples):
    dataset = PairDataset(examples, "test")
    batch = dataset.batch([2, 0, 2]).check()
    assert batch.a.shape == (3, 3, HEIGHT, WIDTH)
    for row, index in enumerate((2, 0, 2)):
        assert same([x[row] for x in batch], dataset[index])


def test_preloading_does_not_depend_on_the_number_of_workers(examples):
    one, many = PairDataset(examples, "test"), PairDataset(examples, "test")
    one.preload(workers=1)
    many.preload(workers=4)
    everything = range(len(examples))
    assert same(one.batch(everything), many.batch(everything))


def test_the_bar_of_preloading_is_shown_only_when_asked_for(examples, capsys):
    PairDataset(examples, "val").preload()
    assert capsys.readouterr() == ("", "")
    PairDataset(examples, "val").preload(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading val" in err
    assert "5/5" in err


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_of_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / "x.png"
    image = Image.new("RGB", (5, 4), (90, 90, 90))
    (image.quantize(2) if mode == "P" else image.convert(mode)).save(path)
    read = read_image(path)
    assert (read.shape, read.dtype) == ((3, 4, 5), torch.uint8)
    assert (read == 90).all()


def test_an_indexed_map_is_read_by_its_colours_and_not_by_its_indices(tmp_path):
    path = tmp_path / "map.png"
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette(bytes((128, 0, 0, 0, 0, 255)))  # building first, then water
    image.save(path)
    assert read_map(path).tolist() == [[5, 1], [1, 5]]


def test_transparency_does_not_change_what_a_map_says(tmp_path):
    path = tmp_path / "map.png"
    image = Image.fromarray(np.array([[0, 1, 5]], np.uint8))
    image.putpalette(PALETTE.tobytes())
    image.save(path, transparency=bytes([0, 128, 255]))
    assert read_map(path).tolist() == [[0, 1, 5]]


def test_a_greyscale_map_of_class_indices_is_refused_with_advice(tmp_path):
    path = tmp_path / "map.png"
    Image.fromarray(np.array([[0, 5]], np.uint8)).save(path)
    with pytest.raises(DataError, match=r"map\.png is a greyscale image; .*colour image on the SECOND palette"):
        read_map(path)


def test_a_sixteen_bit_image_is_refused_and_not_cut_to_eight(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"deep\.png is an image of mode I;16; convert it to 8-bit RGB"):
        read_image(path)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_refused_and_not_cut_to_its_first_frame(tmp_path, form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x", form, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="x is an animation"):
        read_image(tmp_path / "x")


def test_a_jpeg_in_printers_colours_says_what_to_do(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="mode CMYK; convert it"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.slow
def test_three_bad_files_of_ten_thousand_are_all_named_and_the_rest_is_read(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "B").mkdir()
    whole = io.BytesIO()
    Image.new("RGB", (4, 4), "green").save(whole, "PNG")
    for i in range(5000):
        for date in "AB":
            (tmp_path / date / f"{i}.png").write_bytes(whole.getvalue())
    bad = ("A/17.png", "A/4999.png", "B/2500.png")
    for name in bad:
        (tmp_path / name).write_bytes(whole.getvalue()[:30])
    health = doctor.examine("folder", tmp_path)
    said = [f.message for f in health.findings if f.kind == "unreadable"]
    assert len(said) == 3
    assert all(any(name in message for message in said) for name in bad)


def test_a_missing_file_is_named(examples):
    examples[3].b.unlink()
    with pytest.raises(DataError, match=r"no image at .*3-b\.png"):
        PairDataset(examples, "test")[3]


def test_a_missing_map_is_named(examples):
    examples[3].sem_b.unlink()
    with pytest.raises(DataError, match=r"no land-cover map at .*3-sem_b\.png"):
        PairDataset(examples, "test")[3]


def test_an_example_without_maps_says_how_to_go_on(examples):
    bare = Example("x.png", examples[0].a, examples[0].b, None, None, ("a",), True)
    with pytest.raises(DataError, match=r"x\.png in split test has no maps; use inputs=rgb"):
        PairDataset([bare], "test")[0]


def test_a_truncated_image_is_an_error_and_not_half_grey(tmp_path):
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:6000])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(DataError, match=r"cut\.png cannot be read as an image: .*; copy or download it anew"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "page.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"page\.png cannot be read as a land-cover map"):
        read_map(path)


def test_a_folder_in_place_of_an_image_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (int(MAX_PIXELS**0.5) + 1, "is 8001 x 8001 pixels, more than 64,000,000; cut it into tiles"),
        (10_000, "could be decompression bomb"),
        (14_000, "could be decompression bomb"),
    ],
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side, message):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    with pytest.raises(DataError, match=rf"bomb\.png .*{message}"):
        read_image(path)


@pytest.mark.parametrize(("kind", "shape"), [("b", (HEIGHT, WIDTH + 1)), ("sem_a", (WIDTH, HEIGHT))])
def test_files_of_different_sizes_are_both_named_with_their_sizes(examples, kind, shape):
    path = getattr(examples[0], kind)
    if kind == "b":
        Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(path)
    else:
        save_indexed(path, np.zeros(shape, np.uint8))
    with pytest.raises(DataError) as caught:
        PairDataset(examples, "test", size=4)[0]
    message = str(caught.value)
    assert f"{examples[0].a} is {WIDTH} x {HEIGHT} pixels" in message
    assert f"{path} is {shape[1]} x {shape[0]}" in message


def test_pairs_of_several_sizes_cannot_be_preloaded_without_a_size(examples):
    odd = examples[4]
    for path in (odd.a, odd.b):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"4\.png has another size than the first pair; set data\.size"):
        PairDataset(examples, "test", maps=False).preload()
    sized = PairDataset(examples, "test", size=4, maps=False)
    sized.preload()
    assert sized[4].a.shape == (3, 4, 4)


def test_a_broken_file_ends_preloading_with_its_name(examples):
    examples[2].sem_a.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"2-sem_a\.png"):
        PairDataset(examples, "test").preload()


def test_a_strict_map_off_the_palette_is_an_error_with_file_and_count(examples):
    spoil(examples[1].sem_b, pixels=3)
    with pytest.raises(DataError, match=r"1-sem_b\.png: 3 pixels of colour \(9, 8, 7\).*data\.palette=nearest"):
        PairDataset(examples, "test")[1]


@pytest.mark.parametrize("preloaded", [True, False])
def test_snapped_pixels_are_counted_by_file_and_said_once(examples, caplog, preloaded):
    spoil(examples[1].sem_b, pixels=3)
    spoil(examples[3].sem_a, pixels=2)
    dataset = PairDataset(examples, "test", palette="nearest")
    with caplog.at_level(logging.WARNING):
        if preloaded:
            dataset.preload(workers=1)
        for i in range(5):
            dataset[i]
    assert dataset.snapped == {str(examples[1].sem_b): 3, str(examples[3].sem_a): 2}
    assert len(caplog.records) == 1
    assert "1-sem_b.png" in caplog.text
    assert dataset[1].sem_b[0, :3].tolist() == [0, 0, 0]  # nearly black


def test_the_way_with_strange_colours_is_one_of_two():
    with pytest.raises(DataError, match=r"data\.palette must be strict or nearest, got 'loose'"):
        PairDataset([], "test", palette="loose")


def spoil(path, pixels):
    """Give the first pixels of a map a colour that is on no palette."""
    rgb = np.array(Image.open(path).convert("RGB"))
    rgb[0, :pixels] = (9, 8, 7)
    Image.fromarray(rgb).save(path)
