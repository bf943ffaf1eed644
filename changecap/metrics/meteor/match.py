"""Which words and phrases of two sentences may be matched: the same, the same stem, synonyms or paraphrases.

Everything is looked up once for each distinct word or phrase of a corpus, not for each pair of sentences.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .stem import stem
from .tables import Tables
from .words import FUNCTION_WORDS, normalise

EXACT, STEM, SYNONYM, PARAPHRASE = range(4)  # the stages, in METEOR's order
_BACK = PARAPHRASE + 1  # a paraphrase that is listed from the hypothesis to the reference: looked at last

# First word in the reference, stage, first word in the hypothesis, words in the reference, words in the hypothesis.
Match = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Sentence:
    """A normalised sentence. A unit is a word, or a phrase that has paraphrases, as a number."""

    content: tuple[bool, ...]  # which words are no function words
    units: dict[int, list[tuple[int, int]]]  # -> (first word, number of words) wherever it stands


class Lexicon:
    """The sentences of a corpus, and which of their units match."""

    def __init__(self, sentences: Iterable[str], tables: Tables | None) -> None:
        split = {sentence: normalise(sentence) for sentence in sentences}
        distinct = list(dict.fromkeys(split.values()))
        words = {word: i for i, word in enumerate(dict.fromkeys(word for words in distinct for word in words))}
        self._related: list[dict[int, list[tuple[int, int]]]] = [{unit: [(EXACT, 0)]} for unit in words.values()]
        made = [_sentence(split, words) for split in distinct]
        self._relate(STEM, words, lambda word: (stem(word),))
        if tables is not None:
            self._relate(SYNONYM, words, tables.meanings)
            self._paraphrase(distinct, made, words, tables)
        of = dict(zip(distinct, made, strict=True))
        self._sentences = {sentence: of[words] for sentence, words in split.items()}

    def __getitem__(self, sentence: str) -> Sentence:
        """One of the corpus' sentences."""
        return self._sentences[sentence]

    def matches(self, hypothesis: Sentence, reference: Sentence) -> list[Match]:
        """All matches of two sentences, as METEOR looks at them; those of two stages for the same words are two.

        By the first word in the reference, then by stages, then by the first word of the hypothesis; but of paraphrases
        first those that are listed for a phrase of the reference, by its length and their place on the list.
        """
        if hypothesis is reference:  # only exact matches, whatever else a word may be
            return sorted(
                (j, EXACT, i, 1, 1)
                for places in reference.units.values()
                for i, n in places
                for j, m in places
                if m == n == 1
            )
        theirs = reference.units
        found = [
            (
                (j, stage, *((m, listed, i) if stage < _BACK else (i, n, listed))),
                (j, min(stage, PARAPHRASE), i, m, n),
            )
            for unit, places in hypothesis.units.items()
            for other in self._related[unit].keys() & theirs.keys()
            for stage, listed in self._related[unit][other]
            for i, n in places
            for j, m in theirs[other]
        ]
        found.sort()
        return [match for _, match in found]

    def _relate(self, stage: int, words: dict[str, int], keys: Callable[[str], Iterable[object]]) -> None:
        """Relate different words that share a key: a stem, or a synonym set."""
        groups = defaultdict(list)
        for word, unit in words.items():
            for key in keys(word):
                groups[key].append(unit)
        for group in groups.values():
            for unit in group:
                for other in group:
                    stages = self._related[unit].setdefault(other, [])
                    if other != unit and (stage, 0) not in stages:
                        stages.append((stage, 0))

    def _paraphrase(
        self, split: Sequence[Sequence[str]], made: Sequence[Sentence], words: dict[str, int], tables: Tables
    ) -> None:
        """Relate the paraphrases, and note where phrases of several words stand."""
        places = list(tables.phrases(split))
        nodes = np.unique(np.fromiter((node for *_, node in places), np.int64, len(places)))
        unit = {tables.words[word]: i for word, i in words.items() if word in tables.words}  # of each node
        for node, other, listed in tables.paraphrases(nodes):
            for n in (node, other):
                if n not in unit:
                    unit[n] = len(self._related)
                    self._related.append({unit[n]: []})  # the same words match one by one
            self._related[unit[node]].setdefault(unit[other], []).append((_BACK, listed))
            self._related[unit[other]].setdefault(unit[node], []).append((PARAPHRASE, listed))
        for sentence, first, n, node in places:
            if n > 1 and node in unit:
                made[sentence].units.setdefault(unit[node], []).append((first, n))


def _sentence(split: Sequence[str], words: dict[str, int]) -> Sentence:
    units: dict[int, list[tuple[int, int]]] = {}
    for i, word in enumerate(split):
        units.setdefault(words[word], []).append((i, 1))
    return Sentence(tuple(word not in FUNCTION_WORDS for word in split), units)
