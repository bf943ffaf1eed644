"""The published beam search written plainly: one pair at a time, every position recomputed at every step.

The reference that the tests hold the real word loop against, and the baseline of the decoding benchmark.
"""

import torch

from zoo import Captioner, Memory

POSITIONS = 52


@torch.no_grad()
def plain_beam(
    model: Captioner, memory: Memory, *, start: int, end: int, pad: int, beams: int, max_words: int = POSITIONS - 1
) -> list[list[tuple[list[int], float]]]:
    """All finished ``(ids, score)`` per pair, in the order of completion."""
    return [
        _one(model, tuple(m[i : i + 1] for m in memory), start, end, pad, beams, max_words)
        for i in range(memory[0].shape[0])
    ]


def _one(
    model: Captioner, memory: Memory, start: int, end: int, pad: int, beams: int, max_words: int
) -> list[tuple[list[int], float]]:
    memory = tuple(m.expand(beams, *m.shape[1:]) for m in memory)
    words = torch.full((beams, POSITIONS), pad)
    words[:, 0] = start
    scores = torch.zeros(beams)
    finished: list[tuple[list[int], float]] = []
    for step in range(1, max_words + 1):
        k = len(words)
        logits, _ = model.decode(words, tuple(m[:k] for m in memory))
        total = scores.unsqueeze(1) + logits[:, step - 1].log_softmax(-1)
        choices = total[0] if step == 1 else total.flatten()
        scores, index = choices.topk(k)
        words = words[index // logits.shape[-1]].clone()
        words[:, min(step, POSITIONS - 1)] = index % logits.shape[-1]
        done = words[:, step] == end
        for row in done.nonzero().flatten().tolist():
            finished.append((words[row, : step + 1].tolist(), float(scores[row])))
        words, scores = words[~done], scores[~done]
        if not len(words):
            break
    return finished
