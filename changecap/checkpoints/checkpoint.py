"""One folder, one save, one load: weights (safetensors), configuration and vocabulary, and no pickle.

``config.json`` names the other files with their SHA-256 and is replaced last, in one atomic step. The others carry
their hash in their name, so that new content never takes the place of old, and what is no longer named goes after it:
a folder loads at every moment, whatever kills the process. The training state lies beside them in a file that
``torch.load(weights_only=True)`` reads.
"""

import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from threading import get_ident
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

import zoo

from ..errors import CheckpointError
from ..io.json_file import read_json
from ..language import tokenizer as tokenizers
from ..language.tokenizer import WORD_LIST, Tokenizer

Bytes = bytes | memoryview

FORMAT = 1
_DTYPES = {  # as safetensors calls them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_OURS = re.compile(
    r"(model|vocabulary|tokenizer|training)-[0-9a-f]{16}\.(safetensors|json|bin|pt)(\.new)?|config\.json\.new"
)


def save(
    folder: Path,
    model: zoo.Captioner,
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    plain: bool = False,
) -> None:
    """Write a checkpoint into ``folder``, or replace the one that is there; files of others stay.

    Args:
        folder: made if absent.
        model: its weights are written, in full precision.
        tokenizer: of the words the model says; its kind is registered, see :mod:`changecap.language.tokenizer`.
        config: plain JSON values; ``config["model"]`` holds the name and keyword arguments that build the model.
        training: optimiser, counters and generators, tensors and plain values only.
        plain: call the files ``model.safetensors`` and ``vocabulary.json`` (``tokenizer.bin`` of another kind), as
            the hub expects them. They take the place of older ones of that name; where that breaks off, the folder is
            told to be damaged.

    Raises:
        CheckpointError: the disk is full or refuses; what was there before is untouched.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    of_words = tokenizer.kind == WORD_LIST
    parts: dict[str, tuple[str, list[Bytes]]] = {
        "weights": ("model-{}.safetensors", _safetensors(weights)),
        "vocabulary": ("vocabulary-{}.json" if of_words else "tokenizer-{}.bin", [tokenizer.dump()]),
    }
    if training is not None:
        buffer = io.BytesIO()
        torch.save(dict(training), buffer)
        parts["training"] = ("training-{}.pt", [buffer.getbuffer()])
    files = {}
    contents: dict[str, list[Bytes]] = {}  # file name -> its bytes, in pieces
    for kind, (pattern, content) in parts.items():
        digest = _hash(content)
        name = pattern.replace("-{}", "") if plain else pattern.format(digest[:16])
        files[kind], contents[name] = {"file": name, "sha256": digest}, content
    described = {key: value for key, value in config.items() if key != "tokenizer"}
    # Word lists go without, so that their folders are read by versions that know nothing else.
    if not of_words:
        described["tokenizer"] = {"kind": tokenizer.kind, "hash": tokenizer.hash}
    described |= {"format": FORMAT, "files": files}
    text = json.dumps({**described, "sha256": _hash_json(described)}, indent=1)
    contents["config.json"] = [text.encode()]  # comes last
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _write(folder / f"{name}.new", content)
        for name in contents:
            os.replace(folder / f"{name}.new", folder / name)
    except OSError as error:
        with suppress(OSError):
            for name in contents:
                (folder / f"{name}.new").unlink(missing_ok=True)
        why = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise CheckpointError(
            f"no checkpoint could be written to {folder}: {why}; the one before is untouched"
        ) from error
    for old in folder.iterdir():
        if old.name not in contents and _OURS.fullmatch(old.name):
            old.unlink(missing_ok=True)


def load(folder: Path, device: str = "cpu") -> tuple[zoo.Captioner, Tokenizer, dict[str, Any]]:
    """Build the model of the checkpoint in ``folder``, in evaluation mode, with its tokenizer and configuration.

    Raises:
        CheckpointError: the folder is no checkpoint, a file is missing or does not have the recorded hash, or the
            vocabulary has another size than the weights, or its tokenizer is of a kind that is not known here.
    """
    config = read_config(folder)
    vocabulary = load_tokenizer(folder, config)
    weights = _verified(folder, config, "weights")
    try:
        state = _tensors(weights)
        with shapes_only():
            model = zoo.create_model(**{**config["model"], "vocab": len(vocabulary)})
        model.load_state_dict(state, assign=True)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} does not build its model: {type(error).__name__}: {error}") from error
    except RuntimeError as error:
        size = next((t.shape[0] for name, t in state.items() if name.endswith("embedding.weight")), None)
        if size not in (None, len(vocabulary)):
            reason = f"the vocabulary has {len(vocabulary)} words, the weights were made for {size}"
        else:
            reason = shorten(str(error), 400)  # torch lists every weight
        raise CheckpointError(f"{folder}: the weights do not fit the model: {reason}") from error
    return model.to(device, torch.float32).eval(), vocabulary, config


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of the checkpoint in ``folder`` that has this ``config``; a word list where it names no kind.

    Raises:
        CheckpointError: its file is missing, damaged or of a kind that is not known here, or gives other ids than it
            did when it was saved.
    """
    path = _verified(folder, config, "vocabulary")
    described = config.get("tokenizer") or {"kind": WORD_LIST}
    try:
        tokenizer = tokenizers.load(str(described["kind"]), path)
    except (CheckpointError, KeyError, ValueError) as error:
        raise CheckpointError(f"{folder} does not build its tokenizer: {error}") from error
    if "hash" in described and described["hash"] != tokenizer.hash:
        raise CheckpointError(
            f"the tokenizer of {folder}, of kind {described['kind']!r}, gives other ids here than when it was saved; "
            "install the version of its package that the captioner was trained with"
        )
    return tokenizer


