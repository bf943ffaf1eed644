"""Training: one step, one loop, for every captioner.

A batch is of pairs, and each pair brings all its captions: the backbone and the change encoder run once per pair, the
decoder once per caption. The learning rate warms up and then falls along a cosine, counted in steps. A run is
repeatable by its seed; an interrupted one resumes to the same weights as one that was not. Several processes can share
each batch; batch norm then sees the statistics of a share, as it does on several GPUs.
"""

import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import preprocess
import zoo
from preprocess import Pair

from .. import data
from ..checkpoints import checkpoint, weights
from ..data.augmentation import Augmentation, chains, with_turned
from ..data.dataset import PairDataset
from ..errors import ConfigError
from ..inference.captioner import Captioner
from ..language.tokenizer import WORD_LIST, Tokenizer
from ..language.vocabulary import Vocabulary
from ..metrics import measure
from . import settings
from .batches import Epochs
from .history import Log, history, versions
from .process_group import Team, assembled

logger = logging.getLogger(__name__)

Stop = Callable[[], bool]


def train(config: Mapping[str, Any], progress: bool = True, tokenizer: Tokenizer | None = None) -> Path:
    """Train the captioner that ``config`` describes and return the run's folder.

    The folder holds ``config.json`` (resolved), ``versions.json``, ``metrics.jsonl`` and the checkpoints ``best``
    (highest validation score) and ``last`` (with the training state). A simulated data set that is not there yet is
    written first.

    Args:
        config: the plain values of ``configs/train.yaml``.
        progress: show a bar with step, loss, captions/s and the time left.
        tokenizer: of the words to say, in place of the word list of the data set's captions; of a registered kind.
            Where there are several processes it is pickled. A resumed run has its own.

    Raises:
        ConfigError: a value is out of range, the run's folder is taken, or the data of a resumed run are others.
        DataError: the data set cannot be read.
        CheckpointError: the disk is full, or the run to resume is damaged; the checkpoints stay as they were.
        WeightsUnavailableError: the backbone's weights cannot be had.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; everything up to the last step is saved.
    """
    resume = config.get("resume")
    if resume:
        config = settings.resumed(Path(resume), config)
    out = Path(config["out"])
    if not resume and (out / "last" / "config.json").exists():
        raise ConfigError(f"{out} already holds a run; go on with it by resume={out}, or give another out=")
    settings.check(config)
    # a resumed run has its weights from its checkpoint
    source = None if resume else weights.resolve(settings.backbone_name(config), str(config["backbone"]["weights"]))
    if source is not None:
        weights.verify(source, settings.backbone_name(config), config["backbone"].get("options"))

    data.ensure(config["data"], progress)
    device = settings.device_of(config["device"])
    if resume:
        tokenizer = _tokenizer_of(out / "last")
    shared = (dict(config), out, source, device, tokenizer)
    with assembled(config.get("processes", 1), device, _train, *shared) as team:
        _train(team, *shared, progress)
    return out


def _train(
    team: Team,
    config: Mapping[str, Any],
    out: Path,
    source: Path | None,
    device: torch.device,
    tokenizer: Tokenizer | None,
    progress: bool = False,
) -> None:
    """What each process of a run does."""
    torch.manual_seed(config["seed"])
    resume = config.get("resume")
    sets = {split: _dataset(config, split) for split in ("train", "val")}
    if tokenizer is None:
        tokenizer = _vocabulary(config, sets)
    model = _model(config, len(tokenizer), source).to(device)
    if source is None and not resume and team.first:
        logger.info("backbone %s: random initialisation", settings.backbone_name(config))
    run = _Run(config, out, model, tokenizer, sets, device, team, progress)
    if resume:
        run.restore(out / "last")
    if not team.first:
        with suppress(KeyboardInterrupt):  # the first process is to stop, and says so
            run.loop(stop=lambda: False, log=lambda row: None)
        return
    with history(out, config, run.step, run.validated) as log, _until_signalled() as stop:
        run.loop(stop, log)


