import pytest
import torch

import zoo
from benchmarks.plain_beam import plain_beam
from changecap.decode import search
from changecap.decoding import Decoding

START, END = 2, 1


class Table(zoo.Captioner):
    """A captioner whose next word depends on the pair and on the last two words, through a fixed random table."""

    inputs = "rgb"

    def __init__(self, pairs, vocab, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(pairs, vocab, vocab, vocab, generator=g) * 2
        self.calls = []

    def encode(self, a, b, sem_a=None, sem_b=None):
        return (torch.arange(len(self.logits)).unsqueeze(1),)

    def decode(self, words, memory, state=None):
        self.calls.append(words.shape)
        past = words if state is None else torch.cat([state.past[0], words], dim=1)
        pair = memory[0].repeat_interleave(len(words) // len(memory[0]), dim=0)
        before = torch.cat([past[:, :1], past], dim=1)
        logits = self.logits[pair, before[:, :-1], before[:, 1:]]
        return logits[:, -words.shape[1] :], zoo.State(past.shape[1], (past,))

    def memory(self):
        return self.encode(None, None)


def find(model, memory=None, generator=None, **settings):
    memory = memory or model.memory()
    return search(model, memory, Decoding(**settings), start=START, end=END, generator=generator)


def score_of(model, pair, ids):
    total = 0.0
    for t in range(1, len(ids)):
        total += float(model.logits[pair, ids[max(t - 2, 0)], ids[t - 1]].log_softmax(-1)[ids[t]])
    return total


def test_one_beam_is_greedy():
    model = Table(pairs=6, vocab=9)
    for pair, found in enumerate(find(model, beams=1, max_length=13)):
        ids = [START]
        while len(ids) <= 12 and (len(ids) == 1 or ids[-1] != END):
            ids.append(int(model.logits[pair, ids[max(len(ids) - 2, 0)], ids[-1]].argmax()))
        assert found.best().ids == tuple(ids)


def test_a_beam_as_wide_as_the_vocabulary_finds_the_best_of_all_sentences():
    model, words = Table(pairs=8, vocab=3, seed=5), 6
    model.logits[..., START] = -1e9  # no sentence starts twice
    everything = [(START, *[0] * n, END) for n in range(words)]
    found = find(model, beams=3, max_length=words + 1)
    best = [max((score_of(model, p, ids), ids) for ids in everything)[1] for p in range(8)]
    assert [f.best().ids for f in found] == best
    assert len(set(best)) > 1


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_the_loop_finds_what_the_plain_loop_finds(beams):
    model = Table(pairs=7, vocab=12, seed=3)
    ours = find(model, beams=beams, max_length=21)
    plain = plain_beam(model, model.memory(), start=START, end=END, pad=0, beams=beams, max_words=20)
    for mine, theirs in zip(ours, plain, strict=True):
        assert {h.ids for h in mine.finished} == {tuple(ids) for ids, _ in theirs}
        scores = {tuple(ids): score for ids, score in theirs}
        assert all(h.score == pytest.approx(scores[h.ids], abs=1e-4) for h in mine.finished)


def test_a_batch_gives_what_its_pairs_give_one_by_one():
    model = Table(pairs=5, vocab=10, seed=8)
    together = find(model, beams=3, max_length=16)
    for i, found in enumerate(together):
        alone = find(model, memory=(model.memory()[0][i : i + 1],), beams=3, max_length=16)[0]
        assert [h.ids for h in alone.finished] == [h.ids for h in found.finished]


def test_each_word_is_decoded_once_and_finished_pairs_leave():
    model = Table(pairs=6, vocab=9)
    find(model, beams=2, max_length=13)
    assert {shape[1] for shape in model.calls} == {1}
    rows = [shape[0] for shape in model.calls]
    assert rows[-1] < max(rows)


def test_word_log_probabilities_sum_to_the_score():
    model = Table(pairs=3, vocab=9)
    for pair, found in enumerate(find(model, beams=3, max_length=13)):
        for h in found.finished:
            assert len(h.log_probabilities) == len(h.ids) - 1
            assert h.score == pytest.approx(sum(h.log_probabilities))
            assert h.score == pytest.approx(score_of(model, pair, h.ids), abs=1e-4)


def test_a_sentence_that_never_ends_is_kept_as_unfinished():
    model = Table(pairs=2, vocab=6)
    model.logits[..., END] = -1e9
    for found in find(model, beams=2, max_length=6):
        assert not found.finished
        assert len(found.best().ids) == 6
        assert not found.best().finished


def test_a_length_penalty_prefers_the_longer_sentence():
    model = Table(pairs=20, vocab=8, seed=2)
    found = find(model, beams=4, max_length=21)
    plain, long = ([len(f.best(penalty).ids) for f in found] for penalty in (0.0, 1.0))
    assert all(x <= y for x, y in zip(plain, long, strict=True))
    assert sum(plain) < sum(long)


def test_a_beam_wider_than_the_vocabulary_is_refused():
    model = Table(pairs=1, vocab=4)
    with pytest.raises(ValueError, match="beam of 5 is wider than the vocabulary of 4"):
        find(model, beams=5)


def test_beams_below_one_are_refused():
    model = Table(pairs=1, vocab=4)
    with pytest.raises(ValueError, match="beams=0"):
        find(model, beams=0)


@pytest.mark.parametrize("beams", [1, 3])
def test_every_captioner_decodes_as_the_plain_loop_does(beams):
    torch.manual_seed(0)
    for name in zoo.list_models():
        backbone = {"name": "features", "channels": 12}
        model = zoo.create_model(name, vocab=25, dim=16, heads=2, backbone=backbone, image_size=5).eval()
        for p in model.parameters():
            p.data += 0.15 * torch.randn_like(p)
        a, b, sem_a, sem_b = torch.randn(4, 3, 12, 5, 5)
        memory = model.encode(a, b, sem_a, sem_b)
        ours = find(model, memory=memory, beams=beams, max_length=52)
        plain = plain_beam(model, memory, start=START, end=END, pad=0, beams=beams)
        assert [{h.ids for h in f.finished} for f in ours] == [{tuple(ids) for ids, _ in p} for p in plain]
