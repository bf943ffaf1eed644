"""Files of ``torch.save``, read without running anything that is in them.

``pickle`` is a program that names functions and has them called. Here its instructions are read by ``pickletools`` and
carried out by a machine of our own, whose only values are plain ones, tensors that are still in the file, and shells:
names with attributes in the place of classes and of what they would have made. It has no way to import or to call.

Zip files (torch 1.6 and later) and the older stream of pickles. Nothing is reserved on the word of the file: a tensor
must lie in its storage, a storage in the file.
"""

import math
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import torch
from torch import Tensor

from ..errors import CheckpointError

MAX_PICKLE = 8 << 20  # bytes of instructions; a few hundred make a tensor, and a checkpoint has some thousands
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how the older format begins
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What may stand where something would be called, and becomes a shell: metrics are numbers of numpy, torchvision's
# transformers keep how they make a norm, transforms how they interpolate, old protocols how they make an object.
_INERT = {
    "_codecs.encode",
    "copyreg._reconstructor",
    "functools.partial",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "torch.device",
    "torchvision.transforms.functional.InterpolationMode",
}
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # modules as Python 2 called them


class Refused(ValueError):
    """What a file asks for is not done."""


@dataclass(frozen=True)
class Named:
    """A class or function, by its name only."""

    name: str


@dataclass(eq=False)
class Shell:
    """What stands in the place of an object: the name of its class, and what was to become its attributes."""

    name: str
    arguments: Any = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Storage:
    """``count`` numbers in the file, not read yet."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor in the file, not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


@dataclass(frozen=True)
class TorchFile:
    """A file that is open for reading: its ``content``, and ``read``, which makes a tensor of a stored one."""

    content: Any
    read: Callable[[StoredTensor], Tensor]


@contextmanager
def open_torch(path: Path) -> Iterator[TorchFile]:
    """Open what ``torch.save`` wrote to ``path``, in either of its formats.

    Dictionaries, lists and plain values in it come as they are, tensors as :class:`StoredTensor`, classes and
    functions as :class:`Named`, objects as :class:`Shell`.

    Raises:
        CheckpointError: it is no such file, is cut short or damaged, holds tensors that lie outside of it, or would
            have something called; the message names it.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; is the path right?") from error
    with file:
        with _told(path):
            zipped = file.read(4) == b"PK\3\4"
            file.seek(0)
            opened = (_open_zip if zipped else _open_stream)(file, path.stat().st_size)

        def read(tensor: StoredTensor) -> Tensor:
            with _told(path):
                return opened.read(tensor)

        yield TorchFile(opened.content, read)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Within, whatever is wrong with the file at ``path`` is told as a :class:`CheckpointError`."""
    try:
        yield
    except Refused as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is cut short or damaged: {error}; download it anew") from error


def _open_zip(file: IO[bytes], size: int) -> TorchFile:
    archive = zipfile.ZipFile(file)
    members = {}
    for info in archive.infolist():
        name = PurePosixPath(info.orig_filename)  # as it is written: zipfile cleans some of it away
        if name.is_absolute() or ".." in name.parts or "\\" in info.orig_filename or "\0" in info.orig_filename:
            raise Refused(f"refused the member {info.orig_filename!r}, whose path leads out of the archive")
        if info.compress_type != zipfile.ZIP_STORED or not info.file_size == info.compress_size <= size:
            raise Refused(
                f"refused the member {info.filename!r}: torch stores members as they are, this one claims "
                f"{info.file_size:,} bytes in {info.compress_size:,} of a file of {size:,}"
            )
        if info.filename in members:
            raise Refused(f"refused the member {info.filename!r}: there are two of that name")
        members[info.filename] = info
    roots = [name.removesuffix("data.pkl") for name in members if PurePosixPath(name).match("*/data.pkl")]
    if len(roots) != 1 or f"{roots[0]}constants.pkl" in members:
        raise Refused("not a zip file of torch.save: expected one data.pkl in one folder, and no TorchScript")
    root = roots[0]
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise Refused("its numbers are not in little-endian order; save it anew on a usual machine")

    def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
        found, wanted = members.get(f"{root}data/{key}"), Storage(key, dtype, count)
        if found is None or found.file_size != wanted.bytes:
            held = "is not in the file" if found is None else f"holds {found.file_size:,}"
            raise Refused(f"refused storage {key!r}, which claims {wanted.bytes:,} bytes and {held}")
        return wanted

    def read(tensor: StoredTensor) -> Tensor:
        with archive.open(f"{root}data/{tensor.storage.key}") as member:
            return _read(cast(IO[bytes], member), tensor)

    with archive.open(f"{root}data.pkl") as pickle:
        return TorchFile(_Machine(storage).run(cast(IO[bytes], pickle)), read)


def _open_stream(file: IO[bytes], size: int) -> TorchFile:
    def none(key: str, dtype: torch.dtype, count: int) -> Storage:
        raise Refused("refused a storage before the content")

    try:
        begins = [_Machine(none).run(file) for _ in range(2)]
    except (Refused, EOFError):
        begins = []
    if begins != [_MAGIC, _PROTOCOL]:
        raise Refused("not a file of torch.save")
    system = _Machine(none).run(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("its numbers are not in little-endian order; save it anew on a usual machine")
    claimed: dict[str, Storage] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
        wanted = claimed.setdefault(key, Storage(key, dtype, count))
        if wanted != Storage(key, dtype, count) or wanted.bytes > size:
            raise Refused(f"refused storage {key!r}, which claims {count * dtype.itemsize:,} bytes of {size:,}")
        return wanted

    content = _Machine(storage).run(file)
    keys = _Machine(none).run(file)
    places = {}
    for key in keys if isinstance(keys, list) else [keys]:
        count = int.from_bytes(file.read(8), "little")
        if key not in claimed or key in places or count != claimed[key].count:
            raise Refused(f"refused storage {key!r}, which holds {count:,} numbers that nothing in the content names")
        places[key] = file.tell()
        file.seek(claimed[key].bytes, 1)
    if missing := claimed.keys() - places.keys():
        raise Refused(f"refused storage {min(missing)!r}, which is not in the file")
    if file.tell() > size:
        raise EOFError(f"{file.tell():,} bytes are named, {size:,} are there")

    def read(tensor: StoredTensor) -> Tensor:
        file.seek(places[tensor.storage.key])
        return _read(file, tensor)

    return TorchFile(content, read)


def _read(file: IO[bytes], tensor: StoredTensor) -> Tensor:
    """The ``tensor`` whose storage ``file`` is about to give."""
    storage = torch.empty(tensor.storage.count, dtype=tensor.storage.dtype)
    into = memoryview(cast(Any, storage.view(torch.uint8).numpy()))
    done = 0
    while done < len(into):
        chunk = file.read(min(1 << 20, len(into) - done))
        if not chunk:
            raise EOFError(f"storage {tensor.storage.key!r} ends after {done:,} of {len(into):,} bytes")
        into[done : done + len(chunk)] = chunk
        done += len(chunk)
    view = storage.as_strided(tensor.shape, tensor.stride, tensor.offset)
    return view if view.is_contiguous() and view.numel() == storage.numel() else view.clone().contiguous()


class _Limited:
    """A file of which no more than :data:`MAX_PICKLE` bytes are read, whatever length is asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.left = file, MAX_PICKLE

    def read(self, count: int) -> bytes:
        if count > self.left:
            raise Refused(f"refused a pickle of more than {MAX_PICKLE:,} bytes")
        self.left -= count
        return self.file.read(count)

    def readline(self) -> bytes:
        line = self.file.readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise Refused(f"refused a pickle of more than {MAX_PICKLE:,} bytes")
        return line


