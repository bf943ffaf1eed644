"""Checkpoints as the authors of a model publish them, to folders of ours; none of their code is run.

What is in a file is read by :mod:`changecap.checkpoints.unpickle`, what its names mean stands in ``zoo.published``.
Every weight in it is used, known to be dead, or an error.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

import zoo
from zoo import published
from zoo.layers.backbone import Backbone

from ..errors import CheckpointError, ConfigError, DataError
from ..language.vocabulary import Vocabulary, read_words
from . import checkpoint
from .unpickle import Shell, StoredTensor, open_torch

SIZE = 256  # side in pixels of the images of all published models
POOL = 14  # side of the grid that their maps are pooled to
HEADS = 8  # of the published models, where a file does not say
WORDS = ("words.embedding.weight", "words.head.weight", "words.head.bias")  # of which each word has a row
_HEADS = ("num_heads", "n_heads", "n_head", "nhead", "heads")
_WRONG = (ValueError, IndexError, ArithmeticError)  # what comes of shapes that are of something else


@dataclass(frozen=True)
class Part:
    """One of the networks in a file: its weights, and the whole numbers among its attributes, by their dotted names."""

    weights: Mapping[str, StoredTensor]
    numbers: Mapping[str, int]


def import_checkpoint(
    model: str, source: Path, words: Path, out: Path, given: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Bring the authors' file ``source`` into the folder ``out``, for :func:`changecap.load`.

    Args:
        model: which captioner it is of.
        source: what they saved, state dicts or whole modules, optimisers and all.
        words: their map of words to ids, JSON.
        out: a folder without a checkpoint.
        given: head counts (``heads``, ``decoder_heads``, ``scale_heads``) that go before what the file says.

    Returns:
        Where it all comes from, as it is kept in the folder: what was ``used``, ``dead``, ``left`` aside and
        ``assumed``.

    Raises:
        CheckpointError: the file is damaged, hostile, of another model, or lacks weights.
        DataError: the words are not a map, or not as many as the weights are for.
        ConfigError: ``out`` holds a checkpoint, or ``given`` does not fit the model.
    """
    known = published.of(model)
    if (out / "config.json").exists():
        raise ConfigError(f"{out} holds a checkpoint or a run already; give another out")
    if wrong := sorted(set(given or ()) - known.heads.keys()):
        raise ConfigError(f"{model} has no {', '.join(wrong)} of its own, only {', '.join(known.heads)}")
    ids = read_words(words)
    order = list(ids.values())
    with open_torch(source) as file:
        try:
            parts, left = _parts(model, file.content)
            plan = _plan(model, parts, given or {})
        except _WRONG as error:
            said = f"{source} is not a published {model}: {error}{_hint(model, file.content)}"
            raise CheckpointError(said) from error
        if len(ids) != plan.arguments["vocab"]:
            raise DataError(
                f"{words} has {len(ids)} words, the weights in {source} were made for {plan.arguments['vocab']}; "
                "give the map of words that they were trained with"
            )
        used = plan.used
        if sum(t.bytes for part in used.values() for t in part.values()) > source.stat().st_size:
            raise CheckpointError(f"{source}: refused weights that are larger than the file: they share their storage")
        try:  # on paper first: shapes that do not go together could ask for any amount of memory
            with torch.device("meta"):
                _build(model, plan, {p: {k: torch.empty(t.shape) for k, t in part.items()} for p, part in used.items()})
        except (RuntimeError, *_WRONG) as error:
            raise CheckpointError(f"{source} does not fill a {model}: {shorten(str(error), 400)}") from error
        captioner = _build(model, plan, {p: {k: file.read(t) for k, t in part.items()} for p, part in used.items()})
    for name in WORDS:
        rows = captioner.get_parameter(name)
        rows.data = rows.data[order]
    provenance = {
        "model": model,
        "file": source.name,
        "sha256": checkpoint.hash_file(source),
        "vocabulary": {"file": words.name, "sha256": checkpoint.hash_file(words)},
        "used": sum(map(len, plan.used.values())),
        "dead": plan.dead,
        "left": left,
        "assumed": plan.assumed,
        "ids": order,
    }
    config = {
        "model": {"name": model, **{key: value for key, value in plan.arguments.items() if key != "vocab"}},
        "inputs": captioner.inputs,
        "size": SIZE,
        "provenance": provenance,
    }
    checkpoint.save(out, captioner, Vocabulary(list(ids)), config)
    return provenance


