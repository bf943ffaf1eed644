"""Our captioners against the authors' own code: run a fixture of what their code printed, compare everything.

A fixture is a folder with ``config.json``, ``state.safetensors``, ``inputs.safetensors``, ``outputs.safetensors``,
``decode.json`` and ``train.json``; weights are random and the backbone is left out: it starts at feature maps.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from zoo import published
from zoo.layers.attention import Attention

from ..checkpoints.checkpoint import load as load_checkpoint
from ..checkpoints.importing import WORDS
from ..errors import CheckpointError, DataError
from ..inference.decoding import Decoding
from ..inference.search import SearchResult, search
from ..io.json_file import read_json
from ..language.vocabulary import SPECIAL

ABSOLUTE, LOSS, SCORE, NORM, TINY = 1e-4, 1e-5, 1e-3, 1e-3, 1e-5  # tolerances of the fixtures


@dataclass(frozen=True)
class Check:
    """One comparison: what was compared, how far apart, how far is allowed, and where it departs first."""

    what: str
    difference: float
    tolerance: float
    ok: bool
    where: str = ""


def parity(fixture: Path, checkpoint: Path | None = None) -> list[Check]:
    """Run the fixture in folder ``fixture``; the order of the checks is the order of the computation.

    ``checkpoint``: a folder that the fixture's weights were imported to, which are compared in place of the fixture's.

    Raises:
        DataError: a file of the fixture is missing or broken.
        DataError: or its weights hold keys, or its configuration arguments, that the model has no place for.
        CheckpointError: ``checkpoint`` is none, is damaged, or was not imported from what the fixture is of.
    """
    config = _json(fixture / "config.json")
    tensors = {name: _tensors(fixture / f"{name}.safetensors") for name in ("state", "inputs", "outputs")}
    state, inputs, outputs = tensors["state"], tensors["inputs"], tensors["outputs"]
    _need("inputs.safetensors", inputs, ("a", "b", "tokens"))
    _need("outputs.safetensors", outputs, ("memory", "scored", "logits", "loss"))
    maps = [inputs[key].float() for key in ("a", "b", "sem_a", "sem_b") if key in inputs]
    model = _build(config, state) if checkpoint is None else _imported(config, checkpoint)

    model.eval()
    with torch.no_grad(), _watch(model, config["model"], list(outputs)) as seen:
        memory = model.encode(*maps)
        logits, _ = model.decode(inputs["tokens"], memory)
    # in the order in which they were computed, so that the first departure is the first mistake
    checks = [_compare(name, ours, outputs[name]) for name, ours in seen.items()]
    for name, ours in published.outputs(config["model"], memory).items():
        _need("outputs.safetensors", outputs, (name,))
        checks.append(_compare(name, ours, outputs[name]))
    scored = outputs["scored"].bool()
    checks.append(_compare("logits", logits[scored], outputs["logits"][scored], rows=scored.nonzero()))
    checks.append(_relative("loss", _loss(logits, inputs["tokens"], scored).item(), outputs["loss"].item(), LOSS))
    for mode, rule in _json(fixture / "decode.json")["modes"].items():
        checks += _decoding(model, memory, config["special"], mode, rule)
    return checks + _training(model, config, inputs["tokens"], scored, maps, _json(fixture / "train.json"))


def table(checks: list[Check]) -> str:
    """The checks as text, a line each, and a verdict."""
    lines = [f"{'':4} {'compared':34} {'difference':>10} {'allowed':>8}  where it departs first"]
    lines += [
        f"{'ok' if c.ok else 'FAIL':4} {c.what:34} {c.difference:10.1e} {c.tolerance:8.0e}  {c.where}" for c in checks
    ]
    failed = [c for c in checks if not c.ok]
    verdict = f"first departure: {failed[0].what}" if failed else "agrees with the authors' code"
    return "\n".join([*lines, f"{len(checks) - len(failed)} of {len(checks)} checks agree; {verdict}"])


def as_json(checks: list[Check]) -> str:
    """The checks as JSON."""
    return json.dumps([asdict(check) for check in checks], indent=1)


def _build(config: dict[str, Any], state: dict[str, Tensor]) -> zoo.Captioner:
    try:
        name, authors = config["model"], (config["authors_arguments"], config["channels"])
        model = zoo.create_model(name, **published.arguments(name, *authors))
        ours = published.convert(name, state, *authors)
    except KeyError as error:
        raise DataError(f"config.json of the fixture lacks {error}") from error
    except ValueError as error:
        raise DataError(f"the fixture has no place in our model: {error}") from error
    missing, unexpected = model.load_state_dict(ours, strict=False)
    if missing or unexpected:
        raise DataError(f"state.safetensors does not fit {name}: missing {missing[:5]}, unexpected {unexpected[:5]}")
    return model


def _imported(config: dict[str, Any], folder: Path) -> zoo.Captioner:
    """The captioner in ``folder`` for the fixture's maps and ids: without its backbone, its words in their order."""
    whole, vocabulary, stored = load_checkpoint(folder)
    order = stored.get("provenance", {}).get("ids")
    if order is None:
        raise CheckpointError(f"{folder} was not imported: its config.json does not say whose ids its words had")
    name, model = config["model"], stored["model"]
    theirs = published.arguments(name, config["authors_arguments"], config["channels"])
    maps = {key: theirs[key] for key in ("backbone", "image_size") if key in theirs}
    special = [config["special"][word.strip("<>")] for word in SPECIAL]
    if model["name"] != name or order[: len(SPECIAL)] != special:
        raise CheckpointError(f"{folder} holds a {model['name']} with other ids than the fixture's {name}")
    state = {key: value for key, value in whole.state_dict().items() if not key.startswith(("backbone.", "backbones."))}
    for key in WORDS:
        state[key] = state[key][torch.tensor(order).argsort()]
    try:
        ours = zoo.create_model(**{**model, **maps, "vocab": len(vocabulary)})
        ours.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} does not take the fixture's maps: {shorten(str(error), 400)}") from error
    return ours


