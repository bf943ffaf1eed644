"""Captions follow their images: the words of place of a sentence, mirrored, transposed or turned with the picture.

A *turn* is one of the eight symmetries of the square, as the matrix that says where directions go: x to the right, y
down. A sentence is read into literal text and *slots*, each of them words of one *style* for some direction; a slot is
turned and said again in its own style, so that the speaker's synonym stays: "upper left" becomes "upper right" and
never "top right". What may be no place ("no trees left", "two vertical roads") is a *snag* and forbids the turns that
would move it. Knows sentences only, no images.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from .facts import PLACES, Fact

Turn = tuple[tuple[int, int], tuple[int, int]]
Vector = tuple[int, int]

TURNS: Mapping[str, Turn] = {
    "identity": ((1, 0), (0, 1)),
    "flip_horizontal": ((-1, 0), (0, 1)),  # left and right change places
    "flip_vertical": ((1, 0), (0, -1)),
    "transpose": ((0, 1), (1, 0)),  # mirrored on the main diagonal
    "antitranspose": ((0, -1), (-1, 0)),
    "rotate90": ((0, -1), (1, 0)),  # clockwise: what was at the top is on the right
    "rotate180": ((-1, 0), (0, -1)),
    "rotate270": ((0, 1), (-1, 0)),
}


def then(first: Turn, second: Turn) -> Turn:
    """The turn that does ``first`` and after it ``second``."""
    (a, b), (c, d) = first
    (e, f), (g, h) = second
    return (e * a + f * c, e * b + f * d), (g * a + h * c, g * b + h * d)


def rewrite(caption: str, turn: Turn) -> str | None:
    """``caption`` as it is true of the turned image, or ``None`` where that cannot be said for sure.

    What is rewritten comes back: ``turn`` done until it is undone gives ``caption`` again, letter by letter. North is
    taken to be at the top of an image, before and after.

    Raises:
        ValueError: ``turn`` is none of the eight.
    """
    return _rewritten(caption, turn)[0]


def refusal(caption: str, turn: Turn) -> str | None:
    """Why :func:`rewrite` answers ``None``; ``None`` where it does not."""
    return _rewritten(caption, turn)[1]


def turn_place(place: str, turn: Turn) -> str:
    """Where ``place``, one of :data:`changecap.language.facts.PLACES` or empty, lies in the turned image."""
    if not place:
        return place
    x, y = _moved((("right" in place) - ("left" in place), ("bottom" in place) - ("top" in place)), turn)
    return PLACES[3 * (y + 1) + x + 1]


def turn_fact(fact: Fact, turn: Turn) -> Fact:
    """``fact`` as it is true of the turned image."""
    return replace(fact, place=turn_place(fact.place, turn))


def _moved(vector: Vector, turn: Turn) -> Vector:
    (a, b), (c, d) = turn
    return a * vector[0] + b * vector[1], c * vector[0] + d * vector[1]


# In a style each direction has its word, and but for "above" and "below" each word is of one style: else no turn could
# be undone.


def _style(up: str, down: str, left: str, right: str) -> dict[Vector, str]:
    return {(0, -1): up, (0, 1): down, (-1, 0): left, (1, 0): right}


_STYLES: dict[str, dict[Vector, str]] = {
    "side": _style("top", "bottom", "left", "right"),
    "part": _style("upper", "lower", "left-hand", "right-hand"),
    "most": _style("topmost", "bottommost", "leftmost", "rightmost"),
    "ward": _style("upward", "downward", "leftward", "rightward"),
    "wards": _style("upwards", "downwards", "leftwards", "rightwards"),
    "line": _style("vertical", "vertical", "horizontal", "horizontal"),
    "along": _style("vertically", "vertically", "horizontally", "horizontally"),
    **{
        f"north{end}": _style(*(f"{point}{end}" for point in ("north", "south", "west", "east")))
        for end in ("", "ern", "erly", "ernmost", "ward", "wards", "bound")
    },
}
_MEANING = {word: (style, vector) for style, words in _STYLES.items() for vector, word in words.items()}
_STYLES |= {
    "beyond": _style("above", "below", "to the left", "to the right"),  # "the grass above is cleared"
    "beyond it": _style("above", "below", "to the left of", "to the right of"),  # "a house above the road"
}


class _Slot(NamedTuple):
    """Words for a direction, or for a corner: then ``form`` says how its row and column are put together."""

    style: str
    vector: Vector
    form: str = ""
    article: bool = False
    capital: bool = False

    def __str__(self) -> str:
        x, y = self.vector
        words = _STYLES[self.style]
        if self.form:
            columns = words if self.style == "north" else _STYLES["side"]
            said = self.form.format(row=words[(0, y)], column=columns[(x, 0)])
        else:
            said = words[self.vector]
        if self.article:
            said = f"{'an' if said[0] in 'aeiou' else 'a'} {said}"
        return said.capitalize() if self.capital else said

    def turned(self, turn: Turn) -> "_Slot":
        x, y = _moved(self.vector, turn)
        return self._replace(vector=(abs(x), abs(y)) if self.style in ("line", "along") else (x, y))


_FORBIDS: Mapping[str, Callable[[Turn], bool]] = {
    "left and right": lambda turn: turn[0][0] != 1,
    "top and bottom": lambda turn: turn[1][1] != 1,
    "rows": lambda turn: turn[0][0] == 0,  # they may not become columns
    "all": lambda turn: turn != TURNS["identity"],
}


@dataclass(frozen=True)
class _Snag:
    """Words that may say a direction and may not: no turn may move what is ``fixed``, a key of ``_FORBIDS``."""

    text: str
    fixed: str
    why: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


_Part = str | _Slot | _Snag


def _rewritten(caption: str, turn: Turn) -> tuple[str | None, str | None]:
    """The rewritten caption, or why there is none."""
    if turn not in TURNS.values():
        raise ValueError(f"a turn is one of the eight of changecap.language.directions.TURNS, got {turn!r}")
    parts = _read(caption)
    for part in parts:
        if isinstance(part, _Snag) and _FORBIDS[part.fixed](turn):
            return None, part.why
    answer, at = "", turn
    while True:  # through the whole cycle, that what is said be read as it is meant
        there = tuple(part.turned(at) if isinstance(part, _Slot) else part for part in parts)
        said = "".join(map(str, there))
        answer = answer or said
        if _read(said) != there:
            return None, "once turned it would be read another way"
        if at == TURNS["identity"]:
            return (answer, None) if said == caption else (None, "an article does not agree")
        at = then(at, turn)


# Reading


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BEFORE_PLACES = _words(
    "the its their this that both each at on in to from of by near along toward towards and or middle center centre "
    "central far higher"
)
_PLACES = _words(
    "corner corners side sides part parts area areas half halves edge edges end ends portion portions section sections "
    "quarter quarters region regions zone zones border borders"
)
_THINGS = _words(  # begin what something can be above of
    "the a an this that these those its their it them some each both all one two three four five several many few"
)
_GO_ON = _words(  # follow "the grass above" and "the grass to the left"
    "and or but while with as to is are was were has have had be become becomes became disappear disappears "
    "disappeared turn turns turned develop develops developed continue continues change changes appear appears"
)
_SCENE = _words("scene image picture screen stage photo area map view")
_STANDING = _words("building buildings house houses roof roofs hill hills mountain mountains tower towers")
_BE, _HAVE = _words("is are was were be been being"), _words("have has had having")
_NOT_RIGHT = _words("now next beside behind after before away there where along through across under above below in")
_MOTION = re.compile(  # before "to the left": a way leads there, or it is joined to what is there
    r"\b(?:from|extend\w*|stretch\w*|lead\w*|run\w*|go|goes|going|turn\w*|mov\w+|continu\w+|next|clos\w+|adjacent"
    r"|connect\w*|link\w*|attached|perpendicular|parallel|vertical|horizontal|way)\b(?: [\w-]+){0,3} ?$"
)
_ROW, _SIDE, _POINT = "top|bottom|upper|lower", "left|right", "north|south|east|west"
_ANY = f"{_ROW}|{_SIDE}|{_POINT}"
_DIRECTION = re.compile(
    rf"""(?<![\w'-])(?P<article>an?\ )?(?:
    (?P<row>{_ROW})(?P<gap>[ -])(?P<column>{_SIDE})(?P<end>[ -]hand)?
    |(?P<column_>{_SIDE})(?P<gap_>[ -])(?P<row_>{_ROW})
    |(?P<north>north|south)(?P<between>[ -]?)(?P<east>east|west)(?P<suffix>ernmost|ern|erly|wards?|bound)?
    |(?P<one>{_ANY})(?P<joint>-to-|-)(?P<other>{_ANY})
    |(?P<beyond>above|below|(?P<to>to\ the\ )(?P<side>{_SIDE})(?P<of>\ of)?)
    |(?P<word>{"|".join(sorted(_MEANING, key=len, reverse=True))})
    |(?P<height>higher|uppermost|lowermost|under|beneath|underneath|up\ and\ down)
    |(?P<lengthwise>longitudinal\w*|latitudinal\w*)
    |(?P<sense>(?:counter-?|anti-?)?clockwise)
    |(?P<compound>(?:[\w']+-)+(?:{_ANY})(?:-[\w']+)*|(?:{_ANY})(?:-[\w']+)+)
    )(?![\w'-])""",
    re.IGNORECASE | re.VERBOSE,
)


@lru_cache(maxsize=1 << 16)
def _read(sentence: str) -> tuple[_Part, ...]:
    """``sentence`` in parts that make it up again."""
    parts: list[_Part] = []
    end = 0
    for match in _DIRECTION.finditer(sentence):
        meant = list(_meant(match, sentence[: match.start()].lower(), sentence[match.end() :].lower()))
        if not meant:
            continue
        article, capital = bool(match["article"]), match[0][0].isupper()
        if isinstance(meant[0], _Slot):
            meant[0] = meant[0]._replace(article=article, capital=capital)
        elif article:
            meant = [match["article"], *meant]
        if match[0] not in (match[0].lower(), match[0].capitalize()):
            meant = [_Snag(match[0], "all", "capital letters within words of place")]
        parts += [sentence[end : match.start()], *meant]
        end = match.end()
    merged: list[_Part] = []
    for part in [*parts, sentence[end:]]:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return tuple(_with_ellipses(merged))


def _meant(match: re.Match[str], before: str, after: str) -> Iterable[_Part]:
    """What the words of ``match`` mean between the texts ``before`` and ``after``; nothing where they are no place."""
    found = {key: text.lower() for key, text in match.groupdict().items() if text is not None}
    text = match[0].removeprefix(match["article"] or "")
    last = "a" if "article" in found else before.split()[-1] if before.strip() else ""
    follows = (re.match(r"\s+([\w'-]+)", after) or ("", ""))[1]
    match found:
        case {"row": row, "gap": gap, "column": column}:
            return [_corner(row, column, f"{{row}}{gap}{{column}}{found.get('end', '')}")]
        case {"row_": row, "gap_": gap, "column_": column}:
            return [_corner(row, column, f"{{column}}{gap}{{row}}")]
        case {"north": row, "between": gap, "east": column}:
            return [_corner(row, column, f"{{row}}{gap}{{column}}{found.get('suffix', '')}")]
        case {"one": one, "joint": joint, "other": other}:
            return [_Slot(*_MEANING[one]), joint, _Slot(*_MEANING[other])]
        case {"to": to, "side": side}:
            vector = _MEANING[side][1]
            if "of" in found and follows in _THINGS:
                return [_Slot("beyond it", vector)]
            if "of" not in found and (not follows or follows in _GO_ON) and not _MOTION.search(before):
                return [_Slot("beyond", vector)]
            return [text[: len(to)], _Slot("side", vector), found.get("of", "")]
        case {"beyond": word}:
            style = "beyond it" if follows in _THINGS else "beyond" if not follows or follows in _GO_ON else ""
            vector = (0, -1 if word == "above" else 1)
            return [_Slot(style, vector)] if style else [_unclear(text, "top and bottom")]
        case {"word": word}:
            return _of_word(word, last, follows, before, after)
        case {"height": word}:
            return [] if word == "under" and follows == "construction" else [_unclear(text, "top and bottom")]
        case {"lengthwise": _}:
            return [_unclear(text, "rows")]
        case {"compound": "right-angle" | "right-angled" | "right-angles"}:
            return []
        case _:
            return [_unclear(text, "all")]


def _corner(row: str, column: str, form: str) -> _Slot:
    style, (_, y) = _MEANING[row]
    return _Slot(style, (_MEANING[column][1][0], y), form)


def _unclear(text: str, fixed: str) -> _Snag:
    return _Snag(text, fixed, f"{text.lower()!r} may be another thing than a place in the image")


def _of_word(word: str, last: str, follows: str, before: str, after: str) -> list[_Part]:
    """What ``word``, one of :data:`_MEANING`, means after the word ``last`` and before ``follows``."""
    style, vector = _MEANING[word]
    slot = _Slot(style, vector)
    fixed = "left and right" if vector[0] else "top and bottom"
    if style in ("line", "along"):
        if follows == "to":
            return []  # at right angles to something
        sure = word != "vertical" or (follows and not follows.endswith("s")) or "horizontal" in before + after
        return [slot._replace(vector=(abs(vector[0]), abs(vector[1])))] if sure else [_unclear(word, "rows")]
    if style not in ("side", "part"):
        return [slot]
    if word == "right" and (follows in ("angle", "angles") or (last not in _BEFORE_PLACES and follows in _NOT_RIGHT)):
        return []
    if word == "left" and (last in _HAVE or (last in _BE and follows != "of")):
        return []
    if vector[0] and (last.startswith("turn") or (last == "a" and follows == "turn")):
        return [_unclear(word, "all")]  # as the image or as the traveller has it
    if word in ("top", "bottom") and (whose := re.match(r" of (?:the |an? )?([\w-]+)", after)):
        upon = last == "on" and whose[1] not in _SCENE
        if upon or whose[1] in _STANDING:
            return [_unclear(word, fixed)]
    if not (last in _BEFORE_PLACES or follows in _PLACES):
        return [_unclear(word, fixed)]
    if follows == "hand":
        return [slot, _Snag("", "rows", f"'{word} hand' has no like for top and bottom")]
    return [slot]


def _with_ellipses(parts: list[_Part]) -> Iterator[_Part]:
    """``parts``, with a snag in phrases like "top and bottom left", where one of two words stands for a corner."""
    for i, part in enumerate(parts):
        yield part
        first, last = parts[max(i - 1, 0)], parts[min(i + 1, len(parts) - 1)]
        if part not in (" and ", " or ", "/") or not (isinstance(first, _Slot) and isinstance(last, _Slot)):
            continue
        if bool(first.form) != bool(last.form) and not {first.style, last.style} & {"line", "along"}:
            yield _Snag("", "rows", "a corner may be left unsaid")
