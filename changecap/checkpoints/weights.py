"""Where the weights of a backbone or of a whole captioner come from, settled before anything else is built."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from safetensors import SafetensorError

from ..errors import CheckpointError, ConfigError, WeightsUnavailableError
from .checkpoint import read_config

PATIENCE = 1.5  # seconds to wait for a host to answer at all; the hub's own client retries for most of a minute
_NAMES = ("model.safetensors", "pytorch_model.bin")  # of timm's files on the hub, now and formerly


def resolve(backbone: str, weights: str) -> Path | None:
    """The file that holds the weights for ``backbone``.

    Args:
        backbone: a timm model.
        weights: ``"none"``: random initialisation; ``"pretrained"``: as timm publishes them, from the cache or the
            network; else the path of a file.

    Returns:
        The file, or ``None`` for random initialisation.

    Raises:
        WeightsUnavailableError: they cannot be had; names what was tried and the ways out.
    """
    if weights == "none":
        return None
    if weights != "pretrained":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise _unavailable(f"backbone {backbone!r}", f"{path}, which is no file", "")
        return path
    published = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    repository, url = (str(published.hf_hub_id or ""), str(published.url or "")) if published else ("", "")
    if not (repository or url):
        raise _unavailable(f"backbone {backbone!r}", "timm, which publishes no weights for it", "")
    cache = os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE
    for name in _NAMES if repository else ():
        if isinstance(cached := try_to_load_from_cache(repository, name, cache_dir=cache), str):
            return Path(cached)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if url and path.is_file():
        return path
    return _from_hub(backbone, repository, cache) if repository else _from_url(backbone, url, path)


def fetch(repository: str) -> Path:
    """The folder that holds the captioner ``repository`` of the hub, from the cache or the network.

    Raises:
        ConfigError: it is not the name of a repository, ``organisation/name``.
        WeightsUnavailableError: it cannot be had; names what was tried and the ways out.
    """
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository):
        raise ConfigError(f"expected hf-hub:organisation/name, got hf-hub:{repository}")
    cache = os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE
    config = try_to_load_from_cache(repository, "config.json", cache_dir=cache)
    if isinstance(config, str):
        wanted = [Path(config).parent / name for name in _files(Path(config))]
        if all(path.is_file() for path in wanted):
            return Path(config).parent
    tried = f"{repository} on the hub"
    ways = "give the folder of a captioner that is here, ", "train one with changecap train"
    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        raise _unavailable(f"captioner {repository!r}", f"{tried}, which cannot be reached", cache, ways)
    try:
        config = hf_hub_download(repository, "config.json", cache_dir=cache)
        for name in _files(Path(config)):
            hf_hub_download(repository, name, cache_dir=cache)
    except CheckpointError:
        raise
    except Exception as error:  # as in _from_hub
        raise _unavailable(f"captioner {repository!r}", f"{tried}: {error}", cache, ways) from error
    return Path(config).parent


def _files(config: Path) -> list[str]:
    """The files that a captioner needs beside its ``config``."""
    files = read_config(config.parent)["files"]
    names = [str(files[kind]["file"]) for kind in ("weights", "vocabulary") if kind in files]
    if outside := [name for name in names if Path(name).name != name]:
        raise CheckpointError(
            f"{config} names {', '.join(outside)}, which is not beside it; get it from its author anew"
        )
    return names


def verify(weights: Path, name: str, options: Mapping[str, Any] | None = None) -> None:
    """Check that the file ``weights`` fills the backbone ``name``, classifier apart.

    timm leaves at random what a file lacks. Built twice from it, such a part differs from one time to the other.

    Args:
        weights: as :func:`resolve` found it.
        name: a timm model.
        options: further keyword arguments of that model.

    Raises:
        WeightsUnavailableError: the file cannot be read, has other shapes, or leaves weights at random.
    """
    states = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            try:
                model = timm.create_model(
                    name,
                    features_only=True,
                    pretrained=True,
                    pretrained_cfg_overlay={"file": str(weights)},
                    **(options or {}),
                )
            except (RuntimeError, KeyError, TypeError, ValueError, OSError, SafetensorError, UnpicklingError) as error:
                reason = shorten(str(error), 400)  # torch lists every weight
                raise WeightsUnavailableError(f"{weights} does not fit the backbone {name!r}: {reason}") from error
            states.append({key: value for key, value in model.state_dict().items() if value.ndim > 1})
    left = [key for key, value in states[0].items() if not value.equal(states[1][key])]
    if left:
        raise WeightsUnavailableError(
            f"{weights} does not fit the backbone {name!r}: it lacks {len(left)} of {len(states[0])} weights, "
            f"{left[0]} first; give the weights of a {name}, or train from scratch with backbone.weights=none"
        )


def _from_hub(backbone: str, repository: str, cache: str) -> Path:
    where = f"{repository} on the hub ({_NAMES[0]})"
    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        raise _unavailable(f"backbone {backbone!r}", f"{where}, which cannot be reached", cache)
    try:
        return Path(hf_hub_download(repository, _NAMES[0], cache_dir=cache))
    except Exception as error:  # whatever the hub's client of the day throws, the weights are not to be had
        raise _unavailable(f"backbone {backbone!r}", f"{where}: {error}", cache) from error


def _from_url(backbone: str, url: str, path: Path) -> Path:
    if not _answers(url):
        raise _unavailable(f"backbone {backbone!r}", f"{url}, which cannot be reached", str(path.parent))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    except OSError as error:
        raise _unavailable(f"backbone {backbone!r}", f"{url}: {error}", str(path.parent)) from error
    return path


def _answers(url: str) -> bool:
    """Whether the host of ``url``, or the proxy on the way to it, takes a connection within :data:`PATIENCE`."""
    parts = urlsplit(getproxies().get(urlsplit(url).scheme, url))
    answered = []

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", parts.port or 443), timeout=PATIENCE).close()
        except OSError:
            return
        answered.append(True)

    attempt = Thread(target=connect, daemon=True)  # looking up a name knows no timeout of its own
    attempt.start()
    attempt.join(PATIENCE)
    return bool(answered)


_BACKBONE = "give the file with backbone.weights=PATH, ", "train from scratch with backbone.weights=none"


def _unavailable(what: str, tried: str, cache: str, ways: tuple[str, str] = _BACKBONE) -> WeightsUnavailableError:
    """What to say: ``ways`` are the first and the last way out, between which the cache is filled."""
    fill = f"fill the cache {cache} on a machine with a network and copy it here, " if cache else ""
    return WeightsUnavailableError(f"no weights for the {what}: tried {tried}. Ways out: {ways[0]}{fill}or {ways[1]}")
