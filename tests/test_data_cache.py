import errno
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from changecap import data
from changecap.data import Example
from changecap.data import cache as pack
from changecap.data.dataset import PairDataset
from changecap.errors import DataError
from changecap.landcover import PALETTE

HEIGHT, WIDTH, PAIRS = 6, 10, 7


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Nothing is written to the real cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "changecap"


@pytest.fixture
def root(tmp_path):
    """A folder with pairs of noise and their maps."""
    root, random = tmp_path / "set", np.random.default_rng(0)
    root.mkdir()
    for i in range(PAIRS):
        for kind in "ab":
            Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(root / f"{i}-{kind}.png")
        for kind in ("sem_a", "sem_b"):
            save_map(root / f"{i}-{kind}.png", random.integers(0, 7, (HEIGHT, WIDTH), np.uint8))
    return root


def save_map(path, classes):
    image = Image.fromarray(classes)
    image.putpalette(PALETTE.tobytes())
    image.save(path)


def plain(root, size=None, maps=True, palette="strict", split="test"):
    """The set, its files not read yet."""
    examples = []
    for i in range(PAIRS):
        paths = [root / f"{i}-{kind}.png" for kind in ("a", "b", "sem_a", "sem_b")]
        examples.append(Example(f"{i}.png", *paths, ("a house is built",), True))
    return PairDataset(examples, split, size, maps, palette)


def packed(root, **settings):
    dataset = plain(root, **settings)
    dataset.pack(root)
    return dataset


def packs(root):
    return sorted((root / ".changecap").glob("*.pack"))


def leftovers(root):
    return [p.name for p in (root / ".changecap").glob("*") if p.suffix != ".pack"]


def same(one, two):
    return all((x is None and y is None) or torch.equal(x, y) for x, y in zip(one, two, strict=True))


def rewrite(path):
    """Another picture under this name, of the same size in bytes for all we know."""
    before = path.stat()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("maps", [True, False])
def test_a_packed_set_gives_what_the_files_give(root, size, maps):
    ours, theirs = packed(root, size=size, maps=maps), plain(root, size, maps)
    for i in range(PAIRS):
        assert same(ours[i].check(), theirs[i])
    assert same(ours.batch([3, 0, 3, 6]).check(), theirs.batch([3, 0, 3, 6]))
    assert [x.dtype for x in ours[0] if x is not None] == [torch.uint8] * (4 if maps else 2)


def test_a_packed_set_is_iterated_to_its_end_and_not_beyond(root):
    assert len(list(packed(root))) == PAIRS


def test_what_is_done_to_a_pair_does_not_reach_the_pack(root):
    dataset = packed(root)
    dataset[1].a.zero_()
    dataset.batch([1]).b.zero_()
    assert same(dataset[1], plain(root)[1])


def test_a_second_set_reads_the_pack_and_no_picture(root, monkeypatch):
    packed(root)
    monkeypatch.setattr("changecap.data.dataset.read_rgb", None)
    before = packs(root)[0].stat()
    dataset = packed(root)
    assert dataset[2].a.shape == (3, HEIGHT, WIDTH)
    assert packs(root)[0].stat() == before


def test_preloading_a_packed_set_does_nothing(root, capsys):
    dataset = packed(root)
    dataset.preload(progress=True)
    assert dataset._all is None
    assert capsys.readouterr().err == ""


def test_packing_shows_a_bar_only_when_asked_to(root, capsys):
    plain(root).pack(root)
    assert capsys.readouterr() == ("", "")
    plain(root, size=4).pack(root, progress=True)
    said = capsys.readouterr()
    assert "packing test" in said.err
    assert f"{PAIRS}/{PAIRS}" in said.err


@pytest.mark.parametrize("kind", ["a", "sem_b"])
def test_a_file_that_changed_makes_a_new_pack_and_the_old_one_goes(root, kind):
    old = packed(root)
    before, names = old[4], packs(root)
    rewrite(root / f"4-{kind}.png")
    assert same(packed(root)[4], plain(root)[4])
    assert not same(packed(root)[4], before)
    assert len(packs(root)) == 1
    assert packs(root) != names
    assert same(old[4], before)  # who reads the old one goes on to


def test_maps_do_not_matter_to_a_pack_without_them(root):
    packed(root, maps=False)
    before = packs(root)
    rewrite(root / "4-sem_a.png")
    packed(root, maps=False)
    assert packs(root) == before


def test_packs_of_other_settings_lie_side_by_side(root):
    for settings in ({}, {"size": 4}, {"maps": False}, {"palette": "nearest"}, {"split": "val"}):
        packed(root, **settings)
    assert len(packs(root)) == 5
    assert sum(p.name.startswith("test-4-") for p in packs(root)) == 1
    rewrite(root / "0-a.png")
    packed(root, size=4)
    assert len(packs(root)) == 5