class _Run:
    """Everything that changes while a captioner is trained."""

    def __init__(
        self,
        config: Mapping[str, Any],
        out: Path,
        model: zoo.Captioner,
        tokenizer: Tokenizer,
        sets: Mapping[str, PairDataset],
        device: torch.device,
        team: Team,
        progress: bool,
    ) -> None:
        self.config, self.out, self.model, self.tokenizer = config, out, model, tokenizer
        self.train_set, self.val_set = sets["train"], sets["val"]
        self.device, self.team, self.progress = device, team, progress
        for dataset in sets.values():
            if config["data"].get("pack"):  # absent in runs from before there were packs
                with team.first_alone():
                    dataset.pack(Path(config["data"]["root"]), config["workers"], progress)
            if config["preload"]:
                dataset.preload(config["workers"], progress)
        said = [e.captions for e in self.train_set.examples]
        self.augment = Augmentation(chains(config.get("preprocess"))[1], said, tokenizer, config["seed"])
        self._check_lengths()
        share = config.get("unchanged", 1.0)  # absent in runs from before there was a choice
        self.epochs = Epochs(self.train_set.examples, config["batch"], share, config["seed"])
        self.steps = config["steps"] or config["epochs"] * self.epochs.batches
        self.optimiser = _optimiser(model, config)
        self.step, self.validated, self.best, self.misses = 0, 0, -math.inf, 0
        self.bf16 = config["precision"] == "bf16" or (config["precision"] == "auto" and device.type == "cuda")
        if not team.first:  # which drops out other units than the first one does
            torch.manual_seed(config["seed"] * 1_000_003 + team.rank)

    def _check_lengths(self) -> None:
        """Refuse captions that are longer than what the model can say.

        Raises:
            ConfigError: one is.
        """
        lengths = [len(caption) for of_pair in self.augment.encoded for caption in of_pair]
        # The model is given a caption without its end.
        longest = max(lengths, default=0) - 1
        if longest > self.model.max_words:
            raise ConfigError(
                f"a caption has {longest} words, start counted, and the model says at most {self.model.max_words}: "
                "give it room with model.max_words=, or a tokenizer that makes fewer"
            )

    def loop(self, stop: Stop, log: Log) -> None:
        """Train until the last step, until validation stops improving, or until ``stop()``; rows go to ``log``."""
        every = self.config["validate_every"] or self.epochs.batches
        seen, started, mean_loss = 0, time.perf_counter(), None
        with tqdm(
            total=self.steps,
            initial=self.step,
            desc="training",
            unit="step",
            disable=not self.progress,
            file=sys.stderr,
        ) as bar:
            while True:
                due = self.step % every == 0 or self.step == self.steps
                if due and self.validated < self.step:  # so too after a stop between the step and its validation
                    paused = time.perf_counter()
                    self._validate(log)
                    started += time.perf_counter() - paused
                if self.step >= self.steps or self.misses > self.config["patience"]:
                    return
                loss, captions, left_out, stopped = self._step(self.epochs.at(self.step), stop)
                self.step += 1
                seen += captions
                rate = seen / (time.perf_counter() - started)
                mean_loss = loss if mean_loss is None else 0.98 * mean_loss + 0.02 * loss
                bar.set_postfix_str(f"loss {mean_loss:.3f}, {rate:.0f} captions/s", refresh=False)
                bar.update()
                learning_rate = self.optimiser.param_groups[0]["lr"]
                row = {"step": self.step, "loss": loss, "lr": learning_rate, "captions_per_s": rate}
                log(row | ({"captions_left_out": left_out} if left_out else {}))
                if stopped:
                    self.save("last", training=True)
                    raise KeyboardInterrupt(f"stopped at step {self.step}; go on with resume={self.out}")

    def save(self, name: str, training: bool = False) -> None:
        """Write checkpoint ``name`` of the run; all processes are asked for their training state, one writes."""
        state = self.state() if training else None
        if not self.team.first:
            return
        content = {
            "model": settings.model_arguments(self.config),
            "inputs": self.model.inputs,
            "size": self.config["data"]["size"],
            "data": dict(self.config["data"]),
            "preprocess": preprocess.build((self.config.get("preprocess") or {}).get("steps") or []).config,
            "backbone_weights": self.config["backbone"]["weights"],
            "step": self.step,
            "validation": {self.config["score"]: self.best if math.isfinite(self.best) else None},
            "versions": versions(),
        }
        checkpoint.save(self.out / name, self.model, self.tokenizer, content, training=state)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights: tensors and plain values only."""
        cuda = torch.cuda.get_rng_state() if self.device.type == "cuda" else None
        return {
            "step": self.step,
            "validated": self.validated,
            "pairs": len(self.train_set),
            "best": self.best,
            "misses": self.misses,
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.stack(self.team.gather(torch.get_rng_state())),
            "cuda_rng": None if cuda is None else torch.stack(self.team.gather(cuda)),
        }

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in ``folder``."""
        state = checkpoint.load_training(folder)
        model, tokenizer, _ = checkpoint.load(folder)
        if tokenizer.hash != self.tokenizer.hash or state["pairs"] != len(self.train_set):
            raise ConfigError(
                f"the data are not those that {self.out} was trained on: {len(self.train_set)} pairs and "
                f"{len(self.tokenizer)} words, {state['pairs']} and {len(tokenizer)} before; restore them, or start "
                "a new run"
            )
        self.model.load_state_dict(model.state_dict())
        self.step, self.validated = state["step"], state["validated"]
        self.best, self.misses = state["best"], state["misses"]
        self.optimiser.load_state_dict(state["optimiser"])
        # cloned: torch reads a generator's state from the start of its storage
        torch.set_rng_state(state["rng"].view(self.team.size, -1)[self.team.rank].clone())
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].view(self.team.size, -1)[self.team.rank].clone())

    def _step(self, pairs: Sequence[int], stop: Stop) -> tuple[float, int, int, bool]:
        """One step of the optimiser; returns the loss, the captions, those left out, and whether a process stops."""
        self.model.train()
        rate = self.config["lr"] * schedule(self.step, self.config["warmup"], self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        own = self.team.share(self._evenly(pairs))
        loss, *counts = self._loss(own) if own else (torch.zeros((), device=self.device), 0, 0, 0)
        loss = loss / max(1, counts[0])
        if own:
            loss.backward()
        total, captions, left_out, stopped = self.team.average(self.model, loss.detach(), (*counts, stop()))
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip"])
        if not (math.isfinite(total) and norm.isfinite()):  # before it reaches the weights
            raise ConfigError(
                f"the loss is {total:g} and its gradient {norm:g} at step {self.step + 1}; "
                f"lower lr (now {self.config['lr']}) or raise warmup (now {self.config['warmup']})"
            )
        self.optimiser.step()
        return total, captions, left_out, stopped

    def _evenly(self, pairs: Sequence[int]) -> Sequence[int]:
        """``pairs`` in an order in which every process has about as many words to say, where there are several."""
        if self.team.size == 1:
            return pairs
        return sorted(pairs, key=lambda i: max(map(len, self.train_set.examples[i].captions), default=0))

    def _loss(self, pairs: Sequence[int]) -> tuple[Tensor, int, int, int]:
        """Cross-entropy of all words of ``pairs``; how many these are, of how many captions, and how many left out."""
        batch = self.train_set.batch(pairs).to(self.device).float()
        batch, captions, left_out = self.augment(batch, pairs, self.step * self.team.size + self.team.rank)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            memory = self.model.encode(*_inputs(batch, self.model.inputs))
            losses = [
                F.cross_entropy(
                    self.model.decode(words[:, :-1], tuple(m[rows] for m in memory))[0].flatten(0, 1).float(),
                    words[:, 1:].flatten(),
                    ignore_index=self.tokenizer.pad,
                    label_smoothing=self.config["label_smoothing"],
                    reduction="sum",
                )
                for rows, words in self._sentences(captions)
            ]
        words = sum(len(c) - 1 for of_pair in captions for c in of_pair)
        return torch.stack(losses).sum(), words, sum(map(len, captions)), left_out

    def _sentences(self, captions: Sequence[Sequence[Sequence[int]]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of the batch and their captions ``(B'·K, T)``, in up to four groups by length, to pad less."""
        order = sorted(range(len(captions)), key=lambda b: max(map(len, captions[b])))
        size = max(2, -(-len(order) // 4))
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            yield (
                torch.tensor(rows, device=self.device),
                _pad([captions[b] for b in rows], self.tokenizer.pad).to(self.device),
            )

    def _validate(self, log: Log) -> None:
        """Caption the validation pairs, keep the best checkpoint, count how long nothing improved."""
        examples = self.val_set.examples
        captioner = Captioner(self.model.eval(), self.tokenizer, {"size": self.config["data"]["size"]})
        own, size = self.team.share(range(len(examples))), 4 * self.config["batch"]
        told = {}
        for rows in (own[first : first + size] for first in range(0, len(own), size)):
            for i, caption in zip(rows, captioner.caption(self.val_set.batch(rows)), strict=True):
                told[examples[i].id] = caption.text
        said = {key: text for part in self.team.gather(told) for key, text in part.items()}
        totals = measure({e.id: e.captions for e in examples}, said, others=()).totals()
        corpus = {metric: float(value) for metric, value in totals.items()}
        name = self.config["score"]
        self.validated = self.step
        log({"step": self.step, "validation": corpus})
        if self.progress:
            tqdm.write(f"step {self.step}: validation {name} {corpus[name]:.3f}", file=sys.stderr)
        if corpus[name] > self.best:
            self.best, self.misses = corpus[name], 0
            self.save("best")
        else:
            self.misses += 1
        self.save("last", training=True)


def schedule(step: int, warmup: int, steps: int) -> float:
    """Share of the full learning rate at ``step``: linear warm-up, then half a cosine down to 0 at ``steps``."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _dataset(config: Mapping[str, Any], split: str) -> PairDataset:
    said = data.arguments(config["data"])
    return data.load(**said, split=split, maps=config["inputs"] != "rgb", prepare=chains(config.get("preprocess"))[0])


def _vocabulary(config: Mapping[str, Any], sets: Mapping[str, PairDataset]) -> Vocabulary:
    """Words of the training split, or of all splits as the authors do (``vocabulary_splits=all``)."""
    examples = list(sets["train"].examples)
    if config["vocabulary_splits"] == "all":
        examples += [*sets["val"].examples, *_dataset(config, "test").examples]
    captions = [c for e in examples for c in e.captions]
    vocabulary = Vocabulary.build(captions, config["min_count"])
    if not chains(config.get("preprocess"))[1].turns:
        return vocabulary
    return with_turned(vocabulary, captions, config["min_count"])


def _tokenizer_of(last: Path) -> Tokenizer | None:
    """The tokenizer that the run with the checkpoint ``last`` was given; a word list is made of the data anew.

    Of a word list the run finds out so whether its data are still the same.
    """
    tokenizer = checkpoint.load_tokenizer(last, checkpoint.read_config(last))
    return None if tokenizer.kind == WORD_LIST else tokenizer


def _model(config: Mapping[str, Any], vocab: int, source: Path | None) -> zoo.Captioner:
    arguments = {**settings.model_arguments(config), "vocab": vocab}
    if source is not None:
        arguments["backbone"] = {**arguments.get("backbone", {}), "weights": str(source)}
    try:
        return zoo.create_model(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model {config['model']['name']!r} cannot be built: {error}") from error


def _optimiser(model: zoo.Captioner, config: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms) do not decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config["lr"], betas=(0.9, 0.98), fused=True)


def _pad(captions: Sequence[Sequence[Sequence[int]]], pad: int) -> Tensor:
    """Ids of K captions for each of B pairs as one tensor ``(B·K, T)``; absent captions and words are ``pad``."""
    most = max(len(of_pair) for of_pair in captions)
    length = max(len(caption) for of_pair in captions for caption in of_pair)
    words = torch.full((len(captions), most, length), pad)
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
