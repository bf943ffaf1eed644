"""What the settings of a training run mean, and which of them make no sense; nothing is built or trained here."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import zoo

from ..data.augmentation import chains
from ..errors import CheckpointError, ConfigError
from ..io.json_file import read_json
from ..metrics import NAMES


def check(config: Mapping[str, Any]) -> None:
    """Refuse, before any work is done, what would otherwise fail late or be taken for something else.

    Raises:
        ConfigError: a value is out of range or none of those known.
    """
    choices = {
        "score": NAMES,
        "inputs": ("rgb", "maps", "both"),
        "precision": ("auto", "bf16", "fp32"),
        "vocabulary_splits": ("train", "all"),
    }
    for key, allowed in choices.items():
        if config[key] not in allowed:
            raise ConfigError(f"{key} must be one of {', '.join(allowed)}, got {config[key]!r}")
    least = {"batch": 1, "lr": 0, "clip": 0, "warmup": 0, "patience": 0, "workers": 1, "min_count": 1, "seed": 0}
    least |= {"processes": 1} if "processes" in config else {}  # absent in runs from before there were several
    numbers = {key: config[key] for key in least} | {"data.size": config["data"]["size"]}
    for key, value in numbers.items():
        if not (isinstance(value, int | float) and value >= least.get(key, 1)):
            raise ConfigError(f"{key} must be a number of at least {least.get(key, 1)}, got {value!r}")
        if key in ("batch", "workers", "processes") and not isinstance(value, int):
            raise ConfigError(f"{key} must be a whole number, got {value!r}")
    if not (isinstance(share := config.get("unchanged", 1.0), int | float) and 0 <= share <= 1):
        raise ConfigError(f"unchanged must be a number from 0 to 1, got {share!r}")
    if not (config["steps"] or config["epochs"]):
        raise ConfigError("nothing to train: give steps or epochs")
    chains(config.get("preprocess"))
    try:
        zoo.model_class(config["model"]["name"])
    except ValueError as error:
        raise ConfigError(str(error)) from None


def resumed(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the run in ``folder``, which a resumed run keeps; only ``config["device"]`` goes before it.

    Raises:
        CheckpointError: the folder holds no run, or its configuration is broken.
    """
    path = folder / "config.json"
    absent = f"no run to resume in {folder}: it has no config.json"
    stored: dict[str, Any] = read_json(path, absent, "copy it anew", CheckpointError)
    if not isinstance(stored, dict) or "steps" not in stored:
        raise CheckpointError(f"{path} is not that of a run; resume=RUN wants the folder that holds best and last")
    return {**stored, "out": str(folder), "resume": str(folder), "device": config.get("device", stored["device"])}


def backbone_name(config: Mapping[str, Any]) -> str:
    """The backbone in the configuration, else the one the model was published with."""
    if name := config["backbone"].get("name"):
        return str(name)
    published = inspect.signature(zoo.model_class(config["model"]["name"])).parameters["backbone"].default
    return str((published or {"name": "resnet101"})["name"])


def model_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name and keyword arguments that build the model again, weights of the backbone left out."""
    backbone = {k: v for k, v in config["backbone"].items() if k != "weights" and v is not None}
    arguments = {**config["model"], "inputs": config["inputs"], "image_size": config["data"]["size"]}
    return arguments | ({"backbone": backbone} if backbone else {})


def device_of(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but no CUDA device is to be seen here; use device=cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
