"""What a caption claims: from which class to which, how many, where; and how to read that from a sentence.

The words are those the embedded grammar (:mod:`changecap.data.synthetic.grammar`) speaks; both take them from here, so
every synonym belongs to exactly one class. Knows sentences only, no images.
"""

import re
from collections.abc import Mapping, Sequence
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
# Forward: <before> is replaced with <after>.
FORWARD = frozenset(
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
# Backward: <after> is built on <before>.
BACKWARD = frozenset(
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


def _classes_of_nouns() -> dict[str, str]:
    """The class that each form of a noun names."""
    class_of = {}
    for name, nouns in NOUNS.items():
        for noun in nouns:
            class_of[noun.one] = name
            if noun.many:
                class_of[noun.many] = name
    return class_of


_CLASS_OF = _classes_of_nouns()
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
        allowed: dict[str, Sequence[object]] = {
            "from": CLASSES[1:],
            "to": CLASSES[1:],
            "place": PLACES,
            "count": (1, 2, 3, 4, 5, None),
        }
        for key, known in allowed.items():
            value = entry[key]
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
    clauses = _clauses(tokens)
    facts = []
    begin = 0
    for k, clause in enumerate(clauses):
        following = clauses[k + 1].first if k + 1 < len(clauses) else len(tokens)
        end = _end_of(clause, following, tokens)
        named = [tokens[clause.first], tokens[clause.second]]
        before, after = named if clause.forward else reversed(named)
        source, target = _CLASS_OF[before["noun"]], _CLASS_OF[after["noun"]]
        facts.append(Fact(source, target, _count(sentence, named), _first_place(tokens[begin:end])))
        begin = end
    return facts


class _Clause(NamedTuple):
    """Two nouns with a verb between them, as numbers of tokens, and whether the first noun was there before."""

    first: int
    second: int
    forward: bool


def _clauses(tokens: list[re.Match[str]]) -> list[_Clause]:
    nouns = [i for i, token in enumerate(tokens) if token["noun"]]
    clauses = []
    k = 0
    while k + 1 < len(nouns):
        first, second = nouns[k], nouns[k + 1]
        verb = next((token for token in tokens[first:second] if token["forward"] or token["backward"]), None)
        if verb is None:
            k += 1
        else:
            clauses.append(_Clause(first, second, bool(verb["forward"])))
            k += 2
    return clauses


def _end_of(clause: _Clause, following: int, tokens: list[re.Match[str]]) -> int:
    """The token that ends ``clause``: the last "and" or "while" before the noun that begins the ``following`` one."""
    is_last = following == len(tokens)
    joins = [i for i in range(clause.second, following) if tokens[i]["join"]]
    return following if is_last or not joins else joins[-1]


def _first_place(tokens: list[re.Match[str]]) -> str:
    """The first place among ``tokens``; empty where none is named."""
    for token in tokens:
        if token["place"]:
            return _place(token["place"])
    return ""


def _place(words: str) -> str:
    if words in _MIDDLE:
        return "middle"
    return " ".join(_ROW.get(word, word) for word in words.split())


def _count(sentence: str, nouns: list[re.Match[str]]) -> int | None:
    """How many buildings are named, 1 where none are."""
    for noun in nouns:
        if _CLASS_OF[noun["noun"]] != "building":
            continue
        words_before = sentence[: noun.start()].split()
        word = words_before[-1] if words_before else ""
        # "a buildings" and "two building" are slips that still say a number; "the buildings" is none.
        if word == "the" and noun["noun"].endswith("s"):
            return None
        return _COUNT.get(word)
    return 1
