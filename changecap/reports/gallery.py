"""Galleries of an evaluation's page: chosen pairs with what was said of them, as pictures where there are any."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..landcover import CLASSES, PALETTE, to_rgb
from ..language.facts import Fact, parse
from ..language.no_change import says_no_change

if TYPE_CHECKING:
    from torch import Tensor

    from preprocess import Pair


@dataclass(frozen=True)
class Sample:
    """One captioned pair of a gallery."""

    id: str
    pair: "Pair | None"  # uint8 (3, H, W) each, classes (H, W) or None; None where there are sentences alone
    sentence: str
    score: float | None  # sum of natural-log word probabilities
    truths: tuple[str, ...]
    changed: bool
    cider: float
    facts: tuple[Fact, ...] | None  # what truly happened, None where the data set does not state it


def choose(per_pair: Mapping[str, Mapping[str, Any]], size: int = 4) -> dict[str, list[str]]:
    """Ids of what the page shows, by title: the best and the worst changed pairs, unchanged ones, wrong flags.

    Args:
        per_pair: What is known of each pair, as in `card.per_pair`.
        size: Of each gallery, at most.
    """
    right = {i: pair["changed"] == pair["claimed"] for i, pair in per_pair.items()}
    by_worth = sorted((i for i, pair in per_pair.items() if pair["changed"]), key=lambda i: -per_pair[i]["CIDEr"])
    half = min(size, (len(by_worth) + 1) // 2)  # few pairs: none is both best and worst
    return {
        "Best": by_worth[:half],
        "Worst": by_worth[half:][-size:][::-1],
        "No change": [i for i, pair in per_pair.items() if not pair["changed"] and right[i]][:size],
        "Wrong flag": [i for i, fine in right.items() if not fine][:size],
    }


_LEADS = {
    "Best": "Changed pairs with the highest CIDEr*.",
    "Worst": "Changed pairs with the lowest CIDEr*.",
    "No change": "Unchanged pairs that the model calls unchanged.",
    "Wrong flag": "A change unseen, or one that is not there.",
}


_FLAGS = {
    (True, True): "change seen",
    (True, False): "change missed",
    (False, True): "no change",
    (False, False): "no change in truth",
}


def gallery(title: str, samples: Sequence[Sample]) -> str:
    """A section of the page."""
    legend = _legend() if any(s.pair is not None and s.pair.sem_a is not None for s in samples) else ""
    lead = f"<p>{_LEADS[title]}</p>" if title in _LEADS else ""
    return f"<section><h2>{escape(title)}</h2>{lead}{legend}{''.join(map(_article, samples))}</section>"


def _article(s: Sample) -> str:
    right = says_no_change(s.sentence) != s.changed
    truths = "".join(f"<li>{escape(sentence)}</li>" for sentence in s.truths)
    number = "1 true sentence" if len(s.truths) == 1 else f"all {len(s.truths)} true sentences"
    flag = chip(_FLAGS[s.changed, right], right)
    known = [] if s.score is None else [f"probability {math.exp(s.score):.2g}"]
    if s.changed:
        known.append(f"CIDEr* {s.cider:.2f}")
    return (
        f"<article>{_pictures(s.pair)}"
        f"<div class=words><p class=sentence>{escape(s.sentence) or '<i>nothing</i>'}</p>"
        f"<p class=truth><span class=small>true:</span> {escape(s.truths[0])}</p><p class=chips>{flag}</p>{_facts(s)}"
        f"<p class=small>{' &middot; '.join([*known, escape(s.id)])}</p>"
        f"<details><summary>{number}</summary><ul>{truths}</ul></details></div></article>"
    )


def _facts(s: Sample) -> str:
    """One line of chips for each true fact: from and to in their roles, count, place; then what was made up."""
    if s.facts is None:
        return ""
    said = parse(s.sentence)
    lines = []
    for fact in s.facts:
        same = [f for f in said if (f.source, f.target) == (fact.source, fact.target)]
        chips = [chip(f"{fact.source} → {fact.target}", bool(same))]
        if fact.count is not None:
            chips.append(chip(f"count {fact.count}", any(f.count == fact.count for f in same)))
        chips.append(chip(fact.place, any(f.place == fact.place for f in same)))
        lines.append(f"<p class=chips>{''.join(chips)}</p>")
    true = {(fact.source, fact.target) for fact in s.facts}
    made_up = dict.fromkeys(f"{f.source} → {f.target}" for f in said if (f.source, f.target) not in true)
    if made_up:
        lines.append(f"<p class=chips><span class=small>not so:</span> {''.join(chip(x, False) for x in made_up)}</p>")
    return "".join(lines)


def chip(text: str, right: bool) -> str:
    """A few words that are right or wrong."""
    return f"<span class='chip {'right' if right else 'wrong'}'>{'✓' if right else '✗'} {escape(text)}</span>"


def _legend() -> str:
    items = [
        f"<span><i class='swatch{' blank' * (i == 0)}' style='{'' if i == 0 else f'background:rgb({r},{g},{b})'}'></i>"
        f"{escape(name)}</span>"
        for i, (name, (r, g, b)) in enumerate(zip(CLASSES, PALETTE.tolist(), strict=True))
    ]
    return f"<p class=legend>{''.join(items)}</p>"


def _pictures(pair: "Pair | None") -> str:
    if pair is None:
        return ""
    pictures = picture("before", pair.a) + picture("after", pair.b)
    if pair.sem_a is not None and pair.sem_b is not None:
        pictures += _picture("map before", _map(pair.sem_a)) + _picture("map after", _map(pair.sem_b))
    return f"<div class=pictures>{pictures}</div>"


def picture(title: str, x: "Tensor") -> str:
    """An image ``(3, H, W)`` uint8 with its title."""
    return _picture(title, _png(x.permute(1, 2, 0).cpu().numpy()))


def _picture(title: str, png: str) -> str:
    return f"<figure><img src='data:image/png;base64,{png}' alt='{title}'><figcaption>{title}</figcaption></figure>"


def _map(classes: "Tensor") -> str:
    """A coloured map; what has no label is transparent and shows the checkerboard behind it."""
    index = classes.cpu().numpy().astype(np.uint8)
    return _png(np.dstack([to_rgb(index), np.where(index > 0, 255, 0).astype(np.uint8)]))


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
