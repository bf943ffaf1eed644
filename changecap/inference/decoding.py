"""How sentences are searched for: the settings of the word loop and which of them contradict each other.

The one place of their defaults. Names and meanings are those of ``generate`` in transformers, but for ``beams``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError

Ids = tuple[int, ...]  # of one word: as many as the tokenizer makes of it

_LEAST = {  # whole numbers
    "beams": 1,
    "num_beam_groups": 1,
    "top_k": 0,
    "min_length": 0,
    "max_length": 2,
    "no_repeat_ngram_size": 0,
    "num_return_sequences": 1,
}
_SAMPLING = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}  # values that leave the model's distribution as it is


@dataclass(frozen=True)
class Decoding:
    """Settings of :func:`changecap.inference.search.search`; words are ids here.

    Args:
        beams: width of the beam; 1 is greedy.
        num_beam_groups: parts of the beam that search one after the other, each away from what those before it say
            (diverse beam search, Vijayakumar et al. 2016).
        diversity_penalty: taken from the score of a word for each time that an earlier group says it at that place.
        do_sample: draw words in place of searching for the best.
        temperature: log-probabilities are divided by it before a word is drawn.
        top_k: draw from the so many likeliest words; 0 is all.
        top_p: draw from the fewest likeliest words that have this probability together.
        length_penalty: sentences are compared by score / words ** penalty, the end counted; 0 is the plain sum of the
            published code bases, and what is above it prefers longer sentences.
        min_length: ids before the end of a sentence, the start counted.
        max_length: ids of a sentence, start and end counted.
        no_repeat_ngram_size: no run of so many words is said twice; 0 lets all be.
        num_return_sequences: sentences that are asked for, the best first.
        force_words: each of them is said (Post & Vilar 2018): an id, or the ids that are said one after the other.
        bad_words: none of them is said.

    Attributes:
        forced: the ids of each of ``force_words``.
        forbidden: those of each of ``bad_words``.

    Raises:
        ConfigError: a value is out of range, or two contradict each other.
    """

    beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    length_penalty: float = 0.0
    min_length: int = 0
    max_length: int = 60
    no_repeat_ngram_size: int = 0
    num_return_sequences: int = 1
    force_words: tuple[int | Ids, ...] = ()
    bad_words: tuple[int | Ids, ...] = ()

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if not (isinstance(value := getattr(self, name), int) and value >= least):
                raise ConfigError(f"{name} must be a whole number of at least {least}, got {name}={value!r}")
        for name, ok, what in (
            ("temperature", 0 < self.temperature < math.inf, "a number above 0"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("diversity_penalty", 0 <= self.diversity_penalty < math.inf, "a number of at least 0"),
            ("length_penalty", math.isfinite(self.length_penalty), "a finite number"),
        ):
            if not ok:
                raise ConfigError(f"{name} must be {what}, got {name}={getattr(self, name)!r}")
        for name in ("force_words", "bad_words"):
            words = _as_ids(getattr(self, name))
            if len(set(words)) < len(words):
                raise ConfigError(f"{name} names a word twice: {tuple(_shown(words))}")
            if () in words:
                raise ConfigError(f"{name}: a word has at least one id, got none")
        if problem := self._contradiction():
            raise ConfigError(problem)

    @property
    def forced(self) -> tuple[Ids, ...]:
        """The ids of each word of ``force_words``."""
        return _as_ids(self.force_words)

    @property
    def forbidden(self) -> tuple[Ids, ...]:
        """The ids of each word of ``bad_words``."""
        return _as_ids(self.bad_words)

    @property
    def searches(self) -> tuple[int, int]:
        """How many searches a pair gets that know nothing of each other's sentences, and the beam of each."""
        if self.do_sample:
            return self.num_return_sequences, 1
        return self.num_beam_groups, self.beams // self.num_beam_groups

    def check(self, vocab: int, start: int, end: int) -> None:
        """Refuse what does not fit a vocabulary of ``vocab`` words.

        Raises:
            ConfigError: the beam is wider, or a forced or forbidden word is none that could be so.
        """
        if self.beams > vocab:
            raise ConfigError(f"a beam of {self.beams} is wider than the vocabulary of {vocab} words")
        for name, words in (("force_words", self.forced), ("bad_words", self.forbidden)):
            outside = [i for word in words for i in word if not 0 <= i < vocab]
            if outside:
                raise ConfigError(f"{name}: no word has the id {outside[0]}, the vocabulary has {vocab}")
        if any(start in word or end in word for word in self.forced):
            raise ConfigError("force_words: every sentence has its start and end, and no more of them")
        if (end,) in self.forbidden:
            raise ConfigError("bad_words: a sentence must be able to end; to make it longer give min_length")

    def _contradiction(self) -> str | None:
        groups = self.num_beam_groups
        forced = sum(map(len, self.forced))
        # What a message calls them: words where each is one id, else the ids that must be said.
        forced_words = f"{forced} force_words" if forced == len(self.forced) else f"force_words of {forced} ids"
        if self.do_sample and self.beams > 1:
            return f"do_sample draws words, it searches with no beam: give beams=1, got beams={self.beams}"
        if self.do_sample and forced:
            return "do_sample cannot promise force_words: leave one of them out"
        if changed := [name for name, off in _SAMPLING.items() if getattr(self, name) != off and not self.do_sample]:
            return f"{', '.join(changed)} change how words are drawn: give do_sample=true, or leave them out"
        if not self.do_sample and self.num_return_sequences > self.beams:
            return f"num_return_sequences={self.num_return_sequences} are more than the beam holds, beams={self.beams}"
        if self.beams % groups:
            return f"beams must be a multiple of num_beam_groups, got beams={self.beams}, num_beam_groups={groups}"
        if (groups > 1) != (self.diversity_penalty > 0):
            return (
                "num_beam_groups above 1 and a diversity_penalty above 0 need each other, got "
                f"num_beam_groups={groups}, diversity_penalty={self.diversity_penalty}"
            )
        if groups > 1 and forced:
            return "force_words take the whole beam: leave out num_beam_groups"
        if forced and self.beams <= forced:
            return f"{forced_words} need a beam of at least {forced + 1}, got beams={self.beams}"
        both = [bad for bad in self.forbidden if any(_holds(word, bad) for word in self.forced)]
        if both:
            return f"force_words and bad_words share {_shown(sorted(both))}"
        if max(self.min_length, forced + 1) >= self.max_length:
            return (
                f"max_length={self.max_length} counts start and end, and leaves no room for "
                f"min_length={self.min_length} and {forced_words}"
            )
        return None


def _as_ids(words: Sequence[int | Ids]) -> tuple[Ids, ...]:
    """Each of ``words`` as its ids."""
    return tuple((word,) if isinstance(word, int) else tuple(word) for word in words)


def _holds(word: Ids, part: Ids) -> bool:
    """Whether ``part`` is said where ``word`` is."""
    starts = range(len(word) - len(part) + 1)
    return any(word[i : i + len(part)] == part for i in starts)


def _shown(words: Sequence[Ids]) -> list[int | Ids]:
    """``words`` for a message: an id alone is a number."""
    return [word[0] if len(word) == 1 else word for word in words]
