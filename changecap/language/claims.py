"""What a caption claims of land cover: which class became which, which one was lost, which one was gained.

Reads how people write (LEVIR-CC, SECOND-CC and their like), not only the embedded grammar, which
:func:`changecap.language.facts.parse` reads back with counts and places. The classes are those of SECOND: roads, car
parks and bare land are all ground, so a road that is built on bare land changes no class. Knows sentences only, no
images.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .facts import NOUNS
from .no_change import says_no_change


class Claim(NamedTuple):
    """One change of class, of ``facts.CLASSES[1:]``; None where the sentence does not say."""

    source: str | None
    target: str | None


# Names of the classes beside those the grammar speaks (facts.NOUNS).
_ALSO = {
    "water": r"(?:water(?: area)?|river|stream|canal|reservoir|(?:swimming )?pool|pond|lake)s?|sea",
    "ground": r"(?:(?:empty|vacant|open|bare|waste) ?)?(?:land|soil|ground)s?|(?:empty|vacant|open) (?:space|lot)s?"
    r"|dirt|sand|deserts?|clearings?|(?:cross)?roads?|roundabouts?|paths?|streets?|highways?"
    r"|(?:parking|car) ?(?:lot|park)s?|pavements?|squares?|(?:paved|impervious|non[- ]vegetated(?: ground)?) surfaces?"
    r"|n\.? ?v\.? ?g\.? surfaces?",
    "low vegetation": r"(?:low |sparse )?vegetation|green (?:areas|spaces?|land)|grass(?:lands)?|lawns|meadows?"
    r"|greenery|plants|bush(?:es)?|shrubs?|(?:farm|crop)lands?|crops|fields?",
    "tree": r"tree|woods|woodlands?|forests?|wooded areas|groves",
    "building": r"villas?|residential (?:area|district|block)s?|built[- ]up areas?|factory|factories|warehouses?"
    r"|apartments?|dwellings?|sheds?|schools?",
    "playground": r"playgrounds|(?:sport|football|soccer|baseball|basketball)s? (?:field|ground|court|pitch)(?:e?s)?"
    r"|tennis courts?|stadiums?|running tracks?",
}
_SPOT = r"(?:corner|edge|side|top|bottom|left|right|middle|cent(?:er|re)|front|end|scene|stage|image|picture|area)s?"
# What verbs say of the nouns before and after them.
_VERBS = {
    # The former is the latter now; "trees become lush" says nothing.
    "became": r"becomes?|became",
    "gave way": r"(?:replaced|taken over|taken|occupied|covered)(?: \w+ly)? (?:with|by)|used (?:for|as)"
    r"|(?:turn|convert|transform|chang|develop)\w* (?:in)?to|(?:giv|gave|mak|mad)\w* (?:way|room|place) (?:to|for)",
    "replaced": r"replac(?:es?|ing)|t(?:ak(?:es?|en|ing)|ook) (?:the )?place of|in(?:stead| (?:the )?place) of",
    # From the latter "to" what follows.
    "changed": r"(?:turn|convert|transform|chang)\w* from",
    "came": r"(?:re)?(?:built|build|construct(?:ed)?)|erect(?:ed)?|appear(?:s|ed|ing)?|planted|add(?:ed)?|create[sd]?"
    r"|emerge[sd]?|show(?:s|ed|n)? up|developed|dug|laid|paved|installed|completed|located|placed|situated|gr[eo]wn?",
    "went": r"removed?|demolish(?:ed)?|cleared|(?:disappear|vanish)(?:s|es|ed)?|(?:cut|torn|knocked) down|destroyed"
    r"|gone|lost|felled|missing|dried up|replaced",
}
_OTHER = {
    "on": r"on|over|onto",
    "in": r"in|within",
    "near": rf"along(?:side)?|beside|near|by|next to|around|between|among|behind|at|across|through|{_SPOT} of",
    "spot": rf"{_SPOT}|parts?",
    "with": r"with",
    "to": r"(?:in)?to",
    "and": r"and|while|but|[,.;]",
}


def _names() -> dict[str, str]:
    """A pattern of all names of each class, the grammar's first."""
    patterns = {}
    for name, nouns in NOUNS.items():
        forms = [noun.one for noun in nouns] + [noun.many for noun in nouns if noun.many]
        patterns[name] = "|".join([*forms, _ALSO[name]])
    return patterns


