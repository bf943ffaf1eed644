"""The word loop: from change memory to sentences of ids.

The only one in the repository. It knows ids and log-probabilities; words, images and files it does not. A captioner
gives ``encode`` and ``decode`` (see ``zoo.captioner``), the loop does the rest: all pairs of a batch at once, one new
word per step through the incremental state, finished pairs leave the batch.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo import Captioner, Memory

from ..errors import ConfigError
from .decoding import Decoding

STAY = 0.7  # share of open pairs above which nobody leaves: to cut the memory is to copy it


@dataclass(frozen=True)
class Hypothesis:
    """One sentence of ids, start included, end included where it was reached.

    ``log_probabilities`` are natural logarithms, one per word after the start, as the model has them, whatever the
    settings let be said; ``score`` is their sum.
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

    def ranked(self, length_penalty: float = 0.0) -> list[Hypothesis]:
        """By score / words ** penalty, highest first (first found on ties); the finished go before the unfinished."""

        def worth(h: Hypothesis) -> float:
            return h.score / len(h.log_probabilities) ** length_penalty

        return sorted(self.finished, key=worth, reverse=True) + sorted(self.unfinished, key=worth, reverse=True)

    def best(self, length_penalty: float = 0.0) -> Hypothesis:
        """The first of those :meth:`ranked`."""
        return self.ranked(length_penalty)[0]


@torch.no_grad()
def search(
    model: Captioner,
    memory: Memory,
    decoding: Decoding,
    *,
    start: int,
    end: int,
    generator: torch.Generator | None = None,
) -> list[Found]:
    """Search for sentences, or draw them.

    The beam shrinks: at each step the best continuations of a pair stay; those that end leave the beam and make it
    narrower, until none is left or ``max_length`` is reached. Scores are sums of log-probabilities in float32. With
    nothing but ``beams`` and ``max_length`` set this is the search of the four published code bases, which keep only
    finished hypotheses and take the best by sum.

    Args:
        model: in evaluation mode.
        memory: what ``model.encode`` returned for B pairs.
        decoding: how to search.
        start: id that begins a sentence.
        end: id that ends one.
        generator: what words are drawn with; the same for the same batch gives the same sentences.

    Returns:
        One :class:`Found` per pair, none of them empty.

    Raises:
        ConfigError: the settings do not fit the vocabulary (a beam wider than it, a word outside it), leave nothing to
            say, or draw words without a generator.
    """
    if decoding.do_sample and generator is None:
        raise ConfigError("do_sample draws words: give generator=torch.Generator().manual_seed(...)")
    device, count = memory[0].device, memory[0].shape[0]
    groups, width = decoding.searches
    found = [Found() for _ in range(count)]
    pairs = torch.arange(count, device=device)  # which pair each row of the batch is; B shrinks
    live = torch.full((count, groups), width, device=device)  # width that is left to each search
    ids = torch.full((count, groups, 1, 1), start, device=device)  # (B, G, K, T)
    log_probabilities = torch.zeros(count, groups, 1, 0, device=device)  # (B, G, K, T - 1)
    scores = torch.zeros(count, groups, 1, device=device)  # (B, G, K); -inf where the beam is closed
    state = None
    for said in range(1, decoding.max_length):
        logits, state = model.decode(ids[..., -1].reshape(-1, 1), memory, state)
        step = logits[:, -1].float().log_softmax(-1).unflatten(0, ids.shape[:3])  # (B, G, K, V)
        open_before, vocab = step.shape[2:]
        if said == 1:
            decoding.check(vocab, start, end)
        total = scores.unsqueeze(3) + _allowed(step, ids, decoding, end)
        scores, choice = _choose(total, live, ids, decoding, generator)  # (B, G, K)
        row, word = choice // vocab, choice % vocab
        ids = torch.cat([_rows(ids, row), word.unsqueeze(3)], dim=3)
        gained = step.flatten(2).gather(2, choice)
        log_probabilities = torch.cat([_rows(log_probabilities, row), gained.unsqueeze(3)], dim=3)
        ended = (word == end) & scores.isfinite()
        for b, g, k in ended.nonzero().tolist():
            found[int(pairs[b])].finished.append(_hypothesis(ids[b, g, k], log_probabilities[b, g, k], finished=True))
        live = live - ended.sum(2)
        scores = scores.masked_fill(ended, -torch.inf)
        keep = scores.isfinite().flatten(1).any(1).nonzero().squeeze(1)
        if not len(keep):
            break
        if len(keep) > STAY * len(live):
            keep = torch.arange(len(live), device=device)
        # the open beams first, and no more than the widest search needs
        order = scores[keep].argsort(dim=2, descending=True, stable=True)[:, :, : int(live.max())]
        all_stay = len(keep) == len(live)
        if not (all_stay and open_before == order.shape[2] == 1):
            searches = torch.arange(len(live) * groups, device=device).view(-1, groups)[keep]
            past = searches.unsqueeze(2) * open_before + row[keep].gather(2, order)
            state = state.select(past.flatten())
        memory = memory if all_stay else tuple(m.index_select(0, keep) for m in memory)
        pairs, live = pairs[keep], live[keep]
        ids, log_probabilities = _rows(ids[keep], order), _rows(log_probabilities[keep], order)
        scores = scores[keep].gather(2, order)
    else:
        for b, g, k in scores.isfinite().nonzero().tolist():
            hypothesis = _hypothesis(ids[b, g, k], log_probabilities[b, g, k], finished=False)
            found[int(pairs[b])].unfinished.append(hypothesis)
    for i, one in enumerate(found):
        if not one.finished and not one.unfinished:
            raise ConfigError(
                f"nothing can be said about pair {i} of the batch: {decoding} leaves no word at some place, or the "
                "model's scores are no numbers; loosen the settings, or look at the weights"
            )
    return found


