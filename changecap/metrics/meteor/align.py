"""The alignment of two sentences: of all matches, those that METEOR 1.5 keeps.

By the paper: each word in at most one match, then the most words, then the fewest chunks (runs of matches that are
contiguous and in the same order in both sentences). What the distribution does beyond that was measured and is
reproduced, as published values contain it:

- matches that share no word with another match are kept, come what may;
- in the search, words of a match that is not exact count half, rounded down in each sentence. So one word that has
  another's stem *and* meaning (two matches of the same words) is dropped where it would be a chunk of its own;
- of equals, the alignment that comes first is kept: that with the earliest matches in the reference, by stage and place
  in the hypothesis.

The search keeps the best `BEAM` beginnings at each word.
"""

from collections.abc import Sequence

from .match import EXACT, Match

BEAM = 40  # as METEOR's


def align(matches: Sequence[Match]) -> list[Match]:
    """The matches to keep of all `matches`, sorted by their place in the reference."""
    taken_r: dict[int, int] = {}
    taken_h: dict[int, int] = {}
    for j, _, i, m, n in matches:
        for x in range(j, j + m):
            taken_r[x] = taken_r.get(x, 0) + 1
        for x in range(i, i + n):
            taken_h[x] = taken_h.get(x, 0) + 1
    sure = [
        all(taken_r[x] == 1 for x in range(match[0], match[0] + match[3]))
        and all(taken_h[x] == 1 for x in range(match[2], match[2] + match[4]))
        for match in matches
    ]
    return list(matches) if all(sure) else _search(matches, sure)


def _search(matches: Sequence[Match], sure: Sequence[bool]) -> list[Match]:
    options: dict[int, list] = {}
    for match, certain in zip(matches, sure, strict=True):
        j, stage, i, m, n = match
        words = m + n if stage == EXACT else m // 2 + n // 2
        options.setdefault(j, []).append((match, ((1 << n) - 1) << i, words, certain))
    # state: (-words, chunks, path, used words of the hypothesis, end of the last match in the hypothesis or -1)
    waiting: dict[int, dict] = {0: {(0, -1): (0, 0, ())}}
    last = max(match[0] + match[3] for match in matches)
    end = 0
    for j in range(last):
        here = waiting.pop(j, {})
        if not here:
            continue
        states = [(*value, *key) for key, value in here.items()]
        if len(states) > 1:
            states.sort(key=_order)
            del states[BEAM:]
        for less, chunks, path, used, end in states:
            certain = False
            for match, mask, words, certain in options.get(j, ()):
                if used & mask:
                    continue
                _, _, i, m, n = match
                _keep(waiting, j + m, (used | mask, i + n), (less - words, chunks + (i != end), (*path, match)))
            if not certain:
                _keep(waiting, j + 1, (used, -1), (less, chunks, path))
    return list(min(waiting[last].values(), key=_order)[2])


def _order(state: tuple) -> tuple:
    less, chunks, path = state[:3]
    return less, chunks, (*path, (1 << 60,))


def _keep(waiting: dict, at: int, key: tuple, value: tuple) -> None:
    """Keep the better of two beginnings that go on alike."""
    states = waiting.setdefault(at, {})
    if key not in states or _order(value) < _order(states[key]):
        states[key] = value
