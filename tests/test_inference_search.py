import itertools
import math
from collections import Counter

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from benchmarks.plain_beam import plain_beam
from changecap.errors import ConfigError
from changecap.inference.decoding import Decoding
from changecap.inference.search import search

START, END = 2, 1
FEW = hypothesis.settings(deadline=None, derandomize=True, max_examples=40)
SEARCHES = [
    {},
    {"beams": 4},
    {"beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.8},
    {"beams": 3, "no_repeat_ngram_size": 2, "min_length": 5, "bad_words": (7, 8)},
    {"beams": 4, "force_words": (5, 6)},
]


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


@pytest.mark.parametrize("settings", [{"beams": 3}, *SEARCHES], ids=str)
def test_a_batch_gives_what_its_pairs_give_one_by_one(settings):
    model = Table(pairs=9, vocab=10, seed=8)
    for i, found in enumerate(find(model, max_length=16, **settings)):
        (alone,) = find(model, memory=(model.memory()[0][i : i + 1],), max_length=16, **settings)
        assert [h.ids for h in alone.finished] == [h.ids for h in found.finished]
        assert [h.ids for h in alone.unfinished] == [h.ids for h in found.unfinished]


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


def small(name):
    """The captioner called ``name``, small and awake enough that pairs get sentences of their own; and a memory."""
    torch.manual_seed(0)
    backbone = {"name": "features", "channels": 12}
    model = zoo.create_model(name, vocab=25, dim=16, heads=2, backbone=backbone, image_size=5).eval()
    for p in model.parameters():
        p.data += 0.15 * torch.randn_like(p)
    with torch.no_grad():
        return model, model.encode(*torch.randn(4, 3, 12, 5, 5))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", zoo.list_models())
def test_every_captioner_decodes_as_the_plain_loop_does(name, beams):
    model, memory = small(name)
    ours = find(model, memory, beams=beams, max_length=52)
    plain = plain_beam(model, memory, start=START, end=END, pad=0, beams=beams)
    assert [{h.ids for h in f.finished} for f in ours] == [{tuple(ids) for ids, _ in p} for p in plain]


@pytest.mark.parametrize("settings", SEARCHES, ids=str)
@pytest.mark.parametrize("name", zoo.list_models())
def test_word_by_word_a_sentence_has_the_log_probabilities_it_has_as_a_whole(name, settings):
    model, memory = small(name)
    for i, found in enumerate(find(model, memory, max_length=12, **settings)):
        for h in found.ranked():
            ids = torch.tensor([h.ids])
            with torch.no_grad():
                logits, _ = model.decode(ids[:, :-1], tuple(m[i : i + 1] for m in memory))
            whole = logits.log_softmax(-1)[0].gather(1, ids[0, 1:, None]).squeeze(1)
            torch.testing.assert_close(torch.tensor(h.log_probabilities), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", SEARCHES, ids=str)
@pytest.mark.parametrize("name", zoo.list_models())
def test_every_captioner_says_of_a_batch_what_it_says_of_its_pairs(name, settings):
    model, memory = small(name)
    for i, found in enumerate(find(model, memory, max_length=12, **settings)):
        (alone,) = find(model, tuple(m[i : i + 1] for m in memory), max_length=12, **settings)
        assert {h.ids for h in alone.ranked()} == {h.ids for h in found.ranked()}


@pytest.mark.parametrize("name", zoo.list_models())
def test_in_half_precision_scores_are_sums_of_single_precision(name):
    model, memory = small(name)
    half, memory = model.bfloat16(), tuple(m.bfloat16() for m in memory)
    for i, found in enumerate(find(half, memory, beams=3, max_length=12)):
        h = found.best()
        ids = torch.tensor([h.ids])
        with torch.no_grad():
            logits, _ = half.decode(ids[:, :-1], tuple(m[i : i + 1] for m in memory))
        whole = logits.float().log_softmax(-1)[0].gather(1, ids[0, 1:, None])
        assert h.score == pytest.approx(float(whole.sum()), abs=0.02 * len(h.ids))  # bfloat16 has 8 bits
        assert any(x != float(torch.tensor(x).bfloat16()) for x in h.log_probabilities)


# Against all sentences there are


def sentences(words, most):
    """All sentences of up to ``most`` of ``words``, start and end included."""
    return [(START, *said, END) for n in range(most + 1) for said in itertools.product(words, repeat=n)]


@FEW
@given(seed=st.integers(0, 10**6), penalty=st.floats(-1, 2))
def test_a_beam_that_holds_all_sentences_of_three_words_ranks_them_as_brute_force_does(seed, penalty):
    model, words = Table(pairs=2, vocab=34, seed=seed), (0, 4)  # and the end; the others are forbidden
    bad = tuple(set(range(34)) - {*words, END})
    for pair, found in enumerate(find(model, beams=34, bad_words=bad, max_length=5)):
        worth = {ids: score_of(model, pair, ids) / (len(ids) - 1) ** penalty for ids in sentences(words, 3)}
        ranked = [h for h in found.ranked(penalty) if h.finished]
        assert {h.ids for h in ranked} == worth.keys()
        assert [worth[h.ids] for h in ranked] == pytest.approx(sorted(worth.values(), reverse=True), abs=1e-4)


@FEW
@given(seed=st.integers(0, 10**6))
def test_with_a_forced_word_it_is_the_best_of_those_that_hold_it(seed):
    model, words = Table(pairs=2, vocab=60, seed=seed), (0, 4)
    bad = tuple(set(range(60)) - {*words, END})
    for pair, found in enumerate(find(model, beams=60, bad_words=bad, force_words=(4,), max_length=5)):
        expected = {ids: score_of(model, pair, ids) for ids in sentences(words, 3) if 4 in ids}
        assert {h.ids for h in found.finished} == expected.keys()
        assert found.best().score == pytest.approx(max(expected.values()), abs=1e-4)


# What is promised of every sentence


@FEW
@given(
    seed=st.integers(0, 10**6),
    beams=st.integers(1, 5),
    sample=st.booleans(),
    shortest=st.integers(0, 6),
    longest=st.integers(7, 14),
    size=st.integers(0, 3),
    bad=st.sets(st.sampled_from([0, 3, 4, 5, 6, 7, 8, 9]), max_size=3),
)
def test_lengths_runs_and_bad_words_hold(seed, beams, sample, shortest, longest, size, bad):
    model = Table(pairs=3, vocab=11, seed=seed)
    found = find(
        model,
        generator=torch.Generator().manual_seed(seed),
        beams=1 if sample else beams,
        num_return_sequences=beams,
        do_sample=sample,
        min_length=shortest,
        max_length=longest,
        no_repeat_ngram_size=size,
        bad_words=tuple(bad),
    )
    for h in (h for f in found for h in f.ranked()):
        assert len(h.ids) <= longest
        assert (h.ids[-1] == END) == h.finished
        assert len(h.ids) == longest or h.finished
        assert END not in h.ids[:-1]
        assert len(h.ids) - 1 >= shortest
        assert not bad & set(h.ids)
        runs = [h.ids[i : i + size] for i in range(len(h.ids) - size + 1)] if size else []
        assert len(runs) == len(set(runs))


@FEW
@given(
    seed=st.integers(0, 10**6),
    forced=st.lists(st.sampled_from([0, 3, 4, 5, 6]), min_size=1, max_size=3, unique=True),
    more=st.integers(1, 3),
    room=st.integers(2, 9),
    size=st.integers(0, 2),
)
def test_forced_words_are_said(seed, forced, more, room, size):
    model = Table(pairs=3, vocab=9, seed=seed)
    model.logits[..., forced] -= 8  # unforced they would hardly be
    settings = {"beams": len(forced) + more, "max_length": len(forced) + room, "no_repeat_ngram_size": size}
    for found in find(model, force_words=tuple(forced), **settings):
        assert all(set(forced) <= set(h.ids) for h in found.ranked())


def test_forced_words_leave_as_many_sentences_as_the_beam_is_wide():
    model = Table(pairs=12, vocab=9, seed=1)
    model.logits[..., [3, 4]] -= 4
    assert {len(f.ranked()) for f in find(model, beams=4, max_length=14, force_words=(3, 4))} == {4}


def test_words_that_are_said_anyway_need_no_force():
    model = Table(pairs=1, vocab=12, seed=4)
    (free,) = find(model, beams=4, max_length=12)
    word = free.best().ids[1]
    (forced,) = find(model, beams=4, max_length=12, force_words=(word,))
    assert forced.best().score >= free.best().score - 1e-4


def test_settings_that_leave_no_word_are_an_error():
    model = Table(pairs=1, vocab=4)
    with pytest.raises(ConfigError, match="nothing can be said about pair 0 of the batch"):
        find(model, no_repeat_ngram_size=1, min_length=8)


def test_logits_that_are_no_numbers_are_an_error():
    model = Table(pairs=2, vocab=4)
    model.logits[1] = torch.nan
    with pytest.raises(ConfigError, match=r"pair 1 of the batch.*the model's scores are no numbers"):
        find(model)


# Groups


def test_the_first_group_finds_what_a_beam_of_its_width_finds():
    model = Table(pairs=6, vocab=12, seed=6)
    alone = find(model, beams=2, max_length=12)
    groups = find(model, beams=6, num_beam_groups=3, diversity_penalty=2.0, max_length=12)
    for mine, both in zip(alone, groups, strict=True):
        assert {h.ids for h in mine.ranked()} <= {h.ids for h in both.ranked()}


def test_a_high_penalty_keeps_groups_from_saying_the_same_word_at_a_place():
    model = Table(pairs=5, vocab=12, seed=7)
    for found in find(model, beams=3, num_beam_groups=3, diversity_penalty=1e6, max_length=12):
        said = [h.ids[1:] for h in found.ranked()]
        assert len(said) == 3
        for place in itertools.zip_longest(*said):
            words = [word for word in place if word is not None]
            assert len(words) == len(set(words))


def test_a_diversity_penalty_is_taken_once_for_each_time_that_a_word_was_said():
    model = Table(pairs=1, vocab=5, seed=0)
    model.logits[0, START, START] = torch.tensor([9.0, 0.0, 0.0, 6.0, 5.0])
    found = find(model, beams=3, num_beam_groups=3, diversity_penalty=2.0, max_length=2)[0]
    assert Counter(h.ids[1] for h in found.ranked()) == {0: 2, 3: 1}  # 9, then 9 - 2 > 6, then 9 - 4 < 6
    assert found.best().score == pytest.approx(score_of(model, 0, (START, 0)), abs=1e-5)  # the penalty is not in it


# Drawn words


def chances(logits, temperature=1.0, top_k=0, top_p=1.0):
    """The probability with which each word should be drawn, one word at a time."""
    p = [math.exp(x / temperature) for x in logits.tolist()]
    order = sorted(range(len(p)), key=lambda i: -p[i])
    likely = order[: top_k or None]
    total, kept, sum_ = sum(p[i] for i in likely), [], 0.0
    for i in likely:
        if sum_ < top_p * total:
            kept.append(i)
        sum_ += p[i]
    return {i: p[i] / sum(p[j] for j in kept) for i in kept}


DRAWS = [{}, {"temperature": 0.6}, {"temperature": 1.7, "top_k": 3}, {"top_p": 0.7}, {"top_k": 4, "top_p": 0.8}]


@pytest.mark.parametrize("settings", DRAWS, ids=str)
def test_words_are_drawn_as_often_as_they_should_be(settings):
    model, count = Table(pairs=2, vocab=6, seed=1), 6000
    drawn = {"do_sample": True, "num_return_sequences": count, "max_length": 3, **settings}
    for pair, found in enumerate(find(model, generator=torch.Generator().manual_seed(0), **drawn)):
        said = Counter(h.ids for h in found.ranked())
        expected = {}
        for first, p in chances(model.logits[pair, START, START], **settings).items():
            after = {} if first == END else chances(model.logits[pair, START, first], **settings)
            expected |= {(START, first, second): p * q for second, q in after.items()} or {(START, first): p}
        assert said.keys() <= expected.keys()
        chi_square = sum((said[ids] - count * p) ** 2 / (count * p) for ids, p in expected.items())
        assert chi_square < len(expected) + 4 * math.sqrt(2 * len(expected))


def test_drawn_sentences_have_the_log_probabilities_of_the_model():
    model = Table(pairs=2, vocab=9)
    settings = {"do_sample": True, "temperature": 0.5, "top_k": 4, "num_return_sequences": 5}
    for pair, found in enumerate(find(model, generator=torch.Generator().manual_seed(3), **settings)):
        assert all(h.score == pytest.approx(score_of(model, pair, h.ids), abs=1e-3) for h in found.ranked())


def test_the_same_seed_draws_the_same_and_another_seed_others():
    model = Table(pairs=4, vocab=9)

    def draw(seed):
        found = find(model, generator=torch.Generator().manual_seed(seed), do_sample=True, max_length=12)
        return [f.best().ids for f in found]

    assert draw(1) == draw(1) != draw(2)


def test_the_global_generator_is_neither_read_nor_moved():
    model, before = Table(pairs=2, vocab=9), torch.get_rng_state()
    find(model, generator=torch.Generator().manual_seed(0), do_sample=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_to_draw_without_a_generator_is_refused():
    with pytest.raises(ConfigError, match="give generator="):
        find(Table(pairs=1, vocab=9), do_sample=True)


def test_the_likeliest_word_alone_is_greedy():
    model = Table(pairs=6, vocab=9)
    drawn = find(model, generator=torch.Generator().manual_seed(0), do_sample=True, top_k=1, max_length=12)
    assert [f.best() for f in drawn] == [f.best() for f in find(model, max_length=12)]