def summary(provenance: Mapping[str, Any]) -> str:
    """What became of a file, in a few lines."""
    lines = [f"{provenance['used']} weights of {provenance['file']} used"]
    if dead := provenance["dead"]:
        lines.append(f"{len(dead)} that the authors' code never uses left out:")
        lines += [f"  {name}" for name in _gathered(dead)]
    if left := provenance["left"]:
        lines.append(f"beside the weights, left out: {', '.join(left)}")
    lines += [f"assumed: {what}" for what in provenance["assumed"]]
    return "\n".join(lines)


def _gathered(names: Sequence[str]) -> list[str]:
    """``names`` with those as one that differ in numbers and in the last part only."""
    groups: dict[str, int] = {}
    for name in names:
        pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", name.rpartition(".")[0])
        groups[pattern] = groups.get(pattern, 0) + 1
    return [f"{pattern} ({count})" for pattern, count in groups.items()]


@dataclass(frozen=True)
class _Plan:
    """What is made of a file.

    ``used`` holds tensors under our names, those of each trunk apart under timm's; ``arguments`` builds the model.
    """

    arguments: dict[str, Any]
    used: dict[str, dict[str, StoredTensor]]
    dead: list[str]
    assumed: list[str]


def _plan(model: str, parts: Mapping[str, Part], given: Mapping[str, int]) -> _Plan:
    """What to make of ``parts``.

    Raises:
        ValueError: they are not of that model.
    """
    known = published.of(model)
    bodies = {f"{part}.{key}": t for part in parts.keys() - known.trunks for key, t in parts[part].weights.items()}
    shapes = {key: t.shape for key, t in bodies.items()}
    trunks = {part: published.convert_trunk(parts[part].weights) for part in known.trunks if part in parts}
    dead = []
    for part, trunk in trunks.items():
        alive = set(trunk.values())
        dead += [f"{part}.{key}" for key, t in parts[part].weights.items() if t not in alive]
    live = [k for k, ours in published.rename(model, list(bodies)).items() if ours is not None]
    numbers = {f"{part}.{name}": n for part in parts.keys() - known.trunks for name, n in parts[part].numbers.items()}
    heads, assumed = _heads(model, numbers, live, given)
    theirs = known.infer(shapes, heads)
    if backbones := [_backbone(trunks[part], parts[part].numbers) for part in trunks]:
        if len(trunks) < len(known.trunks) or any(other != backbones[0] for other in backbones):
            raise ValueError(f"its image encoders must be {len(known.trunks)} of one kind, got {backbones}")
        with torch.device("meta"):
            channels = Backbone(**backbones[0]).channels
    else:
        channels = known.maps(shapes)
        assumed.append(f"no image encoder in the file: it takes feature maps of {channels} channels, not images")
    arguments = published.arguments(model, theirs, channels)
    if backbones:
        side = theirs["change_encoder"].get("h", POOL)
        pool = {"pool": side} if side != POOL and not backbones[0]["name"].startswith("vit") else {}
        arguments |= {"backbone": {**known.backbone, **backbones[0], **pool}, "image_size": SIZE}
    dead += [key for key, ours in published.rename(model, list(bodies), theirs, channels).items() if ours is None]
    used = {"": published.convert(model, bodies, theirs, channels)}
    used |= {known.trunks[part]: trunk for part, trunk in trunks.items()}
    return _Plan(arguments, used, sorted(dead), [*assumed, *known.assumed])