def test_a_folder_that_is_moved_keeps_its_packs(root, monkeypatch):
    packed(root)
    moved = root.rename(root.with_name("elsewhere"))
    monkeypatch.setattr(pack, "_write", None)
    assert packed(moved)[0].a.shape == (3, HEIGHT, WIDTH)


def test_files_in_another_order_are_another_pack(root):
    first, second = packed(root), plain(root)
    second.examples.reverse()
    second.pack(root)
    assert same(second[0], first[PAIRS - 1])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: b[:-1], r"\.pack is cut short: \d+ of \d+ bytes; it is written anew"),
        (lambda b: b + b"x", "is cut short"),
        (lambda b: b[:100], "is no pack of version 2, or its header is damaged"),
        (lambda b: b"", "is no pack of version 2, or its header is damaged"),
        (lambda b: b"\0" * len(b), "is no pack of version 2, or its header is damaged"),
        (lambda b: b.replace(b"pack 2", b"pack 1"), "is no pack of version 2"),
        (lambda b: b.replace(b'"snapped": 0', b'"snapped": 9'), "is no pack of version 2, or its header is damaged"),
    ],
)
def test_a_damaged_pack_is_written_anew_with_a_warning(root, caplog, spoil, said):
    packed(root)
    path = packs(root)[0]
    path.write_bytes(spoil(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        dataset = packed(root)
    assert same(dataset.batch(range(PAIRS)), plain(root).batch(range(PAIRS)))
    assert len(caplog.records) == 1
    caplog.clear()
    packed(root)
    assert caplog.records == []
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=said.split(";")[0]):
        pack.Pack(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_writer_that_is_interrupted_leaves_nothing(root, monkeypatch, error):
    def broken(self, workers, progress, doing):
        yield self[0]
        raise error

    monkeypatch.setattr(PairDataset, "pairs", broken)
    with pytest.raises(error):
        packed(root)
    assert (packs(root), leftovers(root)) == ([], [])


def test_a_killed_writer_leaves_nothing_under_the_final_name_and_is_tidied_up_after(root):
    code = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import test_data_cache as t\n"
        "t.pack.os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.packed(Path(sys.argv[2]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, Path(__file__).parent, root], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert packs(root) == []
    (part,) = leftovers(root)
    packed(root)
    assert leftovers(root) == [part]  # it may still have a writer
    os.utime(root / ".changecap" / part, (time.time() - 4000,) * 2)
    packed(root, size=4)
    assert leftovers(root) == []


@pytest.mark.parametrize("late", [True, False])
def test_a_full_disk_is_said_with_a_way_out_and_leaves_nothing(root, monkeypatch, late):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    if late:
        monkeypatch.setattr(pack.os, "fsync", full)
        said = "No space left on device"
    else:
        usage = shutil.disk_usage(root)._replace(free=4500)
        monkeypatch.setattr(pack.shutil, "disk_usage", lambda folder: usage)
        said = "it takes .* GB, and 4.5e-06 GB are free"
    with pytest.raises(DataError, match=rf"pack of split test cannot be written to .*{said}.*data\.pack=false"):
        packed(root)
    assert (packs(root), leftovers(root)) == ([], [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_fills_while_rows_are_written_is_said(root, monkeypatch):
    class Temporary:
        def __init__(self, dir, prefix, delete):
            self.name = str(dir / f"{prefix}x")
            Path(self.name).touch()
            self.file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(pack, "NamedTemporaryFile", Temporary)
    with pytest.raises(DataError, match="No space left on device"):
        packed(root)
    assert (packs(root), leftovers(root)) == ([], [])


def test_a_read_only_root_keeps_its_packs_in_the_cache(root, cache, monkeypatch):
    """Root may write anywhere, so the refusal is played; the true one is the next test."""
    real = pack.NamedTemporaryFile

    def refuse(dir, **options):
        if root in dir.parents:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(dir=dir, **options)

    monkeypatch.setattr(pack, "NamedTemporaryFile", refuse)
    assert same(packed(root)[3], plain(root)[3])
    (kept,) = cache.glob("set-*/test-own-*.pack")
    monkeypatch.setattr(pack, "NamedTemporaryFile", None)
    assert packed(root)._pack.path == kept


def test_a_root_without_leave_to_write_keeps_its_packs_in_the_cache(root, cache):
    root.chmod(0o555)
    try:
        if os.access(root, os.W_OK):
            pytest.skip("this user may write anywhere")
        assert packed(root)._pack.path.is_relative_to(cache)
    finally:
        root.chmod(0o755)


def test_nowhere_to_write_is_an_error_with_both_places(root, monkeypatch):
    def refuse(**options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pack, "NamedTemporaryFile", refuse)
    with pytest.raises(DataError, match=r"neither to .*/set/\.changecap nor .*/cache/changecap/set-.*XDG_CACHE_HOME"):
        packed(root)


def _first_row(root):
    dataset = packed(root)
    return dataset[0].a.sum().item(), dataset.batch([6]).sem_b.sum().item()


def test_two_processes_at_once_make_one_whole_pack(root):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, two = pool.map(_first_row, [root, root])
    assert one == two == _first_row(root)
    assert (len(packs(root)), leftovers(root)) == (1, [])


def test_a_packed_set_that_is_sent_to_a_process_takes_no_pixels_along(root):
    dataset = packed(root)
    sent = pickle.dumps(dataset)
    assert len(sent) < 10_000
    assert same(pickle.loads(sent)[5], dataset[5])


def test_files_that_change_meanwhile_are_not_packed(root, monkeypatch):
    real = PairDataset.pairs

    def pairs(self, *args):
        yield from real(self, *args)
        rewrite(root / "0-a.png")

    monkeypatch.setattr(PairDataset, "pairs", pairs)
    with pytest.raises(DataError, match="changed while they were packed"):
        packed(root)
    assert (packs(root), leftovers(root)) == ([], [])


def test_a_missing_file_is_named_even_if_a_pack_is_there(root):
    packed(root)
    (root / "3-b.png").unlink()
    with pytest.raises(DataError, match=r"no file at .*3-b\.png"):
        packed(root)


def test_a_broken_file_ends_packing_with_its_name(root):
    (root / "3-b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"3-b\.png cannot be read"):
        packed(root)
    assert (packs(root), leftovers(root)) == ([], [])


def test_pairs_of_several_sizes_cannot_be_packed_without_a_size(root):
    for kind in "ab":
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / f"5-{kind}.png")
    with pytest.raises(DataError, match=r"5\.png has another size than the first pair; set data\.size"):
        packed(root, maps=False)
    assert packed(root, maps=False, size=4)[5].a.shape == (3, 4, 4)


def test_a_set_without_maps_is_told_so(root):
    dataset = plain(root)
    dataset.examples = [Example(e.id, e.a, e.b, None, None, e.captions, True) for e in dataset.examples]
    with pytest.raises(DataError, match="has no maps; use inputs=rgb"):
        dataset.pack(root)


def test_pixels_that_were_snapped_are_said_each_time_the_pack_is_opened(root, caplog):
    rgb = np.array(Image.open(root / "2-sem_a.png").convert("RGB"))
    rgb[0, :3] = (9, 8, 7)
    Image.fromarray(rgb).save(root / "2-sem_a.png")
    packed(root, palette="nearest")
    caplog.clear()
    packed(root, palette="nearest")
    assert "3 pixels off the palette were snapped" in caplog.text


def test_an_empty_set_is_not_packed(root):
    dataset = PairDataset([], "test")
    dataset.pack(root)
    assert not (root / ".changecap").exists()


def test_a_pack_is_readable_by_all_and_named_after_split_and_size(root):
    packed(root, size=4, split="a/b")
    (path,) = packs(root)
    assert path.name.startswith("a_b-4-")
    assert path.stat().st_mode & 0o444 == 0o444
    assert path.stat().st_size == pack.PAGE + PAIRS * 8 * 4 * 4


def test_loading_by_name_takes_a_pack_when_asked_to(tmp_path, monkeypatch):
    from changecap.data.synthetic import write

    folder = write(tmp_path / "synth", pairs=6, size=32, val=2, test=2, workers=1, progress=False)
    theirs = data.load("second_cc", folder, "train", size=16)
    assert packs(folder) == []
    ours = data.load("second_cc", folder, "train", size=16, pack=True)
    assert len(packs(folder)) == 1
    assert same(ours.batch([0, 1]), theirs.batch([0, 1]))


SIDES = st.integers(1, 12)


@hypothesis.settings(max_examples=10, deadline=None)
@given(SIDES, SIDES, st.none() | SIDES, st.booleans(), st.integers(0, 99))
def test_a_pack_of_any_size_gives_what_the_files_give(height, width, size, maps, seed):
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for i in range(PAIRS):
            for kind in "ab":
                Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{i}-{kind}.png")
            for kind in ("sem_a", "sem_b"):
                save_map(folder / f"{i}-{kind}.png", random.integers(0, 7, (height, width), np.uint8))
        ours, theirs = packed(folder, size=size, maps=maps), plain(folder, size, maps)
        rows = random.permutation(PAIRS).tolist()
        assert same(ours.batch(rows), theirs.batch(rows))
