"""Where the weights of a backbone come from, settled before anything else is built."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from .errors import WeightsUnavailableError

PATIENCE = 1.5  # seconds to wait for the hub to answer at all; its own client retries for most of a minute


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
            raise _unavailable(backbone, f"the file {path}, which does not exist", "")
        return path
    published = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    if published is None or not (published.hf_hub_id or published.url):
        raise _unavailable(backbone, "timm, which publishes no weights for it", "")
    if published.hf_hub_id:
        return _from_hub(backbone, str(published.hf_hub_id), published.hf_hub_filename or "model.safetensors")
    return _from_url(backbone, str(published.url))


def _from_hub(backbone: str, repository: str, name: str) -> Path:
    cached = try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    where = f"{repository} on the hub ({name})"
    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        raise _unavailable(backbone, f"{where}, which cannot be reached", constants.HF_HUB_CACHE)
    try:
        return Path(hf_hub_download(repository, name))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _unavailable(backbone, f"{where}: {error}", constants.HF_HUB_CACHE) from error


def _from_url(backbone: str, url: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlsplit(url).path).name
    if path.is_file():
        return path
    if not _answers(url):
        raise _unavailable(backbone, f"{url}, which cannot be reached", str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    except OSError as error:
        raise _unavailable(backbone, f"{url}: {error}", str(folder)) from error
    return path


def _answers(url: str) -> bool:
    """Whether the host of ``url`` takes a connection within :data:`PATIENCE`."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def _unavailable(backbone: str, tried: str, cache: str) -> WeightsUnavailableError:
    fill = f"fill the cache {cache} on a machine with a network and copy it here, " if cache else ""
    return WeightsUnavailableError(
        f"no weights for the backbone {backbone!r}: tried {tried}. Ways out: give the file with "
        f"backbone.weights=PATH, {fill}or train from scratch with backbone.weights=none"
    )