# Which words may follow: log-probabilities (B, G, K, V) to such, -inf where a word may not


def _allowed(step: Tensor, ids: Tensor, decoding: Decoding, end: int) -> Tensor:
    """What may follow sentences ``ids`` ``(B, G, K, T)``, or may be drawn to follow them."""
    if decoding.bad_words:
        step = step.index_fill(3, step.new_tensor(decoding.bad_words, dtype=torch.long), -torch.inf)
    if decoding.no_repeat_ngram_size:
        step = step.masked_fill(_repeats(ids, decoding.no_repeat_ngram_size, step.shape[3]), -torch.inf)
    if ids.shape[3] < decoding.min_length:
        step = _unless(torch.zeros_like(ids[..., 0], dtype=torch.bool), step, end)
    if decoding.force_words:
        step = _unless(_already(ids, decoding).all(3), step, end)
    if decoding.do_sample:
        step = _nucleus(_likeliest(step / decoding.temperature, decoding.top_k), decoding.top_p)
    return step


def _unless(may_end: Tensor, step: Tensor, end: int) -> Tensor:
    """The end only where ``may_end`` ``(B, G, K)``."""
    ends = torch.arange(step.shape[3], device=step.device) == end
    return step.masked_fill(ends & ~may_end.unsqueeze(3), -torch.inf)


def _repeats(ids: Tensor, size: int, vocab: int) -> Tensor:
    """Whether each word ``(B, G, K, V)`` would end a run of ``size`` words that its sentence holds already."""
    again = torch.zeros(*ids.shape[:3], vocab, device=ids.device)
    if ids.shape[3] >= size:
        runs = ids.unfold(3, size, 1)  # (B, G, K, runs, size)
        same = (runs[..., :-1] == ids[:, :, :, None, ids.shape[3] - size + 1 :]).all(4)
        again.scatter_add_(3, runs[..., -1], same.float())
    return again > 0


def _likeliest(step: Tensor, count: int) -> Tensor:
    """The ``count`` likeliest words; 0 is all."""
    if not 0 < count < step.shape[3]:
        return step
    return step.masked_fill(step < step.topk(count).values[..., -1:], -torch.inf)


def _nucleus(step: Tensor, share: float) -> Tensor:
    """The fewest likeliest words that have a ``share`` of the probability (Holtzman et al. 2020)."""
    if share == 1:
        return step
    likely, order = step.softmax(3).sort(dim=3, descending=True, stable=True)
    beyond = likely.cumsum(3) - likely >= share
    return step.masked_fill(torch.zeros_like(beyond).scatter(3, order, beyond), -torch.inf)


