import io
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from changecap.checkpoints import unpickle
from changecap.checkpoints.unpickle import Named, Shell, open_torch
from changecap.errors import CheckpointError

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
ROOT = Path(__file__).parents[1]


class Calls:
    """Pickles as the call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Stored:
    """Pickles as a storage of ``count`` float numbers under ``key``, whatever there is."""

    def __init__(self, count, key="0"):
        self.described = ("storage", torch.FloatStorage, key, "cpu", count)


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.described if isinstance(thing, Stored) else None


def pickled(content, protocol=2):
    file = io.BytesIO()
    Pickler(file, protocol).dump(content)
    return file.getvalue()


def zip_of(path, content, members=None, compression=zipfile.ZIP_STORED):
    """A zip file as torch's, of ``content`` or its pickle and more members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content if isinstance(content, bytes) else pickled(content))
        for name, data in (members or {}).items():
            archive.writestr(name, data)
    return path


def stream_of(path, content, keys=("0",), count=4, data=bytes(16)):
    """A file of the older format, its storages under ``keys`` all of ``count`` numbers and the bytes ``data``."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickled(x) for x in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [content if isinstance(content, bytes) else pickled(content), pickled(list(keys))]
    path.write_bytes(b"".join(parts) + b"".join(count.to_bytes(8, "little") + data for _ in keys))
    return path


def tensor(storage, shape, stride, offset=0):
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, shape, stride, False, OrderedDict())


def content_of(path):
    with open_torch(path) as file:
        return file.content


def read(path, key):
    with open_torch(path) as file:
        return file.read(file.content[key])


@FORMATS
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool]
)
def test_tensors_come_back_as_they_were(dtype, zipped, tmp_path):
    base = torch.arange(24).reshape(4, 6).to(dtype)
    kept = {"whole": base, "turned": base.T, "part": base[1:3, ::2], "one": base[2, 3], "none": base[:0]}
    torch.save(kept, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    for key, value in kept.items():
        found = read(tmp_path / "x.pt", key)
        assert found.dtype == dtype
        assert found.is_contiguous()
        assert torch.equal(found, value)


@FORMATS
def test_modules_are_shells_and_keep_their_attributes(zipped, tmp_path):
    net = nn.Sequential(nn.Linear(2, 3), nn.MultiheadAttention(4, 2))
    plain = {"n": 3, "x": 0.5, "none": None, "yes": True, "s": "text", "b": b"\x00\xff", "list": [1, (2, 3)]}
    saved = {"net": net, "class": nn.Linear, "bleu": np.float64(0.5), "size": torch.Size([2, 3]), **plain}
    torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    content = content_of(tmp_path / "x.pt")
    assert isinstance(content["net"], Shell)
    assert content["net"].name == "torch.nn.modules.container.Sequential"
    attention = content["net"].attributes["_modules"]["1"]
    assert attention.attributes["num_heads"] == 2
    assert content["class"] == Named("torch.nn.modules.linear.Linear")
    assert content["size"] == (2, 3)
    assert {key: content[key] for key in plain if key != "b"} == {k: v for k, v in plain.items() if k != "b"}


@FORMATS
def test_an_optimiser_is_read_with_its_parameters(zipped, tmp_path):
    net = nn.Linear(2, 3)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    torch.save({"o": optimiser, "d": optimiser.state_dict()}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    content = content_of(tmp_path / "x.pt")
    assert content["o"].name == "torch.optim.adam.Adam"
    assert content["d"]["param_groups"][0]["lr"] == 1e-3
    weight = content["o"].attributes["param_groups"][0]["params"][0]
    assert set(content["o"].attributes["state"][weight]) == {"step", "exp_avg", "exp_avg_sq"}


EVIL = {
    "os.system": (os.system, ("touch {}",), "system"),
    "eval": (eval, ("open({!r}, 'w')",), r"builtins\.eval"),
    "exec": (exec, ("open({!r}, 'w')",), r"builtins\.exec"),
    "getattr": (getattr, (os, "system"), r"builtins\.getattr"),
    "open": (open, ("{}", "w"), r"open"),
    "torch.load": (torch.load, ("{}",), r"torch\.serialization\.load"),
}


def nested(where, call):
    """The ``call`` at the top, or in the place of a tensor, of its storage or of a part of a module."""
    if where == "top":
        return call
    if where == "tensor":
        return {"decoder_dict": OrderedDict(weight=call)}
    if where == "storage":
        return {"weight": tensor(call, (2,), (1,))}
    if where == "parameter":
        return {"weight": Calls(torch._utils._rebuild_parameter, call, True, OrderedDict())}
    net = nn.Linear(2, 2)
    net._parameters["weight"] = call
    return {"decoder": net}


@FORMATS
@pytest.mark.parametrize("where", ["top", "tensor", "storage", "parameter", "module"])
@pytest.mark.parametrize("evil", EVIL)
def test_nothing_is_called_and_what_was_to_be_is_named(evil, where, zipped, tmp_path):
    canary = tmp_path / "canary"
    function, arguments, name = EVIL[evil]
    arguments = [a.format(str(canary)) if isinstance(a, str) else "os" for a in arguments]
    content = nested(where, Calls(function, *arguments))
    path = (zip_of if zipped else stream_of)(tmp_path / "x.pt", content)
    with pytest.raises(CheckpointError, match=rf"refused to call \S*{name}\b"):
        content_of(path)
    assert not canary.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_no_protocol_calls_anything(protocol, tmp_path):
    canary = tmp_path / "canary"
    content = pickled({"x": Calls(os.system, f"touch {canary}")}, protocol)
    with pytest.raises(CheckpointError, match=r"refused to call \w+\.system"):
        content_of(zip_of(tmp_path / "x.pt", content))
    assert not canary.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch {}'\ntR.",
        b"(S'touch {}'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch {}'\no.",
        b"cos\nsystem\n(S'touch {}'\nt\x81.",
        b"cbuiltins\nobject\n)\x81}(S'__class__'\ncos\nsystem\nS'__reduce__'\ncbuiltins\neval\nub.",
        b"\x80\x02cos\nsystem\n}S'__code__'\nNsb.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x08touch {}\x85R.",
        b"\x82\x01.",
    ],
)
def test_a_handwritten_pickle_runs_nothing(program, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    canary = tmp_path / "canary"
    path = zip_of(tmp_path / "x.pt", program.replace(b"{}", str(canary).encode()))
    try:
        content = content_of(path)
    except CheckpointError:
        content = None
    assert content is None or isinstance(content, Shell)
    assert not ran
    assert not canary.exists()
    assert set(vars(Named)) == set(vars(unpickle.Named))


@pytest.mark.parametrize("keep", [0, 1, 3, 30, 200, 0.5, 0.9, 0.999])
@FORMATS
def test_a_file_cut_short_is_told_as_such(zipped, keep, tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(500)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(CheckpointError, match=r"x\.pt(:| is) (cut short|not a|refused storage .* of 1,1)"):
        read(path, "w")


def test_a_changed_weight_in_a_zip_is_found(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"w": torch.full((500,), 3.0)}, path)
    content = path.read_bytes()
    number = torch.tensor(3.0).numpy().tobytes()
    path.write_bytes(content.replace(number * 500, number * 499 + b"\1\1\1\1"))
    with pytest.raises(CheckpointError, match="is cut short or damaged: Bad CRC-32"):
        read(path, "w")


HUGE = 10 * 2**30 // 4


@pytest.mark.parametrize(
    ("content", "members", "message"),
    [
        ({"w": tensor(Stored(HUGE), (HUGE,), (1,))}, {"archive/data/0": bytes(16)}, "claims 10,737,418,240 bytes"),
        (
            {"w": tensor(Stored(4), (2, 4), (2, 1))},
            {"archive/data/0": bytes(16)},
            "outside its storage '0' of 4",
        ),
        ({"w": tensor(Stored(4), (2,), (1,), 3)}, {"archive/data/0": bytes(16)}, "lies outside"),
        ({"w": tensor(Stored(4), (2,), (1,), -1)}, {"archive/data/0": bytes(16)}, "offset -1"),
        ({"w": tensor(Stored(4), (2,), (-1,), 3)}, {"archive/data/0": bytes(16)}, r"stride \(-1,\)"),
        ({"w": tensor(Stored(4), (HUGE,), (0,))}, {"archive/data/0": bytes(16)}, "lies outside"),
        ({"w": tensor(Stored(4), (2**40, 2**40, 2**40), (0, 0, 0))}, {"archive/data/0": bytes(16)}, "lies outside"),
        ({"w": tensor(Stored(4), (2,), (1, 1))}, {"archive/data/0": bytes(16)}, "refused a tensor of shape"),
        ({"w": tensor(Stored(4), (2,), (1,))}, {}, "which claims 16 bytes and is not in the file"),
        ({"w": tensor(Stored(4, "../0"), (2,), (1,))}, {"archive/data/0": bytes(16)}, "is not in the file"),
        ({"w": tensor(Stored(-4), (2,), (1,))}, {"archive/data/0": bytes(16)}, "length -4"),
        ({}, {"../../evil.so": b"x"}, r"refused the member '\.\./\.\./evil\.so', whose path leads out"),
        ({}, {"archive/../../evil.so": b"x"}, "whose path leads out"),
        ({}, {"/etc/cron.d/evil": b"x"}, "whose path leads out"),
        ({}, {"..\\evil.dll": b"x"}, "whose path leads out"),
        ({}, {"other/data.pkl": b"x"}, "expected one data.pkl"),
        ({}, {"archive/constants.pkl": b"x"}, "no TorchScript"),
        ({}, {"archive/byteorder": b"big"}, "not in little-endian order"),
    ],
)
def test_a_zip_that_lies_is_refused(content, members, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        content_of(zip_of(tmp_path / "x.pt", content, members))


def test_compressed_members_are_refused(tmp_path):
    members = {"archive/data/0": bytes(1 << 20)}
    content = {"w": tensor(Stored(1 << 18), (1 << 18,), (1,))}
    with pytest.raises(CheckpointError, match=r"refused the member 'archive/data\.pkl': torch stores members"):
        content_of(zip_of(tmp_path / "x.pt", content, members, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"w": tensor(Stored(HUGE), (HUGE,), (1,))}, {}, "claims 10,737,418,240 bytes"),
        ({"w": tensor(Stored(4), (4,), (1,))}, {"count": HUGE}, "holds 2,684,354,560 numbers"),
        ({"w": tensor(Stored(4), (2, 4), (2, 1))}, {}, "lies outside its storage"),
        ({"w": tensor(Stored(4), (4,), (1,))}, {"keys": []}, "'0', which is not in the file"),
        ({"w": tensor(Stored(4), (4,), (1,))}, {"keys": ["0", "0"]}, "that nothing in the content names"),
        ({"w": tensor(Stored(4), (4,), (1,))}, {"data": bytes(8)}, "are named"),
    ],
)
def test_a_stream_that_lies_is_refused(content, options, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        content_of(stream_of(tmp_path / "x.pt", content, **options))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02" + b"]" * 70_000, "refused a pickle of more than"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.", "refused a pickle of more than|not a readable pickle"),
        (b"\x80\x02}((K\x01K\x02tK\x03u.", "whose keys are tuple"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", None),
        (b"hello", "not a readable pickle"),
        (b"\x80\x02]", "not a readable pickle"),
        (b"\x80\x020.", "not a readable pickle"),
        (b"\x80\x02R.", "not a readable pickle"),
    ],
)
def test_a_pickle_that_is_none_or_would_fill_the_memory_is_refused(program, message, tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_PICKLE", 1 << 16)
    path = zip_of(tmp_path / "x.pt", program)
    if message is None:  # a place in the memo is not memory
        assert content_of(path) == []
        return
    with pytest.raises(CheckpointError, match=message):
        content_of(path)


@FORMATS
def test_memory_stays_bounded_whatever_a_file_claims(zipped, tmp_path):
    content = {"w": tensor(Stored(HUGE), (HUGE,), (1,))}
    path = (
        zip_of(tmp_path / "x", content, {"archive/data/0": bytes(16)}) if zipped else stream_of(tmp_path / "x", content)
    )
    program = """
        import resource, sys
        from pathlib import Path
        from changecap.errors import CheckpointError
        from changecap.checkpoints.unpickle import open_torch
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
        try:
            with open_torch(Path(sys.argv[1])) as file:
                file.read(file.content["w"])
        except CheckpointError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "refused storage '0', which claims 10,737,418,240 bytes" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Bytes of genuine files of both formats."""
    folder = tmp_path_factory.mktemp("genuine")
    found = []
    for zipped in (True, False):
        torch.save({"w": nn.Linear(2, 2), "n": 1}, folder / "x.pt", _use_new_zipfile_serialization=zipped)
        found.append((folder / "x.pt").read_bytes())
    return folder, found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_never_anything_else(genuine, data):
    folder, files = genuine
    content = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "damaged.pt"
    path.write_bytes(content)
    with suppress(CheckpointError), open_torch(path) as file:
        for value in file.content.values() if isinstance(file.content, dict) else ():
            parameters = value.attributes.get("_parameters") if isinstance(value, Shell) else None
            for stored in parameters.values() if isinstance(parameters, dict) else ():
                if isinstance(stored, unpickle.StoredTensor):
                    file.read(stored)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pt cannot be read: No such file"):
        content_of(tmp_path / "gone.pt")
