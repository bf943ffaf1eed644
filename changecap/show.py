"""What a person looks at: the page of an evaluation.

It is one HTML file without scripts or outside resources. Knows how things look, not how they were
computed: it gets the score card and the samples that were chosen.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from preprocess.pair import Pair

from .data.example import Example
from .data.palette import PALETTE, to_rgb
from .facts import CLASSES, Fact, parse
from .flag import says_no_change
from .metrics import write_whole

if TYPE_CHECKING:
    from .captioner import Caption


@dataclass(frozen=True)
class Sample:
    """One captioned pair of a gallery."""

    id: str
    pair: Pair  # uint8 (3, H, W) each, classes (H, W) or None
    sentence: str
    score: float  # sum of natural-log word probabilities
    truths: tuple[str, ...]
    changed: bool
    cider: float
    facts: tuple[Fact, ...] | None  # what truly happened, None where the data set does not state it


def sample(example: Example, pair: Pair, caption: "Caption", changed: bool, cider: float) -> Sample:
    """Join what the page says about one pair."""
    return Sample(example.id, pair, caption.text, caption.score, example.captions, changed, cider, example.facts)


def report(
    path: Path,
    card: dict,
    samples: Mapping[str, Sequence[Sample]],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The HTML file.
        card: Score card of `evaluate`.
        samples: Galleries by title; empty ones are left out.
        history: Training log, rows ``{"step": n, "loss": x}`` and ``{"step": n, "validation": {"CIDEr": x}}``; a curve
            is drawn where there are two points or more.
    """
    galleries = "".join(_gallery(title, some) for title, some in samples.items() if some)
    body = (
        f"<header><h1>What changed, and what the model said</h1>"
        f"<p>{escape(card['split'])} split: {card['pairs']:,} pairs, {card['changed']:,} changed. "
        f"{escape(searched(card))}. <b>Went in: {escape(card['inputs'])}.</b></p></header>"
        f"{_tiles(card)}{_tables(card)}{_curves(history or [])}{galleries}"
    )
    write_whole(path, _PAGE.replace("{body}", body))


# --- numbers ---------------------------------------------------------------------------------------------------------

_ROWS = {
    "model": "model",
    "constant": "constant sentence",
    "template": "true flag + template",
    "nearest_rgb": "nearest pair by rgb",
    "nearest_maps": "nearest pair by maps",
}
_NGRAMS = (
    *(("Bleu_1", "BLEU-1"), ("Bleu_2", "-2"), ("Bleu_3", "-3"), ("Bleu_4", "-4")),
    *(("ROUGE_L", "ROUGE-L"), ("CIDEr", "CIDEr")),
)
_SUBSET = (("Bleu_4", "BLEU-4"), ("CIDEr", "CIDEr"), ("CIDEr_full_df", "CIDEr*"))
_FLAG = (("accuracy", "all"), ("change", "change"), ("no_change", "no change"))
_FACTS = (("facts", "facts"), ("roles", "roles"), ("place", "place"), ("count", "count"))
_WORDS = ((None, "all pairs", _NGRAMS), ("change", "change", _SUBSET), ("no_change", "no change", _SUBSET))
_CLAIMS = (("flag", "flag right", _FLAG), ("facts", "facts right", _FACTS))
_TILES = (
    ("flag", "accuracy", "flag right"),
    ("facts", "facts", "facts named"),
    ("facts", "roles", "right roles"),
    ("facts", "place", "right place"),
    ("facts", "count", "right count"),
    ("change", "CIDEr_full_df", "CIDEr*, changed pairs"),
    ("change", "Bleu_4", "BLEU-4, changed pairs"),
)


_CURVES = ((None, "loss", "training loss"), ("validation", "CIDEr", "validation CIDEr"))


def searched(card: Mapping[str, Any]) -> str:
    """How the sentences of ``card`` were searched for, in words."""
    return "; ".join(f"{name}: {value}" for name, value in {"beams": card["beams"], **card["decode"]}.items())


def _value(row: dict, part: str | None, key: str) -> float | None:
    return (row if part is None else row[part] or {}).get(key)


def _figure(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.3f}"


def _tiles(card: dict) -> str:
    """The model's headline figures, each beside the best baseline that had no look at the truth."""
    model, *others = card["rows"]
    tiles = []
    for part, key, title in _TILES:
        value = _value(model, part, key)
        if value is None:
            continue
        fair = [(_value(row, part, key) or 0, row["name"]) for row in others if row["name"] != "template"]
        best = max(fair, default=None)
        versus = f"against {best[0]:.3f}: {escape(_ROWS.get(best[1], best[1]))}" if best else "no baseline scored"
        tiles.append(f"<div class=tile><b>{value:.3f}</b><span>{title}</span><small>{versus}</small></div>")
    return f"<section class=tiles>{''.join(tiles)}</section>"


def _tables(card: dict) -> str:
    claims = _CLAIMS if any(row["facts"] for row in card["rows"]) else _CLAIMS[:1]
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in card["notes"])
    return (
        f"<section><h2>Score card</h2><p>Went in: {escape(card['inputs'])}.</p>"
        f"{_table(card['rows'], claims)}{_table(card['rows'], _WORDS)}{notes}</section>"
    )