# Which of the continuations (B, G, K, V) stay: scores and places in K·V (B, G, K'), no more than ``live`` (B, G)


def _choose(
    total: Tensor, live: Tensor, ids: Tensor, decoding: Decoding, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The continuations that stay; closed ones have a score of -inf."""
    width = int(live.max())
    if generator is not None and decoding.do_sample:
        _, choice = _best(total + _gumbel(total, generator), live, width)
        return _narrowed(total.flatten(2).gather(2, choice), live), choice
    if decoding.force_words:
        return _best_in_turn(total, live, width, ids, decoding)
    if decoding.num_beam_groups > 1:
        return _best_apart(total, live, width, decoding.diversity_penalty)
    return _best(total, live, width)


def _best(total: Tensor, live: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The highest scores."""
    scores, choice = total.flatten(-2).topk(width)
    return _narrowed(scores, live), choice


def _narrowed(scores: Tensor, live: Tensor) -> Tensor:
    """A narrower beam takes fewer."""
    rank = torch.arange(scores.shape[-1], device=scores.device)
    return scores.masked_fill(rank >= live.unsqueeze(-1), -torch.inf)


def _best_apart(total: Tensor, live: Tensor, width: int, penalty: float) -> tuple[Tensor, Tensor]:
    """The highest scores of one group after the other, less ``penalty`` for what earlier groups have just said."""
    times = torch.zeros_like(total[:, 0, 0])  # (B, V)
    chosen = []
    for group in range(total.shape[1]):
        scores, choice = _best(total[:, group] - penalty * times.unsqueeze(1), live[:, group], width)
        times.scatter_add_(1, choice % total.shape[3], scores.isfinite().float())
        chosen.append((scores, choice))
    scores, choice = (torch.stack(part, dim=1) for part in zip(*chosen, strict=True))
    return scores, choice


def _best_in_turn(total: Tensor, live: Tensor, width: int, ids: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """The best of those that said all forced words, of those that lack one, and so on; then the second of each."""
    forced = torch.tensor(decoding.force_words, device=total.device)
    already = _already(ids, decoding)  # (B, G, K, words)
    words_said = already.sum(3, keepdim=True).repeat(1, 1, 1, total.shape[3])
    words_said[..., forced] += ~already
    room = decoding.max_length - ids.shape[3] - 1
    total = total.masked_fill(words_said + room < len(forced), -torch.inf)
    counts = range(len(forced), -1, -1)
    best = [total.masked_fill(words_said != n, -torch.inf).flatten(2).topk(width) for n in counts]
    scores, choice = (torch.stack(part, dim=3).flatten(2) for part in zip(*best, strict=True))
    order = scores.isfinite().byte().argsort(dim=2, descending=True, stable=True)[:, :, :width]
    return _narrowed(scores.gather(2, order), live), choice.gather(2, order)


def _already(ids: Tensor, decoding: Decoding) -> Tensor:
    """Which of the forced words sentences ``ids`` ``(B, G, K, T)`` hold, ``(B, G, K, words)``."""
    forced = torch.tensor(decoding.force_words, dtype=torch.long, device=ids.device)
    return (ids.unsqueeze(4) == forced).any(3)


def _gumbel(total: Tensor, generator: torch.Generator) -> Tensor:
    """Noise; the highest log-probability with it is one drawn from the softmax."""
    waits = torch.empty(total.shape, device=generator.device).exponential_(generator=generator)
    return -waits.clamp_min(torch.finfo(waits.dtype).tiny).log().to(total.device)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, G, K') of ``x`` (B, G, K, T)."""
    return x.gather(2, index.unsqueeze(3).expand(-1, -1, -1, x.shape[3]))


def _hypothesis(ids: Tensor, log_probabilities: Tensor, finished: bool) -> Hypothesis:
    gained = log_probabilities.tolist()
    return Hypothesis(tuple(ids.tolist()), sum(gained), tuple(gained), finished)
