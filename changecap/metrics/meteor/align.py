"""The alignment of two sentences: of all matches, those that METEOR 1.5 keeps.

By the paper: each word in at most one match; then the most words, then the fewest chunks (runs of matches contiguous
and in the same order in both sentences), then matches that stand at like places, by a beam search. What the
distribution does beyond that decides published values, and is reproduced:

- a match that shares no word with another match is kept, come what may;
- in the search, words of a match that is not exact count half, rounded down in each sentence. So a word that has both
  another's stem and its meaning (two matches of the same words) is dropped where it would be a chunk of its own;
- a chunk counts from its end on, so that an open one is free while the search goes on;
- how far the places of a match lie apart is charged to those who do without it: to the alignment that passes the word
  over, and to those tried after it at the same word. Only matches that are kept come what may pay for themselves;
- of equals, what was ahead before stays ahead.
"""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from .match import EXACT, Match

_BEAM = 40  # as METEOR's; with more or fewer, other alignments are lost
_RANK = itemgetter(0, 1, 2)


class _State(NamedTuple):
    """The beginning of an alignment; the first three say how it ranks, less is better."""

    words: int  # less the words matched
    chunks: int  # that have ended
    distance: int  # between the places of matches
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

    states = [_State(0, 0, 0, 0, 0, -1, None)]
    for j in range(max(j + m for j, _, _, m, _ in matches)):
        here = options.get(j, ())
        grown: list[_State] = []
        for state in sorted(states, key=_RANK)[:_BEAM]:
            if state.free > j:
                grown.append(state)
                continue
            distance, fixed = state.distance, False
            for match, mask, weight, fixed in here:
                if state.used & mask:
                    continue
                _, _, i, m, n = match
                apart = abs(i - j)
                ended = state.follows not in (-1, i)
                grown.append(
                    _State(
                        state.words - weight,
                        state.chunks + ended,
                        distance + apart if fixed else distance,
                        j + m,
                        state.used | mask,
                        i + n,
                        (match, state.last),
                    )
                )
                distance += apart
            if not fixed:
                ended = state.follows != -1
                grown.append(state._replace(chunks=state.chunks + ended, distance=distance, free=j + 1, follows=-1))
        states = grown
    ends = sorted(states, key=_RANK)[:_BEAM]
    best = min(ends, key=lambda state: (state.words, state.chunks + (state.follows != -1), state.distance))
    kept, last = [], best.last
    while last is not None:
        match, last = last
        kept.append(match)
    return kept[::-1]