class _Machine:
    """Carries out the instructions of one pickle; ``storage`` looks up a storage by its key, type and length."""

    def __init__(self, storage: Callable[[str, torch.dtype, int], Storage]) -> None:
        self.storage = storage
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """What the pickle that begins here describes; ``file`` is left behind its end.

        Raises:
            Refused: it is no pickle, or not one of harmless things.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in strings that are no escapes
                for opcode, argument, _ in pickletools.genops(cast(Any, _Limited(file))):
                    if opcode.name == "STOP":
                        return self.stack.pop()
                    self._step(opcode.name, argument)
        except Refused:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Refused(f"not a readable pickle: {type(error).__name__}: {error}") from error
        raise Refused("not a readable pickle: it has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _FRESH:
            stack.append(_FRESH[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("GLOBAL", "INST", "STACK_GLOBAL"):
            module, what = _pop(stack, 2) if name == "STACK_GLOBAL" else argument.split(" ", 1)
            found = Named(f"{_RENAMED.get(module, module)}.{what}")
            stack.append(found if name != "INST" else Shell(found.name, tuple(self._marked())))
        elif name in ("NEWOBJ", "NEWOBJ_EX", "OBJ"):
            cls, *arguments = self._marked() if name == "OBJ" else _pop(stack, 2 + (name == "NEWOBJ_EX"))
            if not isinstance(cls, Named):
                raise Refused(f"refused to make an object of {_shown(cls)}")
            stack.append(Shell(cls.name, tuple(arguments)))
        elif name == "REDUCE":
            called, arguments = _pop(stack, 2)
            stack.append(self._called(called, arguments))
        elif name == "BUILD":
            state = stack.pop()
            self._build(stack[-1], state)
        elif name == "BINPERSID":
            stack.append(self._stored(stack.pop()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(_pop(stack, int(name[-1]))))
        elif name in ("TUPLE", "LIST"):
            stack.append((tuple if name == "TUPLE" else list)(self._marked()))
        elif name in ("DICT", "FROZENSET"):
            items = self._marked()
            stack.append({})
            _extend(stack[-1], items if name == "DICT" else [x for item in items for x in (item, None)])
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"):
            items = _pop(stack, {"APPEND": 1, "SETITEM": 2}[name]) if name[-1] != "S" else self._marked()
            _extend(stack[-1], [x for item in items for x in (item, None)] if name == "ADDITEMS" else items)
        elif name in ("POP", "POP_MARK"):
            _ = self._marked() if name == "POP_MARK" else stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"refused the pickle instruction {name}")

    def _marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def _called(self, called: Any, arguments: Any) -> Any:
        """What a call would have given, if it is one of the few that are known; nothing is called."""
        name = called.name if isinstance(called, Named) else ""
        if name == "torch._utils._rebuild_tensor_v2" or name == "torch._utils._rebuild_tensor":
            return _tensor(*arguments[:4])
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            if not isinstance(arguments[0], StoredTensor):
                raise Refused(f"refused a parameter that is no tensor but {_shown(arguments[0])}")
            return arguments[0]
        if name == "torch.Size":
            return tuple(arguments[0])
        if name in ("collections.OrderedDict", "collections.defaultdict"):
            pairs = arguments[0] if arguments and name.endswith("OrderedDict") else ()
            made: dict[Any, Any] = {}
            _extend(made, [x for pair in pairs for x in pair])
            return made
        if name in ("builtins.set", "builtins.frozenset"):
            made = {}
            _extend(made, [x for item in arguments[0] for x in (item, None)])
            return made  # without an order to lose, and with room for no surprise
        if name in _INERT:
            return Shell(name, arguments)
        raise Refused(
            f"refused to call {_shown(called)}, which the file asks for: a checkpoint of weights has no need to; do "
            "not open it with anything else either"
        )

    def _build(self, thing: Any, state: Any) -> None:
        """Give ``thing`` the attributes ``state``."""
        if isinstance(thing, Shell):
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # attributes, slots
            if not all(part is None or isinstance(part, dict) for part in parts):
                thing.attributes["state"] = state
                return
            for part in parts:
                thing.attributes |= {key: value for key, value in (part or {}).items() if isinstance(key, str)}
        elif not isinstance(thing, dict | StoredTensor):  # of those that have some, as _metadata, we want none
            raise Refused(f"refused to change {_shown(thing)}")

    def _stored(self, described: Any) -> Any:
        """A storage, or the class whose source text lies beside it."""
        if isinstance(described, tuple) and len(described) == 4 and described[0] == "module":
            return described[1]
        kind, cls, key, _, count, *view = described
        dtype = _DTYPES.get(cls.name.rsplit(".", 1)[-1]) if isinstance(cls, Named) else None
        if kind != "storage" or dtype is None or type(key) is not str or type(count) is not int or count < 0:
            raise Refused(f"refused a storage of {_shown(cls)} with key {key!r:.40} and length {count!r:.40}")
        if view not in ([], [None]):
            raise Refused(f"refused storage {key!r}, which is a view of another")
        return self.storage(key, dtype, count)


# Of dictionaries; a whole optimiser's are parameters. Others, as tuples of tuples, could take for ever to hash.
_KEYS = (str, bytes, int, float, bool, type(None), StoredTensor, Shell, Named)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_FRESH: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": dict}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> StoredTensor:
    """A tensor of these places in ``storage``, if they are in it."""
    if not isinstance(storage, Storage):
        raise Refused(f"refused a tensor without storage, of {_shown(storage)}")
    numbers = (offset, *shape, *stride)
    if any(type(x) is not int or x < 0 for x in numbers) or len(shape) != len(stride):
        raise Refused(f"refused a tensor of shape {shape!r:.60}, stride {stride!r:.60} and offset {offset!r:.60}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if count > storage.count or (count and last >= storage.count) or offset > storage.count:
        raise Refused(
            f"refused a tensor of shape {tuple(shape)}, stride {tuple(stride)} and offset {offset}: it lies outside "
            f"its storage {storage.key!r} of {storage.count:,} numbers"
        )
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _extend(thing: Any, items: Sequence[Any]) -> None:
    """Add ``items`` to a list, keys and values to a dictionary."""
    if isinstance(thing, Shell):
        thing.items += items
    elif isinstance(thing, list):
        thing += items
    elif isinstance(thing, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in _KEYS:
                raise Refused(f"refused a dictionary or set whose keys are {_shown(key)}")
            thing[key] = value
    else:
        raise Refused(f"refused to add to {_shown(thing)}")


def _pop(stack: list[Any], count: int) -> list[Any]:
    """The last ``count`` values of ``stack``, taken from it."""
    if count > len(stack):
        raise Refused("not a readable pickle: it takes more than it was given")
    found = stack[-count:]
    del stack[-count:]
    return found


def _shown(thing: Any) -> str:
    return thing.name if isinstance(thing, Named | Shell) else type(thing).__name__
