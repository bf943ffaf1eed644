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
from typing import Any

from .match import EXACT, Match

_BEAM = 40  # as METEOR's; with more or fewer, other alignments are lost
_RANK = itemgetter(0, 1, 2)


# The beginning of an alignment; the first three say how it ranks, less is better: the words matched, negative; chunks
# that have ended; distance between the places of matches; next word of the reference that is free; words of the
# hypothesis that are used, as bits; where in it the open chunk goes on, or -1; the last match, and those before it.
_State = tuple[int, int, int, int, int, int, Any]


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

    states: list[_State] = [(0, 0, 0, 0, 0, -1, None)]
    for j in range(max(j + m for j, _, _, m, _ in matches)):
        here = options.get(j, ())
        grown: list[_State] = []
        for state in states:
            words, chunks, distance, free, used, follows, last = state
            if free > j:
                grown.append(state)
                continue
            fixed = False
            for match, mask, weight, fixed in here:
                if used & mask:
                    continue
                _, _, i, m, n = match
                paid = distance + abs(i - j)
                ended = follows not in (-1, i)
                grown.append(
                    (
                        words - weight,
                        chunks + ended,
                        paid if fixed else distance,
                        j + m,
                        used | mask,
                        i + n,
                        (match, last),
                    )
                )
                distance = paid
            if not fixed:
                grown.append((words, chunks + (follows != -1), distance, free, used, -1, last))
        states = sorted(grown, key=_RANK)[:_BEAM]
    _, _, _, _, _, _, last = min(states, key=lambda state: (state[0], state[1] + (state[5] != -1), state[2]))
    kept = []
    while last is not None:
        match, last = last
        kept.append(match)
    return kept[::-1]
