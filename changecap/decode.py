"""The word loop: from change memory to sentences of ids.

The only one in the repository. It knows ids and log-probabilities; words, images and files it does not. A captioner
gives ``encode`` and ``decode`` (see ``zoo.captioner``), the loop does the rest: all pairs of a batch at once, one new
word per step through the incremental state, finished pairs leave the batch.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo import Captioner, Memory

STAY = 0.7  # share of open pairs above which nobody leaves: to cut the memory is to copy it


@dataclass(frozen=True)
class Hypothesis:
    """One sentence of ids, start included, end included where it was reached.

    ``log_probabilities`` are natural logarithms, one per word after the start; ``score`` is their sum.
    """

    ids: tuple[int, ...]
    score: float
    log_probabilities: tuple[float, ...]
    finished: bool


@dataclass
class Found:
    """All that the search found for one pair, in the order of completion."""

    finished: list[Hypothesis] = field(default_factory=list)
    unfinished: list[Hypothesis] = field(default_factory=list)

    def best(self, length_penalty: float = 0.0) -> Hypothesis:
        """The finished one with the highest score / words ** penalty (first on ties), else the best unfinished."""
        return max(self.finished or self.unfinished, key=lambda h: h.score / len(h.log_probabilities) ** length_penalty)


@torch.no_grad()
def search(
    model: Captioner, memory: Memory, *, start: int, end: int, beams: int = 1, max_words: int = 50
) -> list[Found]:
    """Beam search with a shrinking beam; one beam is greedy decoding.

    At each step the best ``beams`` continuations of a pair stay; those that end leave the beam and make it narrower,
    until none is left or ``max_words`` words (the end counted) are said. Scores are plain sums of log-probabilities.
    This is the search of the four published code bases, which keep only finished hypotheses and take the best by sum.

    Args:
        model: in evaluation mode.
        memory: what ``model.encode`` returned for B pairs.
        start: id that begins a sentence.
        end: id that ends one.
        beams: width of the beam.
        max_words: most words after the start.

    Returns:
        One :class:`Found` per pair.

    Raises:
        ValueError: ``beams`` or ``max_words`` is below 1, or the beam is wider than the vocabulary.
    """
    if beams < 1 or max_words < 1:
        raise ValueError(f"beams and max_words must be at least 1, got beams={beams}, max_words={max_words}")
    device, count = memory[0].device, memory[0].shape[0]
    found = [Found() for _ in range(count)]
    pairs = torch.arange(count, device=device)  # which pair each row of the batch is; B shrinks
    live = torch.full((count,), beams, device=device)  # beams still open, per pair
    ids = torch.full((count, 1, 1), start, device=device)  # (B, K, T)
    log_probabilities = torch.zeros(count, 1, 0, device=device)  # (B, K, T - 1)
    scores = torch.zeros(count, 1, device=device)  # (B, K); -inf where the beam is closed
    state = None
    for _ in range(max_words):
        logits, state = model.decode(ids[:, :, -1].reshape(-1, 1), memory, state)
        step = logits[:, -1].float().log_softmax(-1).unflatten(0, ids.shape[:2])  # (B, K, V)
        open_before, vocab = step.shape[1:]
        if beams > vocab:
            raise ValueError(f"a beam of {beams} is wider than the vocabulary of {vocab} words")
        width = int(live.max())
        scores, choice = (scores.unsqueeze(2) + step).flatten(1).topk(min(width, open_before * vocab))
        row, word = choice // vocab, choice % vocab  # (B, K)
        ids = torch.cat([_rows(ids, row), word.unsqueeze(2)], dim=2)
        gained = step.flatten(1).gather(1, choice)
        log_probabilities = torch.cat([_rows(log_probabilities, row), gained.unsqueeze(2)], dim=2)
        rank = torch.arange(scores.shape[1], device=device)
        scores = scores.masked_fill(rank >= live.unsqueeze(1), -torch.inf)  # a narrower beam takes fewer
        ended = (word == end) & scores.isfinite()
        for b, k in ended.nonzero().tolist():
            found[int(pairs[b])].finished.append(_hypothesis(ids[b, k], log_probabilities[b, k], finished=True))
        live = live - ended.sum(1)
        scores = scores.masked_fill(ended, -torch.inf)
        keep = live.nonzero().squeeze(1)
        if not len(keep):
            break
        if len(keep) > STAY * len(live):
            keep = torch.arange(len(live), device=device)
        # the open beams first, and no more than the widest pair needs
        order = scores[keep].argsort(dim=1, descending=True, stable=True)[:, : int(live.max())]
        all_stay = len(keep) == len(live)
        if not (all_stay and open_before == order.shape[1] == 1):
            past = keep.unsqueeze(1) * open_before + row[keep].gather(1, order)
            state = state.select(past.flatten())
        memory = memory if all_stay else tuple(m[keep] for m in memory)
        pairs, live = pairs[keep], live[keep]
        ids, log_probabilities = _rows(ids[keep], order), _rows(log_probabilities[keep], order)
        scores = scores[keep].gather(1, order)
    else:
        for b, k in scores.isfinite().nonzero().tolist():
            found[int(pairs[b])].unfinished.append(_hypothesis(ids[b, k], log_probabilities[b, k], finished=False))
    return found


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, K') of ``x`` (B, K, T)."""
    return x.gather(1, index.unsqueeze(2).expand(-1, -1, x.shape[2]))


def _hypothesis(ids: Tensor, log_probabilities: Tensor, finished: bool) -> Hypothesis:
    gained = log_probabilities.tolist()
    return Hypothesis(tuple(ids.tolist()), sum(gained), tuple(gained), finished)
