"""Says facts in words, in the manner of SECOND-CC: lower case, no full stop, passive voice.

Every caption states every change of its pair, in reading order; :func:`changecap.facts.parse` reads it back.
"""

from collections.abc import Sequence

from ...facts import NOUNS, NUMBERS, PLACES, Fact
from .draw import Draw

CAPTIONS = 5  # a pair
NO_CHANGE = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change is occurred",
    "almost nothing is changed",
)

# {S} what was there, {T} what is there now, {P} where; "is/are"-like pairs agree with the noun named before the colon.
_TEMPLATES = (
    "{S} {P} {S:is} replaced with {T}",
    "{S} {P} {S:is} replaced by {T}",
    "{S} {P} {S:is} transformed into {T}",
    "{S} {P} {S:is} turned into {T}",
    "{S} {S:is} converted into {T} {P}",
    "{P} {S} {S:is} changed into {T}",
    "{S} {P} {S:has} become {T}",
    "{S} {P} {S:is} {gone} and {T} {T:appears}",
    "{S} {P} {S:is} {gone} to make way for {T}",
    "{S} {P} {S:gives} way to {T}",
    "{S} {S:disappears} and {T} {T:is} {made} {P}",
    "where {S} {S:was} {P} there {T:is} now {T}",
    "{T} {T:is} {made} {on} {S} {P}",
    "{T} {P} {T:is} {made} in place of {S}",
    "{T} {T:appears} in place of {S} {P}",
    "{T} {T:replaces} {S} {P}",
    "{P} {T} {T:takes} the place of {S}",
    "there {T:is} now {T} where {S} {S:was} {P}",
)
_PLURAL = {
    "is": "are",
    "was": "were",
    "has": "have",
    "appears": "appear",
    "gives": "give",
    "disappears": "disappear",
    "replaces": "replace",
    "takes": "take",
}
_MADE = {
    "water": ("created", "dug"),
    "ground": ("created", "formed"),
    "low vegetation": ("planted", "sown"),
    "tree": ("planted",),
    "building": ("built", "constructed", "erected"),
    "playground": ("built", "constructed", "laid out"),
}
_GONE = {
    "water": ("removed", "filled"),
    "ground": ("removed",),
    "low vegetation": ("removed", "cleared"),
    "tree": ("removed", "cleared", "felled"),
    "building": ("removed", "demolished"),
    "playground": ("removed", "demolished"),
}
_SCENE = ("scene", "stage")


def captions(draw: Draw, facts: Sequence[Fact]) -> list[str]:
    """Five captions of ``facts``: different wordings, or without facts the five no-change sentences, shuffled."""
    if not facts:
        return draw.shuffled(NO_CHANGE)
    said: list[str] = []
    while len(said) < CAPTIONS:
        sentence = say(draw, facts)
        if sentence not in said:
            said.append(sentence)
    return said


def say(draw: Draw, facts: Sequence[Fact]) -> str:
    """One caption that states ``facts`` in reading order: top to bottom, left to right."""
    ordered = sorted(facts, key=lambda fact: PLACES.index(fact.place))
    sentence = _clause(draw, ordered[0])
    for fact in ordered[1:]:
        sentence += f" {draw.choice(('and', 'while'))} {_clause(draw, fact)}"
    return sentence


def _clause(draw: Draw, fact: Fact) -> str:
    number = fact.count or 1
    before, s_many = _noun(draw, fact.source, number, known=True)
    after, t_many = _noun(draw, fact.target, number, known=False)
    words = {"{S}": before, "{T}": after, "{P}": _place(draw, fact.place)}
    words["{made}"], words["{gone}"] = draw.choice(_MADE[fact.target]), draw.choice(_GONE[fact.source])
    words["{on}"] = "on" if fact.source in ("ground", "low vegetation") else "in place of"
    for one, many in _PLURAL.items():
        words[f"{{S:{one}}}"], words[f"{{T:{one}}}"] = (many if s_many else one), (many if t_many else one)
    return " ".join(words.get(word, word) for word in draw.choice(_TEMPLATES).split())


def _noun(draw: Draw, name: str, number: int, known: bool) -> tuple[str, bool]:
    """A phrase for class ``name``, and whether it is plural."""
    noun = draw.choice(NOUNS[name])
    if noun.many and number > 1:
        return f"{draw.choice(('the ', '')) if known else ''}{NUMBERS[number - 1]} {noun.many}", True
    article = draw.choice(("the", "the", noun.article)) if known else noun.article
    if noun.many and article != "the" and draw.chance(0.3):
        article = "one"
    return f"{article} {noun.one}".strip(), noun.are


def _place(draw: Draw, place: str) -> str:
    scene = draw.choice(_SCENE)
    if place == "middle":
        return draw.choice((f"in the middle of the {scene}", f"in the center of the {scene}", "in the middle"))
    words = place.split()
    row = {"top": draw.choice(("top", "upper")), "bottom": draw.choice(("bottom", "lower"))}.get(words[0], "")
    if len(words) == 2:
        corner = f"{row} {words[1]}"
        return draw.choice((f"in the {corner} corner of the {scene}", f"at the {corner} of the {scene}", f"at the {corner}"))
    if row:
        edge = words[0]
        return draw.choice((f"at the {edge} of the {scene}", f"in the {row} part of the {scene}", f"at the {edge}"))
    return draw.choice((f"on the {place} side of the {scene}", f"on the {place} of the {scene}", f"on the {place}"))
