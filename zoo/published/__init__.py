"""The authors' names and ours, one table per model; dictionaries in, dictionaries out, no file is opened."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from ..captioner import Memory
from . import chg2cap, mmodalcc, psnet, rsiccformer, trunk
from .table import Parts, Published, renamed
from .trunk import infer_trunk as infer_trunk

Value = TypeVar("Value")

_PUBLISHED: dict[str, Published] = {
    "chg2cap": chg2cap.PUBLISHED,
    "mmodalcc": mmodalcc.PUBLISHED,
    "psnet": psnet.PUBLISHED,
    "rsiccformer": rsiccformer.PUBLISHED,
}


def rename(
    model: str, keys: list[str], theirs: Parts | None = None, channels: int | None = None
) -> dict[str, str | None]:
    """Our name for each of the authors' ``keys`` of ``model``; ``None`` for those their code never uses.

    Args:
        model: its name.
        keys: the authors' names.
        theirs: their arguments, see :func:`arguments`, where they may differ from the published ones: which keys
            their code uses can depend on them.
        channels: of the backbone maps, with ``theirs``.

    Raises:
        ValueError: the model has no table, or a key is not in it; the message names the keys.
    """
    published = of(model)
    special = () if theirs is None or channels is None else published.special(theirs, channels)
    return renamed(special + published.keys, keys, f"a published {model}")


def convert_trunk(state: Mapping[str, Value]) -> dict[str, Value]:
    """The weights, or whatever stands for them, of a published backbone under timm's names, its classifier left out.

    Args:
        state: a ResNet or ViT as torchvision names it, or as the authors' codes do, with ``net.`` or ``cnn.`` and a
            number in place of a ResNet's names.

    Raises:
        ValueError: a key is of neither; the message names the keys.
    """
    names = renamed(trunk.KEYS, list(state), "a ResNet or ViT of torchvision")
    return {ours: state[theirs] for theirs, ours in names.items() if ours is not None}


def convert(
    model: str, state: Mapping[str, Value], theirs: Parts | None = None, channels: int | None = None
) -> dict[str, Value]:
    """The authors' ``state`` under our names, dead parameters left out; see :func:`rename`."""
    names = rename(model, list(state), theirs, channels)
    return {ours: state[key] for key, ours in names.items() if ours is not None}


def arguments(model: str, theirs: Parts, channels: int) -> dict[str, Any]:
    """Our keyword arguments (``released=True``) for the authors' constructor arguments ``theirs`` of the two parts.

    Args:
        model: its name.
        theirs: ``change_encoder`` and ``decoder``, each the arguments of that class in the authors' code.
        channels: of the backbone maps; the backbone itself is left out (``backbone="features"``).

    Raises:
        ValueError: the model has no table, or the widths of the parts do not fit together.
        KeyError: an argument is missing.
    """
    return {**of(model).arguments(theirs, channels), "released": True}


def outputs(model: str, memory: Memory) -> dict[str, Tensor]:
    """Our ``memory`` as the authors' code holds it, under the names that the fixtures give it."""
    return of(model).memory(memory)


def inside(model: str, name: str) -> tuple[str, Callable[[Any], Tensor]] | None:
    """Where in our model the authors' intermediate tensor ``name`` of a fixture is computed.

    Returns:
        The path of our module, and what makes the tensor, in the authors' layout, of what that module returns;
        ``None``: it is no tensor of ours.
    """
    for pattern, (path, makes) in of(model).inside.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(path), makes
    return None


def of(model: str) -> Published:
    """All that is known of the published code of ``model``.

    Raises:
        ValueError: nothing is; the message lists those of which something is.
    """
    if model not in _PUBLISHED:
        raise ValueError(f"no table of published keys for {model!r}, only for: {', '.join(sorted(_PUBLISHED))}")
    return _PUBLISHED[model]
