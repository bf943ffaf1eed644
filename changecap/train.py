"""Training: one step, one loop, for every captioner.

A batch is of pairs, and each pair brings all its captions: the backbone and the change encoder run once per pair, the
decoder once per caption. The learning rate warms up and then falls along a cosine, counted in steps. A run is
repeatable by its seed; an interrupted one resumes to the same weights as one that was not.
"""

import inspect
import json
import logging
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import zoo
from preprocess import Pair

from . import checkpoint, data, weights
from .captioner import Captioner
from .data.dataset import PairDataset
from .errors import CheckpointError, ConfigError, DataError
from .metrics import score
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)

Stop = Callable[[], bool]


def train(config: Mapping[str, Any], progress: bool = True) -> Path:
    """Train the captioner that ``config`` describes and return the run's folder.

    The folder holds ``config.json`` (resolved), ``versions.json``, ``metrics.jsonl`` and the checkpoints ``best``
    (highest validation score) and ``last`` (with the training state).

    Args:
        config: the plain values of ``configs/train.yaml``.
        progress: show a bar with step, loss, captions/s and the time left.

    Raises:
        ConfigError: a value is out of range, the run's folder is taken, or a resumed run was configured otherwise.
        DataError: the data set cannot be read.
        WeightsUnavailableError: the backbone's weights cannot be had.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; everything up to the last step is saved.
    """
    resume = config.get("resume")
    if resume:
        config = _resumed(Path(resume), config)
    out = Path(config["out"])
    if not resume and (out / "last" / "config.json").exists():
        raise ConfigError(f"{out} already holds a run; go on with it by resume={out}, or give another out=")
    source = weights.resolve(_backbone_name(config), str(config["backbone"]["weights"]))

    torch.manual_seed(config["seed"])
    device = _device(config["device"])
    sets = {split: _dataset(config, split) for split in ("train", "val")}
    vocabulary = _vocabulary(config, sets)
    model = _model(config, len(vocabulary), source).to(device)
    if source is None:
        log.info("backbone %s: random initialisation", _backbone_name(config))
    run = _Run(config, out, model, vocabulary, sets, device, progress)
    if resume:
        run.restore(out / "last")
    else:
        _write_json(out / "config.json", dict(config))
        _write_json(out / "versions.json", versions())
    with _until_signalled() as stop:
        run.loop(stop)
    return out