@contextmanager
def _watch(model: zoo.Captioner, name: str, wanted: list[str]) -> Iterator[dict[str, Tensor]]:
    """Within, collect those of the authors' tensors ``wanted`` that a module of ours computes, in their layout."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for tensor in wanted:
        if (place := published.inside(name, tensor)) is not None:
            path, of = place

            def keep(module: nn.Module, args: Any, out: Any, tensor: str = tensor, of: Any = of) -> None:
                seen[tensor] = of(out)

            hooks.append(model.get_submodule(path).register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _decoding(
    model: zoo.Captioner, memory: zoo.Memory, special: dict[str, int], mode: str, rule: dict[str, Any]
) -> list[Check]:
    """Sequences and scores of one mode of decoding."""
    rows = rule.get("samples") or list(range(memory[0].shape[0]))
    lower = rule.get("override", {}).get("end_bias_minus", 0.0)
    bias = _output_bias(model)
    before = bias.detach().clone()
    with torch.no_grad():
        bias[special["end"]] -= lower
        picked = tuple(m[rows] for m in memory)
        decoding = Decoding(beams=rule.get("beams", 1), max_length=rule["max_steps"] + 1)
        found = search(model, picked, decoding, start=special["start"], end=special["end"])
        bias.copy_(before)
    wrong, score_gap, finished_wrong = [], 0.0, []
    for row, ours, theirs in zip(rows, found, rule["results"], strict=True):
        sequence, score = _answer(ours, rule["rule"])
        if sequence != theirs["sequence"]:
            wrong.append(row)
        elif score is not None and theirs.get("score") is not None:
            score_gap = max(score_gap, abs(score - theirs["score"]))
        if rule["rule"] == "beam" and not _same_set(ours, theirs.get("finished") or []):
            finished_wrong.append(row)
    where = [f"samples {bad}" if bad else "" for bad in (wrong, finished_wrong)]
    checks = [
        Check(f"decode {mode}: sequences", len(wrong), 0, not wrong, where[0]),
        Check(f"decode {mode}: scores", score_gap, SCORE, score_gap <= SCORE),
    ]
    if rule["rule"] == "beam":
        checks.append(
            Check(f"decode {mode}: finished hypotheses", len(finished_wrong), 0, not finished_wrong, where[1])
        )
    return checks


def _answer(found: SearchResult, rule: str) -> tuple[list[int] | None, float | None]:
    """What the authors' rule says of ``found``: a beam in which nothing finished says nothing."""
    if rule == "beam" and not found.finished:
        return None, None
    best = found.best()
    return list(best.ids), best.score