# The first that matches wins: "residential area" before "of", "sports field" whole.
_WORDS = _VERBS | _names() | _OTHER
_KINDS = list(_WORDS)
_TOKEN = re.compile("|".join(rf"(?<!\w)(?:{words})(?!\w)()" for words in _WORDS.values()))
_TAKES_LIST = ("became", "gave way", "replaced", "changed")
# A house in the woods stands where they were, a house in a suburb does not.
_BUILT_IN = ("ground", "low vegetation", "tree", "water")


@lru_cache(maxsize=1 << 14)
def claims(sentence: str) -> frozenset[Claim]:
    """The changes of class that ``sentence`` claims; what is not understood is left out. Raises nothing."""
    text = " ".join(sentence.lower().split())
    if says_no_change(text):
        return frozenset()
    found: set[Claim] = set()
    for clause in _clauses(text):
        found |= _read(clause)
    return frozenset(found)


def _clauses(text: str) -> list[list[str]]:
    """The kinds of the words of each clause: one ends at an "and" if a noun and a verb of its own follow."""
    clauses: list[list[str]] = []
    # Nouns that wait for a verb: "roads" of "roads and houses are built".
    waiting: list[str] = []
    verb = ""
    for part in re.split(r"(?=[,;]|(?<=\w\w)\.| (?:and|while|but) )", text):
        if says_no_change(part):
            continue
        kinds = [_KINDS[(token.lastindex or 0) - 1] for token in _TOKEN.finditer(part)]
        verbs = [kind for kind in kinds if kind in _VERBS]
        first = next((kind for kind in kinds if kind != "and"), "")

        # "removed and replaced by houses", "replaced by roads and houses": both parts are one clause.
        goes_on = first in _VERBS or (verb in _TAKES_LIST and not verbs)
        if verb and goes_on:
            clauses[-1] += kinds
        elif verbs:
            clauses.append(waiting + kinds)
            waiting = []
        else:
            waiting += kinds
        verb = verbs[-1] if verbs else verb
    if clauses:
        clauses[-1] += waiting
    return clauses


def _read(kinds: Sequence[str]) -> set[Claim]:
    """The claims of one clause, given the kinds of its words."""
    clause = _Clause()
    for kind in kinds:
        if kind in _VERBS or (clause.verb == "changed" and kind == "to"):
            clause.take_verb("gave way" if kind == "to" else kind)
        elif kind in _OTHER:
            clause.take_place(kind)
        else:
            clause.take_noun(kind)

    if "came" in kinds and clause.gained:
        clause.lost += clause.grounds
    if clause.verb == "became" and not clause.gained:
        return set()

    # A change of which one end is not said has None there.
    nothing: list[str | None] = [None]
    found = set()
    for source in clause.lost or nothing:
        for target in clause.gained or nothing:
            if source != target:
                found.add(Claim(source, target))
    return found


class _Clause:
    """What is understood of a clause so far: the classes lost and gained, and where the next noun belongs."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.gained: list[str] = []
        # What something stands on: lost, if it was built there.
        self.grounds: list[str] = []
        # Nouns that wait for their verb.
        self.subjects: list[str] = []
        # The list that the next noun goes to.
        self.side = self.subjects
        self.verb = ""
        # The word of place that the next noun belongs to, and the one of the last noun.
        self.place = ""
        self.last_place = ""

    def take_verb(self, verb: str) -> None:
        """Give the waiting nouns to their side, and open the side of those that follow."""
        ignored: list[str] = []
        before, after = {
            "became": (self.lost, self.gained),
            "gave way": (self.lost, self.gained),
            "replaced": (self.gained, self.lost),
            "changed": (ignored, self.lost),
            "came": (self.gained, self.gained),
            "went": (self.lost, self.lost),
        }[verb]
        before += self.subjects
        # "houses appear" is complete: the nouns that follow are no part of it.
        is_complete = verb not in _TAKES_LIST and bool(self.subjects)
        self.side = ignored if is_complete else after
        self.subjects = []
        self.verb, self.place, self.last_place = verb, "", ""

    def take_place(self, word: str) -> None:
        """Remember where the next noun lies."""
        if word == "and":
            # "built near trees and a lake", but "houses near trees and a lake disappear".
            self.place = self.last_place if self.verb else ""
        else:
            self.place = "" if word == "spot" else word

    def take_noun(self, name: str) -> None:
        """Give a class to where it belongs; one that only says where something happens is left out."""
        is_ground = self.place == "on" or (self.place == "in" and name in _BUILT_IN)
        if is_ground:
            self.grounds.append(name)
        elif self.place == "with" and self.verb == "came":
            self.gained.append(name)
        elif self.place not in ("in", "near"):
            self.side.append(name)
        self.last_place, self.place = self.place, ""