class _Run:
    """Everything that changes while a captioner is trained."""

    def __init__(
        self,
        config: Mapping[str, Any],
        out: Path,
        model: zoo.Captioner,
        vocabulary: Vocabulary,
        sets: Mapping[str, PairDataset],
        device: torch.device,
        progress: bool,
    ) -> None:
        self.config, self.out, self.model, self.vocabulary = config, out, model, vocabulary
        self.train_set, self.val_set = sets["train"], sets["val"]
        self.device, self.progress = device, progress
        for dataset in sets.values():
            if config["preload"]:
                dataset.preload(config["workers"], progress)
        self.captions = [[vocabulary.encode(c) for c in e.captions] for e in self.train_set.examples]
        self.batches = _batches_per_epoch(len(self.train_set), config["batch"])
        self.steps = config["steps"] or config["epochs"] * self.batches
        self.optimiser = _optimiser(model, config)
        self.step, self.best, self.misses = 0, -math.inf, 0
        self.board = _board(out)
        self.bf16 = config["precision"] == "bf16" or (config["precision"] == "auto" and device.type == "cuda")

    def loop(self, stop: Stop) -> None:
        """Train until the last step, until validation stops improving, or until ``stop()``."""
        every = self.config["validate_every"] or self.batches
        bar = tqdm(
            total=self.steps,
            initial=self.step,
            desc="training",
            unit="step",
            disable=not self.progress,
            file=sys.stderr,
        )
        seen, started, mean_loss = 0, time.perf_counter(), None
        while self.step < self.steps and self.misses <= self.config["patience"]:
            pairs = self._pairs(self.step)
            loss, captions = self._step(pairs)
            self.step += 1
            seen += captions
            rate = seen / (time.perf_counter() - started)
            if not math.isfinite(loss):
                raise ConfigError(
                    f"the loss is {loss} at step {self.step}; lower lr (now {self.config['lr']}) or raise warmup"
                )
            mean_loss = loss if mean_loss is None else 0.98 * mean_loss + 0.02 * loss
            bar.set_postfix_str(f"loss {mean_loss:.3f}, {rate:.0f} captions/s", refresh=False)
            bar.update()
            self._log(
                {"step": self.step, "loss": loss, "lr": self.optimiser.param_groups[0]["lr"], "captions_per_s": rate}
            )
            if stop():
                self.save("last", training=True)
                bar.close()
                raise KeyboardInterrupt(f"stopped at step {self.step}; go on with resume={self.out}")
            if self.step % every == 0 or self.step == self.steps:
                paused = time.perf_counter()
                self._validate(bar)
                started += time.perf_counter() - paused
        bar.close()

    def save(self, name: str, training: bool = False) -> None:
        """Write checkpoint ``name`` of the run."""
        content = {
            "model": _model_arguments(self.config),
            "inputs": self.model.inputs,
            "size": self.config["data"]["size"],
            "data": dict(self.config["data"]),
            "backbone_weights": self.config["backbone"]["weights"],
            "step": self.step,
            "validation": {self.config["score"]: self.best if math.isfinite(self.best) else None},
            "versions": versions(),
        }
        state = self.state() if training else None
        checkpoint.save(self.out / name, self.model, self.vocabulary, content, training=state, tag=f"-{self.step:06d}")

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights: tensors and plain values only."""
        cuda = torch.cuda.get_rng_state() if self.device.type == "cuda" else None
        return {
            "step": self.step,
            "best": self.best,
            "misses": self.misses,
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": cuda,
        }

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in ``folder``."""
        state = checkpoint.load_training(folder)
        self.model.load_state_dict(checkpoint.load(folder)[0].state_dict())
        self.step, self.best, self.misses = state["step"], state["best"], state["misses"]
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"])

    def _pairs(self, step: int) -> list[int]:
        """Which pairs step ``step`` sees; a function of seed and step alone, so that a resumed run sees the same."""
        epoch, index = divmod(step, self.batches)
        order = _order(len(self.train_set), self.config["seed"], epoch)
        size = self.config["batch"]
        return order[index * size : (index + 1) * size]

    def _step(self, pairs: Sequence[int]) -> tuple[float, int]:
        """One step of the optimiser; returns the loss and the number of captions."""
        self.model.train()
        batch = self.train_set.batch(pairs).to(self.device).float()
        rate = self.config["lr"] * schedule(self.step, self.config["warmup"], self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            memory = self.model.encode(*_inputs(batch, self.model.inputs))
            losses = [
                F.cross_entropy(
                    self.model.decode(words[:, :-1], tuple(m[rows] for m in memory))[0].flatten(0, 1).float(),
                    words[:, 1:].flatten(),
                    ignore_index=Vocabulary.pad,
                    label_smoothing=self.config["label_smoothing"],
                    reduction="sum",
                )
                for rows, words in self._sentences(pairs)
            ]
            loss = torch.stack(losses).sum() / sum(len(c) - 1 for i in pairs for c in self.captions[i])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip"])
        self.optimiser.step()
        return loss.item(), sum(len(self.captions[i]) for i in pairs)

    def _sentences(self, pairs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of the batch and their captions ``(B'·K, T)``, short ones apart from long ones, to pad less."""
        captions = [self.captions[i] for i in pairs]
        order = sorted(range(len(pairs)), key=lambda b: max(map(len, captions[b])))
        half = -(-len(order) // 2)
        for rows in filter(None, (order[:half], order[half:])):
            yield torch.tensor(rows, device=self.device), _pad([captions[b] for b in rows]).to(self.device)

    def _validate(self, bar: Any) -> None:
        """Caption the validation pairs, keep the best checkpoint, count how long nothing improved."""
        examples = self.val_set.examples
        captioner = Captioner(self.model.eval(), self.vocabulary, {"size": self.config["data"]["size"]})
        said = {}
        for first in range(0, len(examples), 4 * self.config["batch"]):
            rows = range(first, min(first + 4 * self.config["batch"], len(examples)))
            for i, caption in zip(rows, captioner.caption(self.val_set.batch(rows)), strict=True):
                said[examples[i].id] = caption.text
        corpus = score({e.id: e.captions for e in examples}, said)["corpus"]
        name = self.config["score"]
        if name not in corpus:
            raise ConfigError(f"score={name} is not a score; expected one of: {', '.join(corpus)}")
        self._log({"step": self.step, "validation": corpus})
        bar.write(f"step {self.step}: validation {name} {corpus[name]:.3f}", file=sys.stderr)
        if corpus[name] > self.best:
            self.best, self.misses = corpus[name], 0
            self.save("best")
        else:
            self.misses += 1
        self.save("last", training=True)

    def _log(self, row: Mapping[str, Any]) -> None:
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.board is not None:
            for name, value in {**row, **row.get("validation", {})}.items():
                if isinstance(value, int | float) and name != "step":
                    self.board.add_scalar(name, value, row["step"])


def schedule(step: int, warmup: int, steps: int) -> float:
    """Share of the full learning rate at ``step``: linear warm-up, then half a cosine down to 0 at ``steps``."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def versions() -> dict[str, str]:
    """Versions of what the numbers of a run depend on."""
    names = ("changecap", "torch", "torchvision", "timm", "numpy", "safetensors")
    return {"python": platform.python_version(), "machine": platform.platform()} | {
        n: metadata.version(n) for n in names
    }


def _resumed(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the run in ``folder``, which a resumed run keeps."""
    path = folder / "config.json"
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no run to resume in {folder}: it has no config.json") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is broken: {error}") from error
    return {**stored, "out": str(folder), "resume": str(folder), "device": config["device"]}


def _dataset(config: Mapping[str, Any], split: str) -> PairDataset:
    arguments = {key: config["data"][key] for key in ("name", "root", "size", "palette")}
    return data.load(**arguments, split=split, maps=config["inputs"] != "rgb")


def _vocabulary(config: Mapping[str, Any], sets: Mapping[str, PairDataset]) -> Vocabulary:
    """Words of the training split, or of all splits as the authors do (``vocabulary_splits=all``)."""
    examples = list(sets["train"].examples)
    if config["vocabulary_splits"] == "all":
        with suppress(DataError):  # a data set without a test split has no words there
            examples += _dataset(config, "test").examples
        examples += sets["val"].examples
    return Vocabulary.build((c for e in examples for c in e.captions), config["min_count"])


def _backbone_name(config: Mapping[str, Any]) -> str:
    """The backbone in the configuration, else the one the model was published with."""
    if name := config["backbone"].get("name"):
        return str(name)
    published = inspect.signature(zoo.model_class(config["model"]["name"])).parameters["backbone"].default
    return str((published or {"name": "resnet101"})["name"])


def _model_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name and keyword arguments that build the model again, weights of the backbone left out."""
    backbone = {k: v for k, v in config["backbone"].items() if k != "weights" and v is not None}
    arguments = {**config["model"], "inputs": config["inputs"], "image_size": config["data"]["size"]}
    return arguments | ({"backbone": backbone} if backbone else {})


def _model(config: Mapping[str, Any], vocab: int, source: Path | None) -> zoo.Captioner:
    arguments = {**_model_arguments(config), "vocab": vocab}
    if source is not None:
        arguments["backbone"] = {**arguments.get("backbone", {}), "weights": str(source)}
    return zoo.create_model(**arguments)


def _optimiser(model: zoo.Captioner, config: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms) do not decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config["lr"], betas=(0.9, 0.98), fused=True)


def _batches_per_epoch(pairs: int, batch: int) -> int:
    if pairs == 0:
        raise ConfigError("the training split is empty")
    return -(-pairs // batch)


@lru_cache(maxsize=1)
def _order(pairs: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(pairs, generator=generator).tolist()
    return order


def _pad(captions: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Ids of K captions for each of B pairs as one tensor ``(B·K, T)``; absent captions and words are padding."""
    most = max(len(of_pair) for of_pair in captions)
    length = max(len(caption) for of_pair in captions for caption in of_pair)
    words = torch.full((len(captions), most, length), Vocabulary.pad)
    for b, of_pair in enumerate(captions):
        for k, caption in enumerate(of_pair):
            words[b, k, : len(caption)] = torch.tensor(caption)
    return words.flatten(0, 1)


def _inputs(pair: Pair, inputs: str) -> tuple[Tensor, ...]:
    """What goes into a captioner built for ``inputs``."""
    if inputs == "rgb":
        return pair.a, pair.b
    if pair.sem_a is None or pair.sem_b is None:
        raise ConfigError(f"inputs={inputs} needs maps, and the data set has none; use inputs=rgb")
    return pair.a, pair.b, pair.sem_a, pair.sem_b


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but no CUDA device is to be seen here; use device=cpu")
    return torch.device(name)


def _board(out: Path) -> Any:
    """A TensorBoard writer where TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(out / "tensorboard")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(fresh, path)


@contextmanager
def _until_signalled() -> Iterator[Stop]:
    """Within, Ctrl-C and SIGTERM raise a flag, so that the step at hand is finished and saved; a second ends it."""
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
