"""Decoding: the word loop, batched with an incremental state, against the published loop written plainly.

The same random weights and memories for both, sentences of about 11 words. First every captioner at its published size
on one thread, and what decoding adds to a pair beside its backbone and change encoder; then one decoder on two threads
beside what the machine could do.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

import zoo
from benchmarks.plain_beam import plain_beam
from benchmarks.report import keep, matmul_rate, read_rate
from changecap.inference.decoding import Decoding
from changecap.inference.search import SearchResult, search

VOCAB, WORDS, PLAIN_PAIRS = 500, 11, 6
PACE = 2.0  # by how much the end's logit rises with each word
START, END, PAD = 2, 3, 0
BATCH, ENCODED, SIZE, ROUNDS = 32, 8, 256, 5  # pairs decoded and encoded at a time, pixels, times
PAIRS, WIDTH, TOKENS, HEADS, THREADS = 64, 1024, 196, 8, 2  # of the table of limits


@dataclass(frozen=True)
class Compared:
    """Both loops on the same memories: seconds per caption, and how many of :data:`PLAIN_PAIRS` sentences agree.

    ``encode`` is seconds per pair, and ``added`` the median of what decoding took beside it, round by round.
    """

    found: list[SearchResult]
    ours: float
    plain: float
    same: int
    encode: float
    added: float

    @property
    def words(self) -> float:
        """Mean length of our sentences, the end counted."""
        return sum(len(f.best().log_probabilities) for f in self.found) / len(self.found)


def build(name: str, **arguments: Any) -> zoo.Captioner:
    """The captioner as published with random weights, wide enough awake that sentences differ from pair to pair."""
    torch.manual_seed(0)
    model = zoo.create_model(name, vocab=VOCAB, released=True, **arguments).eval()
    for p in model.get_submodule("words.head").parameters():
        p.data *= 3
    model.get_submodule("words").register_forward_hook(_pace)
    return model


def _pace(decoder: torch.nn.Module, inputs: Any, output: tuple[torch.Tensor, zoo.State]) -> None:
    """Let the end become likelier from word to word: random weights say it at once, or never."""
    logits, state = output
    logits[..., END] += PACE * torch.arange(state.length - logits.shape[1], state.length)


def end_at(model: zoo.Captioner, memory: zoo.Memory, beams: int) -> None:
    """Raise or lower the end's bias until sentences have about :data:`WORDS` words, the end counted."""
    bias, low, high = model.get_parameter("words.head.bias").data, -60.0, 60.0
    some = tuple(m[:16] for m in memory)
    for _ in range(10):
        bias[END] = (low + high) / 2
        found = search(model, some, Decoding(beams=beams, max_length=3 * WORDS + 1), start=START, end=END)
        mean = sum(len(f.best().log_probabilities) for f in found) / len(found)
        low, high = (low, bias[END].item()) if mean < WORDS else (bias[END].item(), high)


def compare(
    model: zoo.Captioner,
    memory: zoo.Memory,
    beams: int,
    clock: Callable[[], float],
    encode: Callable[[], object] = lambda: None,
) -> Compared:
    """Both loops, ours the best of :data:`ROUNDS` that take turns with ``encode`` of :data:`ENCODED` pairs."""
    end_at(model, memory, beams)
    pairs, rounds = len(memory[0]), []
    for _ in range(ROUNDS):
        start = clock()
        encode()
        middle = clock()
        ours = search(model, memory, Decoding(beams=beams, max_length=52), start=START, end=END)
        rounds.append(((middle - start) / ENCODED, (clock() - middle) / pairs))
    encoded, took = (min(seconds) for seconds in zip(*rounds, strict=True))
    added = median(decoding / encoding for encoding, decoding in rounds)
    start = clock()
    plain = plain_beam(model, tuple(m[:PLAIN_PAIRS] for m in memory), start=START, end=END, pad=PAD, beams=beams)
    slow = (clock() - start) / PLAIN_PAIRS
    best = [max(p, key=lambda h: h[1])[0] if p else None for p in plain]
    said = [list(f.best().ids) if f.finished else None for f in ours[:PLAIN_PAIRS]]
    same = sum(mine == theirs for mine, theirs in zip(said, best, strict=True))
    return Compared(ours, took, slow, same, encoded, added)