def _same_set(ours: SearchResult, theirs: list[Any]) -> bool:
    mine = {h.ids: h.score for h in ours.finished}
    other = {tuple(ids): score for ids, score in theirs}
    return mine.keys() == other.keys() and all(abs(mine[ids] - other[ids]) <= SCORE for ids in mine)


def _training(
    model: zoo.Captioner,
    config: dict[str, Any],
    tokens: Tensor,
    scored: Tensor,
    maps: list[Tensor],
    expected: dict[str, Any],
) -> list[Check]:
    """Loss, gradient norms and BatchNorm statistics of one batch in train mode without dropout."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, Attention):
            module.dropout = 0.0
    loss = _loss(model(tokens, *maps), tokens, scored)
    loss.backward()
    checks = [_relative("train: loss", loss.item(), expected["loss"], LOSS)]
    keys = [*expected["gradient_norm"], *expected["buffers_after"]]
    names = published.rename(config["model"], keys, config["authors_arguments"], config["channels"])
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())

    gap, where, wrong = 0.0, "", []
    for theirs, norm in expected["gradient_norm"].items():
        ours = names[theirs]
        gradient = None if ours is None else parameters[ours].grad
        found = 0.0 if gradient is None else float(gradient.norm())
        if norm is None or norm < TINY:
            if found >= TINY:
                wrong.append(theirs)
            continue
        if (apart := abs(found - norm) / norm) > gap:
            gap, where = apart, theirs
    ok = gap <= NORM and not wrong
    checks.append(Check("train: gradient norms", gap, NORM, ok, ", ".join(wrong) or ("" if ok else where)))

    gap, where = 0.0, ""
    for theirs, value in expected["buffers_after"].items():
        ours = names[theirs]
        if ours is None:
            continue
        apart = (buffers[ours].double() - torch.tensor(value, dtype=torch.float64)).abs().max().item()
        if apart > gap:
            gap, where = apart, theirs
    ok = gap <= ABSOLUTE
    checks.append(Check("train: BatchNorm statistics", gap, ABSOLUTE, ok, "" if ok else where))
    return checks


def _loss(logits: Tensor, tokens: Tensor, scored: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the scored positions; position t scores ``tokens[:, t + 1]``."""
    targets = tokens.roll(-1, dims=1)
    return F.cross_entropy(logits[scored], targets[scored])


def _compare(what: str, ours: Tensor, theirs: Tensor, rows: Tensor | None = None) -> Check:
    if ours.shape != theirs.shape:
        return Check(what, float("inf"), ABSOLUTE, False, f"shape {tuple(ours.shape)}, theirs {tuple(theirs.shape)}")
    apart = (ours - theirs).abs()
    worst = float(apart.max())
    where = ""
    if worst > ABSOLUTE:
        first = (apart > ABSOLUTE).nonzero()[0].tolist()
        where = f"element {first if rows is None else [*rows[first[0]].tolist(), *first[1:]]}"
    return Check(what, worst, ABSOLUTE, worst <= ABSOLUTE, where)


def _relative(what: str, ours: float, theirs: float, tolerance: float) -> Check:
    apart = abs(ours - theirs) / abs(theirs)
    return Check(what, apart, tolerance, apart <= tolerance, "" if apart <= tolerance else f"{ours} for {theirs}")


def _output_bias(model: zoo.Captioner) -> Tensor:
    """The bias of the layer that scores words, which the fixtures lower to make sentences longer."""
    return model.get_parameter("words.head.bias")


def _need(file: str, tensors: dict[str, Tensor], names: tuple[str, ...]) -> None:
    if missing := [name for name in names if name not in tensors]:
        raise DataError(f"{file} of the fixture has no tensor {' and no '.join(missing)}")


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, _absent(path))
    return content


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise DataError(_absent(path)) from None
    except SafetensorError as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _absent(path: Path) -> str:
    return f"a fixture needs {path.name}, and {path.parent} has none"