def _table(rows: Sequence[dict], groups: Iterable[tuple[str | None, str, tuple[tuple[str, str], ...]]]) -> str:
    groups = list(groups)
    spans = "".join(f"<th class=group colspan={len(columns)}>{title}</th>" for _, title, columns in groups)
    heads = "".join(
        f"<th{' class=first' * (i == 0)}>{title}</th>"
        for _, _, columns in groups
        for i, (_, title) in enumerate(columns)
    )
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{' class=first' * (i == 0)}>{_figure(_value(row, part, key))}</td>"
            for part, _, columns in groups
            for i, (key, _) in enumerate(columns)
        )
        name = escape(_ROWS.get(row["name"], row["name"]))
        lines.append(
            f"<tr{' class=model' * (row['name'] == 'model')}><th>{name}<small>{escape(row['inputs'])}</small></th>"
            f"{cells}</tr>"
        )
    return (
        f"<div class=wide><table><thead><tr><th></th>{spans}</tr><tr><th></th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


# --- training --------------------------------------------------------------------------------------------------------


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    curves = []
    for part, key, title in _CURVES:
        rows = [(entry["step"], (entry.get(part) or {} if part else entry).get(key)) for entry in history]
        points = [(float(x), float(y)) for x, y in rows if y is not None and math.isfinite(y)]
        if len(points) > 1:
            curves.append(_curve(title, points))
    return f"<section><h2>Training</h2><div class=curves>{''.join(curves)}</div></section>" if curves else ""


def _curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    """One line as SVG, 480 x 200 units, with the four values that bound it."""
    left, right, top, bottom = 52, 470, 12, 172
    xs, ys = zip(*points, strict=True)
    low, high = min(xs), max(xs)
    floor, ceiling = min(*ys, 0.0), max(*ys, 0.0)
    x = [left + (right - left) * (v - low) / ((high - low) or 1) for v in xs]
    y = [bottom - (bottom - top) * (v - floor) / ((ceiling - floor) or 1) for v in ys]
    line = " ".join(f"{u:.1f},{v:.1f}" for u, v in zip(x, y, strict=True))
    grid = "".join(
        f"<line x1={left} x2={right} y1={v:.1f} y2={v:.1f} class=grid />"
        f"<text x={left - 6} y={v + 4:.1f} class=end>{t:.3g}</text>"
        for t, v in ((floor + (ceiling - floor) * part / 4, bottom - (bottom - top) * part / 4) for part in range(5))
    )
    return (
        f"<figure class=curve><svg viewBox='0 0 480 200' role=img aria-label='{escape(name)} by step'>{grid}"
        f"<polyline points='{line}' /><circle cx={x[-1]:.1f} cy={y[-1]:.1f} r=3.5 />"
        f"<text x={left} y=192>{low:,.0f}</text><text x={right} y=192 class=end>{high:,.0f} steps</text></svg>"
        f"<figcaption>{escape(name)}: {ys[-1]:.4g} at the end</figcaption></figure>"
    )


# --- pictures --------------------------------------------------------------------------------------------------------

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


def _gallery(title: str, samples: Sequence[Sample]) -> str:
    legend = _legend() if any(s.pair.sem_a is not None for s in samples) else ""
    lead = f"<p>{_LEADS[title]}</p>" if title in _LEADS else ""
    return f"<section><h2>{escape(title)}</h2>{lead}{legend}{''.join(map(_article, samples))}</section>"


def _article(s: Sample) -> str:
    pictures = _picture("before", _image(s.pair.a)) + _picture("after", _image(s.pair.b))
    if s.pair.sem_a is not None and s.pair.sem_b is not None:
        pictures += _picture("map before", _map(s.pair.sem_a)) + _picture("map after", _map(s.pair.sem_b))
    right = says_no_change(s.sentence) != s.changed
    truths = "".join(f"<li>{escape(sentence)}</li>" for sentence in s.truths)
    number = "1 true sentence" if len(s.truths) == 1 else f"all {len(s.truths)} true sentences"
    flag = _chip(_FLAGS[s.changed, right], right)
    return (
        f"<article><div class=pictures>{pictures}</div>"
        f"<div class=words><p class=sentence>{escape(s.sentence) or '<i>nothing</i>'}</p>"
        f"<p class=truth><span class=small>true:</span> {escape(s.truths[0])}</p><p class=chips>{flag}</p>{_facts(s)}"
        f"<p class=small>probability {math.exp(s.score):.2g}"
        f"{f', CIDEr* {s.cider:.2f}' if s.changed else ''} &middot; {escape(s.id)}</p>"
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
        chips = [_chip(f"{fact.source} → {fact.target}", bool(same))]
        if fact.count is not None:
            chips.append(_chip(f"count {fact.count}", any(f.count == fact.count for f in same)))
        chips.append(_chip(fact.place, any(f.place == fact.place for f in same)))
        lines.append(f"<p class=chips>{''.join(chips)}</p>")
    true = {(fact.source, fact.target) for fact in s.facts}
    made_up = dict.fromkeys(f"{f.source} → {f.target}" for f in said if (f.source, f.target) not in true)
    if made_up:
        lines.append(f"<p class=chips><span class=small>not so:</span> {''.join(_chip(x, False) for x in made_up)}</p>")
    return "".join(lines)


def _chip(text: str, right: bool) -> str:
    return f"<span class='chip {'right' if right else 'wrong'}'>{'✓' if right else '✗'} {escape(text)}</span>"


def _legend() -> str:
    items = [
        f"<span><i class='swatch{' blank' * (i == 0)}' style='{'' if i == 0 else f'background:rgb({r},{g},{b})'}'></i>"
        f"{escape(name)}</span>"
        for i, (name, (r, g, b)) in enumerate(zip(CLASSES, PALETTE.tolist(), strict=True))
    ]
    return f"<p class=legend>{''.join(items)}</p>"


def _picture(title: str, png: str) -> str:
    return f"<figure><img src='data:image/png;base64,{png}' alt='{title}'><figcaption>{title}</figcaption></figure>"


def _image(x: Tensor) -> str:
    return _png(x.permute(1, 2, 0).cpu().numpy())


def _map(classes: Tensor) -> str:
    """A coloured map; what has no label is transparent and shows the checkerboard behind it."""
    index = classes.cpu().numpy().astype(np.uint8)
    return _png(np.dstack([to_rgb(index), np.where(index > 0, 255, 0).astype(np.uint8)]))


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>changecap: score card and pictures</title>
<style>
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1c2127; --soft: #667080; --line: #e3e5e8;
  --accent: #2563c9; --tint: #eef3fc; --good: #17703c; --good-tint: #e2f4e8; --bad: #b3261e; --bad-tint: #fce8e6;
  --check: #d9dce0; --board: #f4f5f6; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1c2025; --ink: #e6e9ec; --soft: #98a2ae;
  --line: #30363d; --accent: #7aa8f5; --tint: #1f2b3f; --good: #7fd69f; --good-tint: #18351f; --bad: #ff9f97;
  --bad-tint: #442021; --check: #3a4048; --board: #2a2f35; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 2.5rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; margin: 0 0 .2rem; }
p { margin: .3rem 0; }
header p, section > p { color: var(--soft); } header b { color: var(--ink); font-weight: 600; }
section { margin-top: 2.6rem; }
small, .small { color: var(--soft); font-size: .8rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(145px, 1fr)); gap: .75rem; margin-top: 1.6rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.15; font-weight: 650; letter-spacing: -.02em; }
.tile span, .tile small { display: block; } .tile small { margin-top: .25rem; line-height: 1.3; }
.wide { overflow-x: auto; margin: .9rem 0 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .38rem .6rem; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { color: var(--soft); font-size: .8rem; padding-bottom: .15rem; }
thead .group { text-align: center; border-left: 1px solid var(--line); padding-top: .5rem; font-weight: 600; }
.first { border-left: 1px solid var(--line); }
tbody th { text-align: left; } tbody th small { display: block; line-height: 1.2; font-weight: 400; }
tbody tr { border-top: 1px solid var(--line); }
.model { background: var(--tint); } .model th, .model td { font-weight: 650; }
.note { font-size: .85rem; max-width: 62rem; margin: .5rem 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .8rem; margin-top: .15rem; }
.curve { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem;
  max-width: 620px; }
.curve svg { display: block; width: 100%; } .curve text { font-size: 11px; fill: var(--soft); }
.curve .end { text-anchor: end; } .grid { stroke: var(--line); }
polyline { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; } circle { fill: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .85rem; }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.swatch { width: .95rem; height: .95rem; border-radius: 3px; border: 1px solid var(--line); }
.blank, .pictures img { background: repeating-conic-gradient(var(--check) 0 25%, var(--board) 0 50%) 0 0 / 16px 16px; }
.blank { background-size: 8px 8px; }
article { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin-top: .9rem; padding: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
.pictures img { display: block; width: 192px; aspect-ratio: 1; image-rendering: pixelated; border-radius: 4px;
  object-fit: contain; }
.words { flex: 1 1 280px; min-width: 0; }
.sentence { font-size: 1.08rem; line-height: 1.4; font-weight: 600; margin: 0 0 .2rem; overflow-wrap: anywhere; }
.truth { line-height: 1.4; margin-bottom: .5rem; overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: .3rem; align-items: center; }
.chip { border-radius: 99px; padding: .05rem .6rem; font-size: .82rem; white-space: nowrap; }
.right { background: var(--good-tint); color: var(--good); } .wrong { background: var(--bad-tint); color: var(--bad); }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--accent); font-size: .88rem; }
details ul { margin: .3rem 0 0; padding-left: 1.1rem; font-size: .9rem; overflow-wrap: anywhere; }
@media (max-width: 520px) { body { padding: 1.5rem .8rem; } .pictures figure { flex: 1 1 40%; }
  .pictures img { width: 100%; min-width: 120px; } }
</style></head><body>{body}</body></html>
"""
