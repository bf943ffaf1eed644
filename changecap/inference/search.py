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
from .decoding import Decoding, Ids

# Finished pairs stay in the batch while more than this share is open: to cut the memory is to copy it.
KEEP_FINISHED = 0.7


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
class SearchResult:
    """All that the search found for one pair, in the order of completion."""

    finished: list[Hypothesis] = field(default_factory=list)
    unfinished: list[Hypothesis] = field(default_factory=list)

    def ranked(self, length_penalty: float = 0.0) -> list[Hypothesis]:
        """By score / words ** penalty, highest first (first found on ties); the finished go before the unfinished."""

        def worth(hypothesis: Hypothesis) -> float:
            return hypothesis.score / len(hypothesis.log_probabilities) ** length_penalty

        finished = sorted(self.finished, key=worth, reverse=True)
        unfinished = sorted(self.unfinished, key=worth, reverse=True)
        return finished + unfinished

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
) -> list[SearchResult]:
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
        One :class:`SearchResult` per pair, none of them empty.

    Raises:
        ConfigError: the settings do not fit the vocabulary (a beam wider than it, a word outside it), leave nothing to
            say, or draw words without a generator.
    """
    if decoding.do_sample and generator is None:
        raise ConfigError("do_sample draws words: give generator=torch.Generator().manual_seed(...)")
    found = [SearchResult() for _ in range(memory[0].shape[0])]
    beam = _Beam.of(memory, decoding, start)
    state = None
    for said in range(1, decoding.max_length):
        logits, state = model.decode(beam.last_words, memory, state)
        step = logits[:, -1].float().log_softmax(-1)
        step = step.unflatten(0, beam.ids.shape[:3])  # B G K V
        if said == 1:
            decoding.check(step.shape[3], start, end)

        total = beam.scores.unsqueeze(3) + _allowed(step, beam.ids, decoding, end)
        scores, choice = _choose(total, beam.live, beam.ids, decoding, generator)
        row = beam.extend(step, scores, choice)
        beam.close_ended(end, found)

        keep = beam.open_pairs()
        if not len(keep):
            break
        all_stay = len(keep) == len(beam.pairs)
        past = beam.narrow(keep, row, step.shape[2])
        if past is not None:
            state = state.select(past)
        if not all_stay:
            memory = tuple(m.index_select(0, keep) for m in memory)
    else:
        beam.give_unfinished(found)

    _need_sentences(found, decoding)
    return found


def _need_sentences(found: list[SearchResult], decoding: Decoding) -> None:
    """Refuse a pair about which nothing was found to say."""
    for i, one in enumerate(found):
        if not one.finished and not one.unfinished:
            raise ConfigError(
                f"nothing can be said about pair {i} of the batch: {decoding} leaves no word at some place, or the "
                "model's scores are no numbers; loosen the settings, or look at the weights"
            )


@dataclass
class _Beam:
    """The open sentences of all pairs: B pairs that are still in the batch, G searches each, K sentences each."""

    pairs: Tensor  # B: which pair of the call each row is
    live: Tensor  # B G: width that is left to each search
    ids: Tensor  # B G K T
    log_probabilities: Tensor  # B G K T-1
    scores: Tensor  # B G K; -inf where the beam is closed

    @classmethod
    def of(cls, memory: Memory, decoding: Decoding, start: int) -> "_Beam":
        """A sentence that has only begun for each search of each pair."""
        device, count = memory[0].device, memory[0].shape[0]
        groups, width = decoding.searches
        return cls(
            pairs=torch.arange(count, device=device),
            live=torch.full((count, groups), width, device=device),
            ids=torch.full((count, groups, 1, 1), start, device=device),
            log_probabilities=torch.zeros(count, groups, 1, 0, device=device),
            scores=torch.zeros(count, groups, 1, device=device),
        )

    @property
    def last_words(self) -> Tensor:
        """What the decoder is fed next, ``(B·G·K, 1)``."""
        return self.ids[..., -1].reshape(-1, 1)

    def extend(self, step: Tensor, scores: Tensor, choice: Tensor) -> Tensor:
        """Add the words of ``choice``, places in K·V; returns which sentence each goes on from, ``(B, G, K')``."""
        vocab = step.shape[3]
        row, word = choice // vocab, choice % vocab
        gained = step.flatten(2).gather(2, choice)
        self.ids = torch.cat([_rows(self.ids, row), word.unsqueeze(3)], dim=3)
        self.log_probabilities = torch.cat([_rows(self.log_probabilities, row), gained.unsqueeze(3)], dim=3)
        self.scores = scores
        return row

    def close_ended(self, end: int, found: list[SearchResult]) -> None:
        """Give sentences that have ended to ``found``; each makes its search narrower."""
        ended = (self.ids[..., -1] == end) & self.scores.isfinite()
        for b, g, k in ended.nonzero().tolist():
            found[int(self.pairs[b])].finished.append(self._hypothesis(b, g, k, finished=True))
        self.live = self.live - ended.sum(2)
        self.scores = self.scores.masked_fill(ended, -torch.inf)

    def give_unfinished(self, found: list[SearchResult]) -> None:
        """Give the open sentences to ``found``."""
        for b, g, k in self.scores.isfinite().nonzero().tolist():
            found[int(self.pairs[b])].unfinished.append(self._hypothesis(b, g, k, finished=False))

    def open_pairs(self) -> Tensor:
        """Rows of the batch that go on; none when all are done, all while few are."""
        still_open = self.scores.isfinite().flatten(1).any(1).nonzero().squeeze(1)
        if len(still_open) > KEEP_FINISHED * len(self.live):
            return torch.arange(len(self.live), device=self.live.device)
        return still_open

    def narrow(self, keep: Tensor, row: Tensor, open_before: int) -> Tensor | None:
        """Keep the pairs ``keep``, the open sentences first, and no more of them than the widest search needs.

        Args:
            keep: rows of the batch.
            row: which sentence of the step before each sentence goes on from, ``(B, G, K)``.
            open_before: sentences that a search had in that step.

        Returns:
            Rows of the decoder's state that go on, or ``None`` where all do as they are.
        """
        count, groups = self.live.shape
        widest = int(self.live.max())
        order = self.scores[keep].argsort(dim=2, descending=True, stable=True)[:, :, :widest]

        past = None
        is_greedy = open_before == order.shape[2] == 1
        if len(keep) < count or not is_greedy:
            searches = torch.arange(count * groups, device=keep.device).view(-1, groups)[keep]
            past = (searches.unsqueeze(2) * open_before + row[keep].gather(2, order)).flatten()

        self.pairs, self.live = self.pairs[keep], self.live[keep]
        self.ids = _rows(self.ids[keep], order)
        self.log_probabilities = _rows(self.log_probabilities[keep], order)
        self.scores = self.scores[keep].gather(2, order)
        return past

    def _hypothesis(self, pair: int, group: int, k: int, finished: bool) -> Hypothesis:
        ids = tuple(self.ids[pair, group, k].tolist())
        gained = self.log_probabilities[pair, group, k].tolist()
        return Hypothesis(ids, sum(gained), tuple(gained), finished)


# Which words may follow: log-probabilities (B, G, K, V) to such, -inf where a word may not


def _allowed(step: Tensor, ids: Tensor, decoding: Decoding, end: int) -> Tensor:
    """What may follow sentences ``ids`` ``(B, G, K, T)``, or may be drawn to follow them."""
    single = [word[0] for word in decoding.forbidden if len(word) == 1]
    if single:
        step = step.index_fill(3, step.new_tensor(single, dtype=torch.long), -torch.inf)
    for word in decoding.forbidden:
        if len(word) == 1:
            continue
        # Of a word of several ids only the last is forbidden, and that only behind the others.
        begun = _ends_with(ids, word[:-1])  # B G K
        ends = torch.arange(step.shape[3], device=step.device) == word[-1]  # V
        step = step.masked_fill(ends & begun.unsqueeze(3), -torch.inf)
    if decoding.no_repeat_ngram_size:
        step = step.masked_fill(_repeats(ids, decoding.no_repeat_ngram_size, step.shape[3]), -torch.inf)
    if ids.shape[3] < decoding.min_length:
        step = _unless(torch.zeros_like(ids[..., 0], dtype=torch.bool), step, end)
    if decoding.force_words:
        step = _unless(_said_of(ids, decoding).sum(3) == sum(map(len, decoding.forced)), step, end)
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
        runs = ids.unfold(3, size, 1)  # B G K runs size
        newest = ids[:, :, :, None, ids.shape[3] - size + 1 :]
        same = (runs[..., :-1] == newest).all(4)
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
    times_said = torch.zeros_like(total[:, 0, 0])  # B V
    all_scores, all_choices = [], []
    for group in range(total.shape[1]):
        penalised = total[:, group] - penalty * times_said.unsqueeze(1)
        scores, choice = _best(penalised, live[:, group], width)
        times_said.scatter_add_(1, choice % total.shape[3], scores.isfinite().float())
        all_scores.append(scores)
        all_choices.append(choice)
    return torch.stack(all_scores, dim=1), torch.stack(all_choices, dim=1)


def _best_in_turn(total: Tensor, live: Tensor, width: int, ids: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """The best of those that said all forced words, of those that lack one id, and so on; then the second of each."""
    wanted = sum(map(len, decoding.forced))
    said = _said_after(ids, decoding, total.shape[3])  # B G K V

    # A sentence that has no room left for what it lacks is given up.
    room = decoding.max_length - ids.shape[3] - 1
    total = total.masked_fill(said + room < wanted, -torch.inf)

    banks_of_scores, banks_of_choices = [], []
    for count in range(wanted, -1, -1):
        bank = total.masked_fill(said != count, -torch.inf).flatten(2).topk(width)
        banks_of_scores.append(bank.values)
        banks_of_choices.append(bank.indices)

    # The best of each bank, then the second of each, and so on.
    scores = torch.stack(banks_of_scores, dim=3).flatten(2)
    choice = torch.stack(banks_of_choices, dim=3).flatten(2)
    order = scores.isfinite().byte().argsort(dim=2, descending=True, stable=True)[:, :, :width]
    return _narrowed(scores.gather(2, order), live), choice.gather(2, order)


def _said_of(ids: Tensor, decoding: Decoding) -> Tensor:
    """How many ids of each forced word sentences ``ids`` ``(B, G, K, T)`` hold or have begun, ``(B, G, K, words)``."""
    return torch.stack([_progress(ids, word) for word in decoding.forced], dim=3)


def _said_after(ids: Tensor, decoding: Decoding, vocab: int) -> Tensor:
    """How many ids of the forced words are said when each of ``vocab`` follows ``ids``, ``(B, G, K, V)``."""
    total = torch.zeros(*ids.shape[:3], vocab, dtype=torch.long, device=ids.device)
    for word in decoding.forced:
        whole = _progress(ids, word) == len(word)
        # A word that is begun and not gone on with is lost, unless its begin is said anew.
        said = torch.zeros_like(total)
        for n, following in enumerate(word):
            gained = (n + 1) * _ends_with(ids, word[:n]).long()
            said[..., following] = said[..., following].maximum(gained)
        total += said.masked_fill(whole.unsqueeze(3), len(word))
    return total


def _progress(ids: Tensor, word: Ids) -> Tensor:
    """How many ids of ``word`` are said in ``ids`` ``(B, G, K, T)``: all, or those that its end begins with."""
    progress = torch.zeros_like(ids[..., 0])
    for n in range(1, len(word) + 1):
        progress = progress.masked_fill(_ends_with(ids, word[:n]), n)
    return progress.masked_fill(_holds(ids, word), len(word))


def _holds(ids: Tensor, word: Ids) -> Tensor:
    """Whether sentences ``ids`` ``(B, G, K, T)`` say ``word`` somewhere, ``(B, G, K)``."""
    if ids.shape[3] < len(word):
        return torch.zeros_like(ids[..., 0], dtype=torch.bool)
    runs = ids.unfold(3, len(word), 1)  # B G K runs ids
    return (runs == ids.new_tensor(word)).all(4).any(3)


def _ends_with(ids: Tensor, word: Ids) -> Tensor:
    """Whether sentences ``ids`` ``(B, G, K, T)`` end with ``word``, ``(B, G, K)``; all do with none."""
    if not word:
        return torch.ones_like(ids[..., 0], dtype=torch.bool)
    if ids.shape[3] < len(word):
        return torch.zeros_like(ids[..., 0], dtype=torch.bool)
    return (ids[..., -len(word) :] == ids.new_tensor(word)).all(3)


def _gumbel(total: Tensor, generator: torch.Generator) -> Tensor:
    """Noise; the highest log-probability with it is one drawn from the softmax."""
    waits = torch.empty(total.shape, device=generator.device).exponential_(generator=generator)
    return -waits.clamp_min(torch.finfo(waits.dtype).tiny).log().to(total.device)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, G, K') of ``x`` (B, G, K, T)."""
    return x.gather(2, index.unsqueeze(3).expand(-1, -1, -1, x.shape[3]))
