"""One folder, one save, one load: weights (safetensors), configuration and vocabulary, and no pickle.

``config.json`` names the other files with their SHA-256 and is replaced last, in one atomic step. Weights are written
under a new name before that and the old ones removed after it, so that a folder loads at every moment, whatever kills
the process. The training state lies beside them in a file that ``torch.load(weights_only=True)`` reads.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import zoo

from .errors import CheckpointError
from .vocabulary import Vocabulary

FORMAT = 1


def save(
    folder: Path,
    model: zoo.Captioner,
    vocabulary: Vocabulary,
    config: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    tag: str = "",
) -> None:
    """Write a checkpoint into ``folder``, or replace the one that is there.

    Args:
        folder: made if absent.
        model: its weights are written, in full precision.
        vocabulary: of the words the model says.
        config: plain JSON values; ``config["model"]`` holds the name and keyword arguments that build the model.
        training: optimiser, counters and generators, tensors and plain values only.
        tag: ends the names of the large files, for example the step.

    Raises:
        CheckpointError: the disk is full or refuses; what was there before is untouched.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    parts: dict[str, tuple[str, Callable[[Path], object]]] = {
        "weights": (f"model{tag}.safetensors", lambda path: path.write_bytes(save_tensors(weights))),
        "vocabulary": (f"vocabulary{tag}.json", vocabulary.save),
    }
    if training is not None:
        parts["training"] = (f"training{tag}.pt", lambda path: torch.save(dict(training), path))
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for kind, (name, write) in parts.items():
            path = folder / f"{name}.new"
            written.append(path)
            write(path)
            files[kind] = {"file": name, "sha256": _hash_file(path)}
        for path in written:
            _flush(path)
        content = {"format": FORMAT, **config, "files": files}
        text = json.dumps({**content, "sha256": _hash_json(content)}, indent=1)
        (folder / "config.json.new").write_text(text, encoding="utf-8")
        written.append(folder / "config.json.new")
        _flush(written[-1])
    except (OSError, RuntimeError, SafetensorError) as error:
        for path in written:
            path.unlink(missing_ok=True)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        why = "the disk is full" if full else str(error)
        raise CheckpointError(
            f"no checkpoint could be written to {folder}: {why}; the one before is untouched"
        ) from error
    for path in written:  # config.json comes last
        os.replace(path, path.with_suffix(""))
    kept = {part["file"] for part in files.values()}
    for old in folder.iterdir():
        if old.name not in kept and old.name.startswith(("model", "vocabulary", "training")):
            old.unlink(missing_ok=True)


def load(folder: Path, device: str = "cpu") -> tuple[zoo.Captioner, Vocabulary, dict[str, Any]]:
    """Build the model of the checkpoint in ``folder``, in evaluation mode, with its vocabulary and configuration.

    Raises:
        CheckpointError: the folder is no checkpoint, a file is missing or does not have the recorded hash, or the
            vocabulary has another size than the weights.
    """
    config = read_config(folder)
    vocabulary = Vocabulary.load(_verified(folder, config, "vocabulary"))
    try:
        state = load_tensors(_verified(folder, config, "weights").read_bytes())
        model = zoo.create_model(**{**config["model"], "vocab": len(vocabulary)})
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} does not build its model: {error}") from error
    except RuntimeError as error:
        size = next((t.shape[0] for name, t in state.items() if name.endswith("embedding.weight")), None)
        if size not in (None, len(vocabulary)):
            reason = f"the vocabulary has {len(vocabulary)} words, the weights were made for {size}"
        else:
            reason = str(error)
        raise CheckpointError(f"{folder}: the weights do not fit the model: {reason}") from error
    return model.to(device).eval(), vocabulary, config


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
    state: dict[str, Any] = torch.load(_verified(folder, config, "training"), weights_only=True)
    return state


def read_config(folder: Path) -> dict[str, Any]:
    """The checked ``config.json`` of the checkpoint in ``folder``.

    Raises:
        CheckpointError: it is missing, broken or altered.
    """
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content = {key: value for key, value in config.items() if key != "sha256"}
        if config["sha256"] != _hash_json(content):
            raise CheckpointError(f"{path} was altered: its content does not have the recorded hash; copy it anew")
        if config["format"] != FORMAT:
            raise CheckpointError(f"{path} is of format {config['format']}, this version reads format {FORMAT}")
    except (FileNotFoundError, NotADirectoryError):
        near = [str(sub) for sub in (folder / "best", folder / "last") if (sub / "config.json").is_file()]
        hint = f"; there is one in {near[0]}" if near else "; train one, or give the folder that holds config.json"
        raise CheckpointError(f"no checkpoint in {folder}{hint}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not the configuration of a checkpoint: {error!r}") from error
    return config


def best_of(path: Path) -> Path:
    """The checkpoint folder meant by ``path``: itself, or ``best`` inside a run."""
    return path / "best" if not (path / "config.json").exists() and (path / "best").is_dir() else path


def _verified(folder: Path, config: Mapping[str, Any], kind: str) -> Path:
    entry = config["files"][kind]
    path = folder / entry["file"]
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: a checkpoint is a whole folder, copy all of it")
    if (found := _hash_file(path)) != entry["sha256"]:
        raise CheckpointError(
            f"{path} is damaged: SHA-256 {found[:12]}…, recorded {entry['sha256'][:12]}…; copy it anew"
        )
    return path


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_json(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _flush(path: Path) -> None:
    """Force ``path`` to the disk, so that a renamed file is never an empty one."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
