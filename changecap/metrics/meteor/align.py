"""The alignment of two sentences: of all matches, those that METEOR 1.5 keeps.

By the paper: each word in at most one match; then the most words, then the fewest chunks (runs of matches contiguous
and in the same order in both sentences), by a beam search. What the distribution does beyond that decides published
values, so it was measured, sentence by sentence, and is reproduced:

- a match that shares no word with another match is kept, come what may;
- in the search, words of a match that is not exact count half, rounded down in each sentence. So a word that has both
  another's stem and its meaning (two matches of the same words) is dropped where it would be a chunk of its own;
- of equals, the more matches the better, not counting those that carry a chunk on at the same place in both sentences;
  then the fewer words passed over where there was a choice, or right after such a chunk; then what was ahead before.

The order of equals is inferred from answers, not known. Among pairs with paraphrases, of captions alike, about one in
two hundred is aligned otherwise.
"""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from .match import EXACT, Match

_BEAM = 40  # as METEOR's; with more or fewer, other alignments are lost
_RANK = itemgetter(0, 1, 2, 3)


class _State(NamedTuple):
    """The beginning of an alignment; the first four say how it ranks, less is better."""

    words: int  # less the words matched
    chunks: int
    matches: int  # less their number
    passed: int  # words of the reference passed over
    free: int  # next word of the reference that is not matched
    used: int  # words of the hypothesis that are, as bits
    follows: int  # word of the hypothesis where the open chunk goes on, or -1
    last: tuple[Match, Any] | None  # match, and what was the last before it


def aligned(matches: Sequence[Match]) -> list[Match]:
    """The matches to keep of all ``matches``, in the order of the reference."""
    in_reference = Counter(x for j, _, _, m, _ in matches for x in range(j, j + m))
    in_hypothesis = Counter(x for _, _, i, _, n in matches for x in range(i, i + n))
    sure = [
        all(in_reference[x] == 1 for x in range(j, j + m)) and all(in_hypothesis[x] == 1 for x in range(i, i + n))
        for j, _, i, m, n in matches
    ]
    return list(matches) if all(sure) else _search(matches, sure)


def _search(matches: Sequence[Match], sure: Sequence[bool]) -> list[Match]:
    """The best matches by a beam search over the words of the reference."""
    options: dict[int, list[tuple[Match, int, int, bool]]] = {}
    for match, certain in zip(matches, sure, strict=True):
        j, stage, i, m, n = match
        weight = m + n if stage == EXACT else m // 2 + n // 2
        options.setdefault(j, []).append((match, ((1 << n) - 1) << i, weight, certain))

    states = [_State(0, 0, 0, 0, 0, 0, -1, None)]
    for j in range(max(j + m for j, _, _, m, _ in matches)):
        here = options.get(j, ())
        grown: list[_State] = []
        for state in states:
            if state.free > j:
                grown.append(state)
                continue
            able = [option for option in here if not state.used & option[1]]
            for match, mask, weight, _ in able:
                _, _, i, m, n = match
                goes_on = i == state.follows
                grown.append(
                    _State(
                        state.words - weight,
                        state.chunks + (not goes_on),
                        state.matches - (not goes_on or i != j),
                        state.passed,
                        j + m,
                        state.used | mask,
                        i + n,
                        (match, state.last),
                    )
                )
            if not (able and able[-1][3]):
                passed = state.passed + (bool(able) or state.follows == j)
                grown.append(state._replace(passed=passed, free=j + 1, follows=-1))
        if len(grown) > 1:
            grown.sort(key=_RANK)
        states = grown[:_BEAM]
    kept, last = [], states[0].last
    while last is not None:
        match, last = last
        kept.append(match)
    return kept[::-1]
