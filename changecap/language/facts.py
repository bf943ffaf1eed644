"""What a caption claims: from which class to which, how many, where; and how to read that from a sentence.

The words are those the embedded grammar (:mod:`changecap.data.synthetic.grammar`) speaks; both take them from here, so
every synonym belongs to exactly one class. Knows sentences only, no images.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import DataError
from ..landcover import CLASSES

PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
NUMBERS = ("one", "two", "three", "four", "five")


class Noun(NamedTuple):
    """A name of a class: as one thing, as several (empty if it has no plural), and its indefinite article."""

    one: str
    many: str = ""
    article: str = "a"
    are: bool = False  # grammatically plural, as "trees"


NOUNS: Mapping[str, tuple[Noun, ...]] = {
    "water": (Noun("water area"), Noun("pond"), Noun("lake")),
    "ground": (Noun("bare land", article=""), Noun("empty space", article="an"), Noun("bare ground", article="")),
    "low vegetation": (Noun("green area"), Noun("grassland", article=""), Noun("lawn")),
    "tree": (Noun("trees", article="", are=True), Noun("wooded area"), Noun("grove")),
    "building": (Noun("building", "buildings"), Noun("structure", "structures"), Noun("house", "houses")),
    "playground": (Noun("playground"), Noun("sports field"), Noun("sports ground")),
}

# The verb between two nouns says which of them was there before.
FORWARD = frozenset(  # <before> is replaced with <after>
    (
        "replaced",
        "transformed",
        "turned",
        "converted",
        "changed",
        "become",
        "becomes",
        "removed",
        "demolished",
        "cleared",
        "give",
        "gives",
        "make",
        "makes",
    )
)
BACKWARD = frozenset(  # <after> is built on <before>
    (
        "built",
        "constructed",
        "erected",
        "planted",
        "created",
        "appear",
        "appears",
        "instead",
        "replace",
        "replaces",
        "take",
        "takes",
    )
)

_CLASS_OF = {form: name for name, nouns in NOUNS.items() for noun in nouns for form in (noun.one, noun.many) if form}
_COUNT = {"a": 1, "an": 1, "the": 1} | {word: i for i, word in enumerate(NUMBERS, 1)}
_ROW = {"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
_MIDDLE = ("middle", "center", "centre")
_TOKEN = re.compile(
    rf"\b(?:(?P<noun>{'|'.join(sorted(_CLASS_OF, key=len, reverse=True))})"
    rf"|(?P<place>(?:{'|'.join(_ROW)})(?: (?:left|right))?|left|right|{'|'.join(_MIDDLE)})"
    rf"|(?P<forward>{'|'.join(sorted(FORWARD))})|(?P<backward>{'|'.join(sorted(BACKWARD))})"
    r"|(?P<join>and|while))\b"
)


@dataclass(frozen=True)
class Fact:
    """One change.

    Args:
        source: class before, of ``CLASSES[1:]``.
        target: class after, of ``CLASSES[1:]``.
        count: how many buildings, 1 for everything else; ``None`` where a sentence does not say.
        place: of ``PLACES``; empty where a sentence does not say.
    """

    source: str
    target: str
    count: int | None
    place: str

    def to_json(self) -> dict[str, str | int | None]:
        """The fact as the caption file holds it."""
        return {"from": self.source, "to": self.target, "count": self.count, "place": self.place}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Fact":
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError: a key is missing.
            DataError: a value is not one a fact can have.
        """
        fact = cls(entry["from"], entry["to"], entry["count"], entry["place"])
        for key, value, known in (
            ("from", fact.source, CLASSES[1:]),
            ("to", fact.target, CLASSES[1:]),
            ("place", fact.place, PLACES),
            ("count", fact.count, (1, 2, 3, 4, 5, None)),
        ):
            if value not in known:
                raise DataError(f"a fact's {key!r} must be one of {', '.join(map(str, known))}, got {value!r}")
        return fact


def mentioned(sentence: str) -> frozenset[str]:
    """The classes that ``sentence`` names."""
    return frozenset(_CLASS_OF[m["noun"]] for m in _TOKEN.finditer(sentence) if m["noun"])


def parse(sentence: str) -> list[Fact]:
    """The facts that ``sentence`` states, in its order; whatever is not understood is left out.

    A clause is two class names with a verb between them; its place stands anywhere in the clause. Never raises: what
    a captioner says may be unfinished or nonsense.
    """
    tokens = list(_TOKEN.finditer(sentence))
    nouns = [i for i, token in enumerate(tokens) if token["noun"]]
    clauses: list[tuple[int, int, bool]] = []  # tokens of both nouns, and whether the first was there before
    k = 0
    while k + 1 < len(nouns):
        first, second = nouns[k], nouns[k + 1]
        verb = next((t for t in tokens[first:second] if t["forward"] or t["backward"]), None)
        if verb is None:
            k += 1
        else:
            clauses.append((first, second, bool(verb["forward"])))
            k += 2
    facts = []
    begin = 0
    for k, (first, second, forward) in enumerate(clauses):
        following = clauses[k + 1][0] if k + 1 < len(clauses) else len(tokens)
        joins = [i for i in range(second, following) if tokens[i]["join"]]
        end = joins[-1] if joins and following < len(tokens) else following
        named = [tokens[first], tokens[second]]
        before, after = (_CLASS_OF[token["noun"]] for token in (named if forward else reversed(named)))
        place = next((_place(token["place"]) for token in tokens[begin:end] if token["place"]), "")
        facts.append(Fact(before, after, _count(sentence, named), place))
        begin = end
    return facts


def _place(words: str) -> str:
    if words in _MIDDLE:
        return "middle"
    return " ".join(_ROW.get(word, word) for word in words.split())


def _count(sentence: str, nouns: list[re.Match[str]]) -> int | None:
    """How many buildings are named, 1 where none are."""
    for noun in nouns:
        if _CLASS_OF[noun["noun"]] == "building":
            word = sentence[: noun.start()].split()[-1:]
            number = _COUNT.get(word[0]) if word else None
            # "a buildings" and "two building" are slips that still say a number; "the buildings" is none
            return None if word == ["the"] and noun["noun"].endswith("s") else number
    return 1
