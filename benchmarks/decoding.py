"""Decoding: the word loop, batched with an incremental state, against the published loop written plainly.

Decoder alone at the published width (1024), captions of about 11 words, 2 threads; the same sentences from both.
"""

import time

import torch

import zoo
from benchmarks.plain_beam import plain_beam
from benchmarks.report import keep, matmul_rate, read_rate
from changecap.decode import search
from changecap.decoding import Decoding

PAIRS, PLAIN_PAIRS, VOCAB, WIDTH, TOKENS, WORDS = 64, 6, 500, 1024, 196, 11
HEADS, START, END, PAD = 8, 2, 3, 0
THREADS = 2


def build() -> zoo.Captioner:
    """The published decoder with random weights, wide enough awake that sentences differ from pair to pair."""
    torch.manual_seed(0)
    backbone = {"name": "features", "channels": 8}
    model = zoo.create_model("mmodalcc", vocab=VOCAB, backbone=backbone, image_size=14, layers=1, released=True).eval()
    for p in model.get_submodule("words.head").parameters():
        p.data *= 3
    return model


def end_at(model: zoo.Captioner, memory: zoo.Memory, beams: int) -> float:
    """Raise or lower the end's bias until sentences have about :data:`WORDS` words; returns their mean length."""
    bias, low, high = model.get_parameter("words.head.bias").data, -20.0, 20.0
    some = tuple(m[:16] for m in memory)
    for _ in range(10):
        bias[END] = (low + high) / 2
        found = search(model, some, Decoding(beams=beams, max_length=3 * WORDS + 1), start=START, end=END)
        mean = sum(len(f.best().log_probabilities) for f in found) / len(found)
        low, high = (low, bias[END].item()) if mean < WORDS else (bias[END].item(), high)
    return mean


def main() -> None:
    """Print captions/s of both loops and their ratio, greedy and beam 3."""
    rate, bandwidth = matmul_rate(THREADS), read_rate(THREADS)
    model = build()
    torch.manual_seed(1)
    memory = tuple(torch.randn(PAIRS, TOKENS, WIDTH) for _ in range(2))
    some = tuple(m[:PLAIN_PAIRS] for m in memory)
    columns = ("beams", "words", "ours", "plain", "ratio", "same", "arith", "memory")
    lines = [
        "captions/s, decoder alone, width 1024; on the right the limits of the field",
        " ".join(f"{name:>8}" for name in columns),
    ]
    for beams in (1, 3):
        end_at(model, memory, beams)
        ours, took = None, float("inf")
        for _ in range(3):
            start = time.perf_counter()
            ours = search(model, memory, Decoding(beams=beams, max_length=52), start=START, end=END)
            took = min(took, time.perf_counter() - start)
        start = time.perf_counter()
        plain = plain_beam(model, some, start=START, end=END, pad=PAD, beams=beams)
        slow = (time.perf_counter() - start) / PLAIN_PAIRS
        best = [max(p, key=lambda h: h[1])[0] if p else None for p in plain]
        said = [list(f.best().ids) if f.finished else None for f in ours[:PLAIN_PAIRS]]
        same = sum(mine == theirs for mine, theirs in zip(said, best, strict=True))
        words = sum(len(f.best().log_probabilities) for f in ours) / PAIRS
        steps = max(len(h.log_probabilities) for f in ours for h in f.finished + f.unfinished)
        # a word: self-attention 4 matrices of D x D, two cross-attentions 4 each (the memory is not projected), gates
        # 5, feed-forward 8, the head, and for each head the scores and sums over both memories
        flop = 2 * beams * words * (25 * WIDTH**2 + 4 * HEADS * TOKENS * WIDTH + WIDTH * VOCAB)
        # read: both memories once a word, the weights once a step of the batch
        read = 4 * (words * 2 * TOKENS * WIDTH + 25 * WIDTH**2 * steps / PAIRS)
        floors = (rate * 1e9 / flop, bandwidth * 1e9 / read)
        figures = (PAIRS / took, 1 / slow, PAIRS * slow / took)
        shown = " ".join(f"{x:8.2f}" for x in figures)
        limits = " ".join(f"{x:8.1f}" for x in floors)
        lines.append(f"{beams:8d} {words:8.1f} {shown} {f'{same}/{PLAIN_PAIRS}':>8} {limits}")
    lines.append(
        f"arith: multiplications of the algorithm at the measured {rate:.0f} GFLOP/s; memory: what it must read at the "
        f"measured {bandwidth:.1f} GB/s\n(float32, {THREADS} threads; {PAIRS} pairs at a time, the plain loop one)"
    )
    keep("\n".join(lines), "decoding")


if __name__ == "__main__":
    main()
