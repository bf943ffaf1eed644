"""The alignment of two sentences: of all matches, those that METEOR 1.5 keeps.

By the paper: each word in at most one match; then the most words, then the fewest chunks (runs of matches contiguous and
in the same order in both sentences), by a beam search. What the distribution does beyond that decides published values,
so it was measured, sentence by sentence, and is reproduced:

- a match that shares no word with another match is kept, come what may;
- in the search, words of a match that is not exact count half, rounded down in each sentence. So a word that has both
  another's stem and its meaning (two matches of the same words) is dropped where it would be a chunk of its own;
- of equals, the more matches the better, then the fewer words passed over that could have been matched, then what comes
  first in the reference, by stage and place; phrases at the same place in both sentences come before single words.

The order of equals is inferred from answers, not known: about one pair in a hundred gets another alignment here.
"""

from collections import Counter
from collections.abc import Sequence

from .match import EXACT, Match

_BEAM = 40  # as METEOR's; more or fewer keep alignments it would have lost, or lose some it keeps


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
    ordered = sorted(zip(matches, sure, strict=True), key=_place)
    options: dict[int, list[tuple[int, int, int, bool]]] = {}
    for rank, ((j, stage, i, m, n), certain) in enumerate(ordered):
        weight = m + n if stage == EXACT else m // 2 + n // 2
        options.setdefault(j, []).append((rank, ((1 << n) - 1) << i, weight, certain))

    # A state sorts as it ranks: less its words, chunks, less its matches, words passed over, ranks of its matches;
    # then the next free word of the reference, used words of the hypothesis, and where its open chunk goes on there.
    states: list[tuple[int, int, int, int, tuple[int, ...], int, int, int]] = [(0, 0, 0, 0, (), 0, 0, -1)]
    for j in range(max(j + m for j, _, _, m, _ in matches)):
        grown = []
        for state in states:
            words, chunks, count, passed, path, free, used, follows = state
            if free > j:
                grown.append(state)
                continue
            able = certain = False
            for rank, mask, weight, certain in options.get(j, ()):
                if used & mask:
                    continue
                able = True
                _, _, i, m, n = ordered[rank][0]
                goes_on = i == follows
                twin = goes_on and i == j and _is_close(ordered[path[-1]][0])
                grown.append(
                    (words - weight, chunks + (not goes_on), count - (not twin), passed, (*path, rank), j + m,
                     used | mask, i + n)
                )  # fmt: skip
            if not certain:
                grown.append((words, chunks, count, passed + able, path, j + 1, used, -1))
        grown.sort()
        states = grown[:_BEAM]
    return [ordered[rank][0] for rank in states[0][4]]


def _place(option: tuple[Match, bool]) -> tuple[int, ...]:
    """What comes first of equals."""
    j, stage, i, m, n = option[0]
    return j, -m if i == j and m > 1 else 0, stage, i, m, n


def _is_close(match: Match) -> bool:
    """Whether a match is not exact, at the same place in both sentences: it counts as one with the match after it."""
    j, stage, i, _, _ = match
    return stage != EXACT and i == j
