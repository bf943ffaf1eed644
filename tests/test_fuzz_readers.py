"""Mutated files before the readers: only errors that name the file, in bounded memory, without a hang."""

import io
import json
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import rasterio
import test_data_formats_chg2cap_tokens
import test_data_formats_hdf5
from PIL import Image
from rasterio.transform import from_origin

from changecap.data import Example, reader
from changecap.data.cache import PAGE, Pack
from changecap.data.dataset import PairDataset, read_image, read_map
from changecap.data.file_pairs import jobs_of_list
from changecap.errors import DataError
from changecap.io import geotiff as geo
from changecap.landcover import to_rgb
from changecap.language.vocabulary import Vocabulary

FILES = 1000  # of each format
MEMORY = 2 << 30  # bytes of address space beyond what the imports took
SECONDS = 5  # for one file


def picture(form, mode="RGB", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()


def land_cover():
    file = io.BytesIO()
    Image.fromarray(to_rgb(np.arange(49, dtype=np.uint8).reshape(7, 7) % 7)).save(file, "PNG")
    return file.getvalue()


def geotiff(folder, **options):
    profile = {"driver": "GTiff", "count": 3, "height": 24, "width": 24, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(folder / "whole.tif", "w", **profile, transform=from_origin(0, 0, 10, 10), **options) as file:
        file.write(np.random.default_rng(0).integers(0, 4000, (3, 24, 24)).astype(np.uint16))
    return (folder / "whole.tif").read_bytes()


def captions():
    entry = {"filename": "x.png", "split": "test", "sentences": [{"raw": "a b", "tokens": ["a", "b"]}], "changeflag": 1}
    facts = [{"from": "tree", "to": "building", "count": 2, "place": "top"}]
    return json.dumps({"images": [entry | {"facts": facts}, entry | {"filename": "é.png"}]}).encode()


def pair_of_geotiffs(path):
    return geo.read_pair(path, path.with_name("whole.tif"))


def karpathy(name, file):
    def read(path):
        path.replace(path.with_name(file))
        return reader(name).read(path.parent, "test", None, lambda kind, message: None)

    return read


def hdf5(part):
    """What is made of the files of an HDF5 data set and read with ``part`` of them mutated."""

    def make(folder):
        test_data_formats_hdf5.write(folder)
        return next(folder.glob(part)).read_bytes()

    def read(path):
        path.replace(next(path.parent.glob(part)))
        for _, picture in (file for example in reader("hdf5").read(path.parent, "test") for file in example.files()):
            read_image(picture)

    return make, "", read


def chg2cap(part):
    """The same of the files of Chg2Cap."""

    def make(folder):
        test_data_formats_chg2cap_tokens.write(
            folder, "test_1.png", "test_2.png", lines=["test_1.png-0", "test_2.png-2"]
        )
        return (folder / part).read_bytes()

    def read(path):
        path.replace(path.parent / part)
        reader("chg2cap_tokens").read(path.parent, "test")

    return make, "", read


def packed(folder):
    """A pack of three pairs, of which most bytes are not padding."""
    for name in "ab":
        (folder / f"{name}.png").write_bytes(picture("PNG"))
    example = Example("x", folder / "a.png", folder / "b.png", None, None, ("a house",), True)
    dataset = PairDataset([example] * 3, "test", maps=False)
    dataset.pack(folder)
    return next((folder / ".changecap").iterdir()).read_bytes()


def pairs_of_pack(path):
    pack = Pack(path)
    for i in range(len(pack)):
        pack[i].check()


def header_of_pack(folder):
    whole = packed(folder)
    (folder / "rows").write_bytes(whole[PAGE:])
    return whole[:PAGE].rstrip()


def pairs_behind_header(path):
    path.write_bytes(path.read_bytes().ljust(PAGE) + path.with_name("rows").read_bytes())
    pairs_of_pack(path)


FORMATS = {
    "PNG": (lambda folder: picture("PNG"), ".png", read_image),
    "palette PNG": (lambda folder: picture("PNG", "P"), ".png", read_image),
    "JPEG": (lambda folder: picture("JPEG"), ".jpg", read_image),
    "BMP": (lambda folder: picture("BMP"), ".bmp", read_image),
    "WEBP": (lambda folder: picture("WEBP", lossless=True), ".webp", read_image),
    "GIF": (lambda folder: picture("GIF"), ".gif", read_image),
    "map": (lambda folder: land_cover(), ".png", read_map),
    "GeoTIFF": (geotiff, ".tif", read_image),
    "GeoTIFF, deflated": (lambda folder: geotiff(folder, compress="deflate"), ".tif", pair_of_geotiffs),
    "SECOND-CC": (lambda folder: captions(), ".json", karpathy("second_cc", "SECOND-CC-AUG.json")),
    "LEVIR-CC": (lambda folder: captions(), ".json", karpathy("levir_cc", "LevirCCcaptions.json")),
    "HDF5": hdf5("TEST_IMAGES_*"),
    "HDF5, captions": hdf5("TEST_CAPTIONS_*"),
    "HDF5, lengths": hdf5("TEST_CAPLENS_*"),
    "HDF5, words": hdf5("WORDMAP_*"),
    "Chg2Cap, tokens": chg2cap("tokens/test_1.txt"),
    "Chg2Cap, list": chg2cap("test.txt"),
    "vocabulary": (lambda folder: b'["<pad>", "<unk>", "<start>", "<end>", "a", "\xc3\xa9"]', ".json", Vocabulary.load),
    "pack": (packed, ".pack", pairs_of_pack),
    "pack, header": (header_of_pack, ".pack", pairs_behind_header),
    "list": (lambda folder: b'id,a,b\n1,x.png,y.png\n2,"z, w.png",v.png\n', ".csv", jobs_of_list),
}


def mutated(whole, random):
    """``whole`` with bytes changed, cut out, doubled or cut off."""
    content = bytearray(whole)
    for _ in range(int(random.integers(1, 6))):
        at, length = int(random.integers(len(content) or 1)), int(random.integers(1, 9))
        way = random.integers(5)
        if way == 0:
            del content[at:]
        elif way == 1:
            del content[at : at + length]
        elif way == 2:
            content[at:at] = content[at : at + length]
        else:
            content[at : at + length] = random.integers(0, 256, length, np.uint8).tobytes()
    return bytes(content)


def read_all(folder):
    """Print for each format how many of its mutated files were refused, or what else became of one."""
    for name, (make, suffix, read) in FORMATS.items():
        make_in = folder / name
        make_in.mkdir()
        whole, first = make(make_in), make_in / f"first{suffix}"
        first.write_bytes(whole)
        read(first)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, -1))
        print(json.dumps([name, read_mutated(whole, read, make_in / f"mutated{suffix}")]), flush=True)


def read_mutated(whole, read, path):
    random, refused = np.random.default_rng(0), 0
    for i in range(FILES):
        path.write_bytes(mutated(whole, random))
        start = time.monotonic()
        try:
            read(path)
        except DataError:
            refused += 1
        except BaseException:
            return f"file {i}: {traceback.format_exc()}"
        if time.monotonic() - start > SECONDS:
            return f"file {i} took {time.monotonic() - start:.1f} s"
    return refused


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What became of each format, in a process whose memory is bounded."""
    root, tests = Path(__file__).parents[1], Path(__file__).parent.name
    code = f"import sys, pathlib; sys.path.append({tests!r}); import test_fuzz_readers as t; "
    code += "t.read_all(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path_factory.mktemp("fuzz"))]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=840)
    assert run.returncode == 0, run.stderr[-2000:]
    return dict(map(json.loads, run.stdout.splitlines()))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does it")
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_are_read_or_refused(name, refused):
    assert isinstance(refused[name], int), refused[name]
    assert refused[name] > FILES // 20  # the mutations do bite
