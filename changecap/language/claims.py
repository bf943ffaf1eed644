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


_ALSO = {  # names of the classes beside those the grammar speaks (facts.NOUNS)
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
_VERBS = {  # what they say of the nouns before and after them
    "became": r"becomes?|became",  # the former is the latter now; "trees become lush" says nothing
    "gave way": r"(?:replaced|taken over|taken|occupied|covered)(?: \w+ly)? (?:with|by)|used (?:for|as)"
    r"|(?:turn|convert|transform|chang|develop)\w* (?:in)?to|(?:giv|gave|mak|mad)\w* (?:way|room|place) (?:to|for)",
    "replaced": r"replac(?:es?|ing)|t(?:ak(?:es?|en|ing)|ook) (?:the )?place of|in(?:stead| (?:the )?place) of",
    "changed": r"(?:turn|convert|transform|chang)\w* from",  # from the latter "to" what follows
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
_NAMES = {
    name: "|".join([*(form for noun in nouns for form in (noun.one, noun.many) if form), _ALSO[name]])
    for name, nouns in NOUNS.items()
}
_WORDS = _VERBS | _NAMES | _OTHER  # the first that matches wins: "residential area" before "of", "sports field" whole
_KINDS = list(_WORDS)
_TOKEN = re.compile("|".join(rf"(?<!\w)(?:{words})(?!\w)()" for words in _WORDS.values()))
_TAKES_LIST = ("became", "gave way", "replaced", "changed")
_BUILT_IN = ("ground", "low vegetation", "tree", "water")  # a house in the woods, but not a house in a suburb


@lru_cache(maxsize=1 << 14)
def claims(sentence: str) -> frozenset[Claim]:
    """The changes of class that ``sentence`` claims; what is not understood is left out. Raises nothing."""
    text = " ".join(sentence.lower().split())
    if says_no_change(text):
        return frozenset()
    return frozenset(claim for clause in _clauses(text) for claim in _read(clause))


def _clauses(text: str) -> list[list[str]]:
    """The kinds of the words of each clause: one ends at an "and" if a noun and a verb of its own follow."""
    clauses: list[list[str]] = []
    waiting: list[str] = []  # for a verb: "roads" of "roads and houses are built"
    verb = ""
    for part in re.split(r"(?=[,;]|(?<=\w\w)\.| (?:and|while|but) )", text):
        if says_no_change(part):
            continue
        kinds = [_KINDS[(token.lastindex or 0) - 1] for token in _TOKEN.finditer(part)]
        verbs = [kind for kind in kinds if kind in _VERBS]
        first = next((kind for kind in kinds if kind != "and"), "")
        if verb and (first in _VERBS or (verb in _TAKES_LIST and not verbs)):
            clauses[-1] += kinds  # removed and replaced by houses; replaced by roads and houses
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
    lost: list[str] = []
    gained: list[str] = []
    grounds: list[str] = []  # what something stands on: lost, if it was built there
    subjects: list[str] = []  # nouns that wait for their verb
    sides = {  # where the nouns before a verb go, and those after it
        "became": (lost, gained),
        "gave way": (lost, gained),
        "replaced": (gained, lost),
        "changed": ([], lost),
        "came": (gained, gained),
        "went": (lost, lost),
    }
    side, place, of_last, verb = subjects, "", "", ""
    for kind in kinds:
        kind = "gave way" if (verb, kind) == ("changed", "to") else kind
        if kind in _VERBS:
            before, side = sides[kind]
            before += subjects
            if kind not in _TAKES_LIST and subjects:
                side = []  # "houses appear" is complete
            subjects = []
            place, of_last, verb = "", "", kind
        elif kind == "and":
            place = of_last if verb else ""  # near trees and a lake; but: houses near trees and a lake disappear
        elif kind in _OTHER:
            place = "" if kind == "spot" else kind
        else:
            if place == "on" or (place == "in" and kind in _BUILT_IN):
                grounds.append(kind)
            elif place == "with" and verb == "came":
                gained.append(kind)
            elif place not in ("in", "near"):
                side.append(kind)
            place, of_last = "", place
    if "came" in kinds and gained:
        lost += grounds
    if verb == "became" and not gained:
        return set()
    nothing: list[str | None] = [None]
    return {Claim(a, b) for a in lost or nothing for b in gained or nothing if a != b}
