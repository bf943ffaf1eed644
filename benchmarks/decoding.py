"""Decoding: the word loop, batched with an incremental state, against the published loop written plainly.

Decoder alone at the published width (1024), captions of about 11 words, 2 threads; the same sentences from both.
"""

import time

import torch

import zoo
from benchmarks.plain_beam import plain_beam
from benchmarks.report import keep, matmul_rate
from changecap.decode import search

PAIRS, PLAIN_PAIRS, VOCAB, WIDTH, TOKENS, WORDS = 64, 6, 500, 1024, 196, 11
START, END, PAD = 2, 3, 0
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
    for _ in range(12):
        bias[END] = (low + high) / 2
        found = search(model, memory, start=START, end=END, beams=beams, max_words=51)
        mean = sum(len(f.best().log_probabilities) for f in found) / len(found)
        low, high = (low, bias[END].item()) if mean < WORDS else (bias[END].item(), high)
    return mean


def main() -> None:
    """Print captions/s of both loops and their ratio, greedy and beam 3."""
    rate = matmul_rate(THREADS)
    model = build()
    torch.manual_seed(1)
    memory = tuple(torch.randn(PAIRS, TOKENS, WIDTH) for _ in range(2))
    some = tuple(m[:PLAIN_PAIRS] for m in memory)
    columns = ("beams", "words", "ours", "plain", "ratio", "same", "floor")
    lines = ["captions/s, decoder alone", " ".join(f"{name:>8}" for name in columns)]
    for beams in (1, 3):
        words = end_at(model, memory, beams)
        ours, took = None, float("inf")
        for _ in range(3):
            start = time.perf_counter()
            ours = search(model, memory, start=START, end=END, beams=beams, max_words=51)
            took = min(took, time.perf_counter() - start)
        start = time.perf_counter()
        plain = plain_beam(model, some, start=START, end=END, pad=PAD, beams=beams)
        slow = (time.perf_counter() - start) / PLAIN_PAIRS
        best = [max(p, key=lambda h: h[1])[0] if p else None for p in plain]
        said = [list(f.best().ids) if f.finished else None for f in ours[:PLAIN_PAIRS]]
        same = sum(mine == theirs for mine, theirs in zip(said, best, strict=True))
        # a word: self-attention 4 matrices of D x D, two cross-attentions 2 x 2, gates 5, feed-forward 8, and the head;
        # a pair: keys and values of both memories, 4 matrices for each token
        flop = 2 * (beams * words * (21 * WIDTH**2 + WIDTH * VOCAB) + 4 * TOKENS * WIDTH**2)
        figures = (PAIRS / took, 1 / slow, PAIRS * slow / took)
        shown = " ".join(f"{x:8.2f}" for x in figures)
        lines.append(f"{beams:8d} {words:8.1f} {shown} {f'{same}/{PLAIN_PAIRS}':>8} {rate * 1e9 / flop:8.1f}")
    lines.append(
        f"floor: multiplications of the algorithm at the measured {rate:.0f} GFLOP/s (float32, {THREADS} threads)"
    )
    keep("\n".join(lines), "decoding")


if __name__ == "__main__":
    main()