def load_training(folder: Path) -> dict[str, Any]:
    """The training state of the checkpoint in ``folder``.

    Raises:
        CheckpointError: there is none, or its hash is wrong.
    """
    config = read_config(folder)
    if "training" not in config["files"]:
        raise CheckpointError(
            f"{folder} holds no training state; resume from the run's folder, which keeps one in last/"
        )
    state: dict[str, Any] = torch.load(_verified(folder, config, "training"), map_location="cpu", weights_only=True)
    return state


def read_config(folder: Path) -> dict[str, Any]:
    """The checked ``config.json`` of the checkpoint in ``folder``.

    Raises:
        CheckpointError: it is missing, broken or altered.
    """
    path = folder / "config.json"
    near = [sub for sub in (folder / "best", folder / "last") if (sub / "config.json").is_file()]
    hint = f"there is one in {near[0]}" if near else "train one, or give the folder that holds its config.json"
    absent = f"no checkpoint in {folder}: it has no config.json; {hint}"
    config: dict[str, Any] = read_json(path, absent, "copy it anew", CheckpointError)
    if not isinstance(config, dict) or not {"sha256", "format", "files"} <= config.keys():
        raise CheckpointError(f"no checkpoint in {folder}: its config.json describes something else; {hint}")
    if config["sha256"] != _hash_json({key: value for key, value in config.items() if key != "sha256"}):
        raise CheckpointError(f"{path} was altered: its content does not have the recorded hash; copy it anew")
    if config["format"] != FORMAT:
        raise CheckpointError(f"{path} is of format {config['format']}, this version reads format {FORMAT}")
    return config


def best_of(path: Path) -> Path:
    """The checkpoint folder meant by ``path``: itself, or ``best`` inside a run."""
    return path / "best" if (path / "best" / "config.json").is_file() else path


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within, parameters of what this thread builds have a shape and no memory; buffers are computed as ever."""
    here = get_ident()

    def without_memory(_: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or parameter.is_meta or get_ident() != here:
            return None  # as it is
        return nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(without_memory)  # type: ignore[arg-type]  # it may answer
    try:
        yield
    finally:
        hook.remove()


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as memory of their own.

    Left mapped, they would end this process when another one cuts the file short; opened for each anew, no more than
    one is held twice.
    """
    with safe_open(path, "pt") as file:
        names = list(file.keys())
    found = {}
    for name in names:
        with safe_open(path, "pt") as file:
            found[name] = file.get_tensor(name).clone()
    return found


def _verified(folder: Path, config: Mapping[str, Any], kind: str) -> Path:
    entry = config["files"].get(kind)
    if entry is None:
        raise CheckpointError(f"the config.json in {folder} names no file of kind {kind!r}; save the checkpoint anew")
    path = folder / entry["file"]
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: a checkpoint is a whole folder, copy all of it")
    if (found := hash_file(path)) != entry["sha256"]:
        raise CheckpointError(
            f"{path} is damaged: SHA-256 {found[:12]}…, recorded {entry['sha256'][:12]}…; copy it anew"
        )
    return path


def hash_file(path: Path) -> str:
    """SHA-256 of the file at ``path``, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_json(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash(content: Iterable[Bytes]) -> str:
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()


def _safetensors(weights: Mapping[str, Tensor]) -> list[Bytes]:
    """The safetensors file of contiguous ``weights`` in pieces, the tensors' own memory among them.

    The library's own ``save`` holds all weights two more times.
    """
    ordered = sorted(weights.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))  # keeps numbers aligned
    header, end = {}, 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    tensors = [memoryview(cast(Any, tensor.reshape(-1).view(torch.uint8).numpy())) for _, tensor in ordered]
    return [len(head).to_bytes(8, "little"), head, *tensors]


def _write(path: Path, content: Iterable[Bytes]) -> None:
    """Write the pieces of ``content`` and force them to the disk, so that a renamed file is never an empty one."""
    with path.open("wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