def _heads(
    model: str, numbers: Mapping[str, int], live: Sequence[str], given: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    """Head counts of ``model`` and what was assumed of them; of the ``numbers``, those of ``live`` modules count.

    Raises:
        ValueError: modules that must have as many heads do not.
    """
    heads, assumed = {}, []
    for ours, pattern in published.of(model).heads.items():
        paths = {name: name.rpartition(".") for name in numbers}
        found = {
            numbers[name]
            for name, (path, _, last) in paths.items()
            if last in _HEADS and re.fullmatch(pattern, path) and any(key.startswith(f"{path}.") for key in live)
        }
        if ours in given or (ours == "decoder_heads" and not found and "heads" in given):
            found = {given.get(ours, given.get("heads", HEADS))}
        if len(found) > 1:
            raise ValueError(f"its head counts disagree, {sorted(found)}; say which with model.{ours}=...")
        if not found:
            assumed.append(f"{ours} = {HEADS}, as published")
        heads[ours] = found.pop() if found else HEADS
    return heads, assumed


def _backbone(trunk: Mapping[str, StoredTensor], numbers: Mapping[str, int]) -> dict[str, Any]:
    """Arguments of our backbone for a trunk with timm's names."""
    heads = {n for name, n in numbers.items() if name.rpartition(".")[2] in _HEADS}
    return published.infer_trunk({key: t.shape for key, t in trunk.items()}, heads.pop() if len(heads) == 1 else None)


def _build(model: str, plan: _Plan, weights: Mapping[str, dict[str, Tensor]]) -> zoo.Captioner:
    """The captioner that ``plan`` describes, with these ``weights``.

    Raises:
        ValueError: some are missing or too many, or the arguments do not go together.
        RuntimeError: some have another shape.
    """
    with checkpoint.shapes_only():
        captioner = zoo.create_model(model, **plan.arguments)
    for path, part in weights.items():
        if path:
            trunk = captioner.get_submodule(path)
            assert isinstance(trunk, Backbone)
            behind = trunk.load_trunk(part)
            plan.dead.extend(name for key in behind if (name := f"{path}.{key}") not in plan.dead)
    trunks = tuple(f"{path}." for path in weights if path)
    missing, unexpected = captioner.load_state_dict(weights[""], strict=False, assign=True)
    missing = [key for key in missing if not key.startswith(trunks)]
    if missing or unexpected:
        raise ValueError(f"missing {missing[:5]}, unexpected {unexpected[:5]}")
    return captioner.to(torch.float32).eval()


def _hint(model: str, content: Any) -> str:
    """Which other model ``content`` is of, as the end of a sentence; nothing if of none."""
    for other in zoo.list_models():
        if other != model:
            with suppress(*_WRONG):
                _plan(other, _parts(other, content)[0], {})
                return f"; it is a {other}: give model={other}"
    return ""


def _parts(model: str, content: Any) -> tuple[dict[str, Part], list[str]]:
    """The networks in ``content`` by their names, and the names of what lies beside them.

    Raises:
        ValueError: one is missing, or there is one more.
    """
    known = published.of(model)
    if not isinstance(content, dict):
        raise ValueError(f"expected a dictionary of its parts, got {type(content).__name__}")
    parts, left = {}, []
    for name, value in content.items():
        optimiser = isinstance(value, Shell) and value.name.startswith("torch.optim.")
        optimiser |= isinstance(value, dict) and "param_groups" in value
        part = Part({}, {}) if optimiser else _part(value)
        if name in known.parts | known.trunks.keys() and part.weights:
            parts[name] = part
        elif part.weights:
            raise ValueError(f"it has weights in {name!r}, which a {model} has not")
        else:
            left.append(str(name))
    if missing := sorted(known.parts - parts.keys()):
        raise ValueError(
            f"it has no weights in {', '.join(missing)}; it holds {', '.join(map(str, content)) or 'nothing'}"
        )
    return parts, left


def _part(value: Any) -> Part:
    """The weights in a state dict or a module, and the whole numbers among the attributes of its modules."""
    weights: dict[str, StoredTensor] = {}
    numbers: dict[str, int] = {}
    waiting, seen = [("", value)], set()
    while waiting:
        path, thing = waiting.pop()
        if isinstance(thing, StoredTensor):
            weights[path[:-1]] = thing
        elif isinstance(thing, dict):
            waiting += [(f"{path}{key}.", item) for key, item in thing.items() if isinstance(item, StoredTensor)]
        elif isinstance(thing, Shell) and id(thing) not in seen:
            seen.add(id(thing))  # a file may have modules that hold themselves
            own = thing.attributes
            numbers |= {f"{path}{key}": n for key, n in own.items() if type(n) is int}
            passing = own.get("_non_persistent_buffers_set") or {}
            for kind in ("_parameters", "_buffers", "_modules"):
                if isinstance(items := own.get(kind), dict):
                    waiting += [(f"{path}{key}.", item) for key, item in items.items() if key not in passing]
    wrapped = "module." * all(name.startswith("module.") for name in weights)  # by nn.DataParallel
    return Part(
        {name.removeprefix(wrapped): tensor for name, tensor in weights.items()},
        {name.removeprefix(wrapped): number for name, number in numbers.items()},
    )