def encoder(model: zoo.Captioner) -> Callable[[], zoo.Memory]:
    """What encodes :data:`ENCODED` pairs of noise."""
    images = [torch.rand(ENCODED, 3, SIZE, SIZE) for _ in range(2)]
    maps = [torch.randint(0, 7, (ENCODED, SIZE, SIZE)) for _ in range(2)]
    seen = (*images, *(maps if model.inputs != "rgb" else ()))
    return torch.no_grad()(lambda: model.encode(*seen))


def captioners(beams: int = 3) -> str:
    """A row per captioner: both loops, and what decoding adds to a pair."""
    torch.set_num_threads(1)
    columns = ("words", "ours", "plain", "ratio", "same", "encoder", "whole", "added")
    lines = [
        f"CPU seconds per caption, published size, beam {beams}, batch {BATCH}, one thread; on the right per pair: "
        "backbone and\nchange encoder, the same and decoding, and how much that is more (median of rounds, taken in "
        "turns)",
        f"{'':12} " + " ".join(f"{name:>8}" for name in columns),
    ]
    for name in zoo.list_models():
        model = build(name)
        encode = encoder(model)
        shaped = encode()
        torch.manual_seed(1)  # images of noise are all alike to random weights
        memory = tuple(torch.randn(BATCH, *m.shape[1:]) for m in shaped)
        row = compare(model, memory, beams, time.process_time, encode)
        shown = f"{row.words:8.1f} {row.ours:8.4f} {row.plain:8.3f} {row.plain / row.ours:8.1f}"
        whole = f"{row.encode:8.3f} {row.encode + row.ours:8.3f} {row.added:8.1%}"
        lines.append(f"{name:12} {shown} {f'{row.same}/{PLAIN_PAIRS}':>8} {whole}")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def limits() -> str:
    """Captions/s of MModalCC's decoder and what arithmetic and memory of the machine would allow."""
    rate, bandwidth = matmul_rate(THREADS), read_rate(THREADS)
    model = build("mmodalcc", backbone={"name": "features", "channels": 8}, image_size=14, layers=1)
    torch.manual_seed(1)
    memory = tuple(torch.randn(PAIRS, TOKENS, WIDTH) for _ in range(2))
    columns = ("beams", "words", "ours", "plain", "ratio", "same", "arith", "memory")
    lines = [
        f"captions/s, decoder of MModalCC alone, {THREADS} threads; on the right the limits of the machine",
        " ".join(f"{name:>8}" for name in columns),
    ]
    for beams in (1, 3):
        row = compare(model, memory, beams, time.perf_counter)
        steps = max(len(h.log_probabilities) for f in row.found for h in f.finished + f.unfinished)
        # a word: self-attention 4 matrices of D x D, two cross-attentions 4 each (the memory is not projected), gates
        # 5, feed-forward 8, the head, and for each head the scores and sums over both memories
        flop = 2 * beams * row.words * (25 * WIDTH**2 + 4 * HEADS * TOKENS * WIDTH + WIDTH * VOCAB)
        # read: both memories once a word, the weights once a step of the batch
        read = 4 * (row.words * 2 * TOKENS * WIDTH + 25 * WIDTH**2 * steps / PAIRS)
        figures = (1 / row.ours, 1 / row.plain, row.plain / row.ours)
        shown = " ".join(f"{x:8.2f}" for x in figures)
        floors = " ".join(f"{x:8.1f}" for x in (rate * 1e9 / flop, bandwidth * 1e9 / read))
        lines.append(f"{beams:8d} {row.words:8.1f} {shown} {f'{row.same}/{PLAIN_PAIRS}':>8} {floors}")
    lines.append(
        f"arith: multiplications of the algorithm at the measured {rate:.0f} GFLOP/s; memory: what it must read at the "
        f"measured {bandwidth:.1f} GB/s\n(float32, {THREADS} threads; {PAIRS} pairs at a time, the plain loop one)"
    )
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    keep(f"{captioners()}\n\n{limits()}", "decoding")


if __name__ == "__main__":
    main()
