"""Says facts in words, in the manner of SECOND-CC: lower case, no full stop, passive voice.

Every caption states every change of its pair, in reading order; :func:`changecap.language.facts.parse` reads it back.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ...language.facts import NOUNS, NUMBERS, PLACES, Fact

T = TypeVar("T")
CAPTIONS = 5  # a pair
NO_CHANGE = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change is occurred",
    "almost nothing is changed",
)

# {S} what was there, {T} what is there now, {P} where; {S:is} agrees with {S}. The most usual first, see _usual().
_TEMPLATES = (
    "{P} {S} {S:is} replaced with {T}",
    "{S} {P} {S:is} turned into {T}",
    "{P} {S} {S:becomes} {T}",
    "{S} {S:is} transformed into {T} {P}",
    "{T} {T:takes} the place of {S} {P}",
    "{P} {S} {S:makes} room for {T}",
    "{P} {T} {T:appears} instead of {S}",
    "{S} {P} {S:is} changed into {T}",
    "{T} {T:replaces} {S} {P}",
)
_BUILT = (  # of what is built, not of what grows or flows
    "{P} {T} {T:is} built on {S}",
    "{T} {T:is} constructed on {S} {P}",
    "{P} {T} {T:is} built in place of {S}",
)
_PLURAL = {
    "is": "are",
    "becomes": "become",
    "gives": "give",
    "makes": "make",
    "appears": "appear",
    "takes": "take",
    "replaces": "replace",
}
_SCENES = ("scene", "stage", "image")
_OTHER_WORD = {"top": "upper", "bottom": "lower"}


def captions(facts: Sequence[Fact], random: np.random.Generator) -> list[str]:
    """Five captions of ``facts``, each drawn by itself; without facts the five no-change sentences, shuffled."""
    if not facts:
        return [NO_CHANGE[i] for i in random.permutation(len(NO_CHANGE))]
    return [say(facts, random) for _ in range(CAPTIONS)]


def say(facts: Sequence[Fact], random: np.random.Generator) -> str:
    """One caption that states ``facts`` (one or more) in reading order: top to bottom, left to right."""
    first, *others = sorted(facts, key=lambda fact: PLACES.index(fact.place))
    sentence = _clause(first, random)
    for fact in others:
        sentence += f" {_usual(('and', 'while'), random)} {_clause(fact, random)}"
    return sentence


def _usual(options: Sequence[T], random: np.random.Generator) -> T:
    """One of ``options``, each half as frequent as the one before it, as people prefer some words to others."""
    rank = int(random.geometric(0.5)) - 1
    return options[rank % len(options)]


def _clause(fact: Fact, random: np.random.Generator) -> str:
    number = fact.count or 1
    words = {"{P}": _place(fact.place, random)}
    for role, name in (("S", fact.source), ("T", fact.target)):
        noun = _usual(NOUNS[name], random)
        several = bool(noun.many) and number > 1
        words[f"{{{role}}}"] = f"{NUMBERS[number - 1]} {noun.many}" if several else f"{noun.article} {noun.one}".strip()
        for one, many in _PLURAL.items():
            words[f"{{{role}:{one}}}"] = many if several or noun.are else one
    built = fact.target in ("building", "playground") and random.random() < 0.5
    template = _usual(_BUILT if built else _TEMPLATES, random)
    return " ".join(words.get(word, word) for word in template.split())


def _place(place: str, random: np.random.Generator) -> str:
    scene = f"of the {_usual(_SCENES, random)}"
    if place == "middle":
        return _usual(("in the middle", f"in the middle {scene}", f"in the center {scene}"), random)
    row, *side = place.split()
    other = " ".join([_OTHER_WORD.get(row, row), *side])
    if side:
        return _usual((f"in the {place} corner", f"at the {place} {scene}", f"in the {other} part {scene}"), random)
    return _usual((f"on the {place} side", f"at the {place} {scene}", f"in the {other} part {scene}"), random)
