"""What a person looks at: the page of a score card.

It is one HTML file without scripts or outside resources. Knows how things look, not how they were computed: it gets the
score card and the samples that were chosen.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ..io.atomic import write_whole
from .card_text import ALIKE, METRIC_LABELS, alike, meteor_of, searched, value_of
from .gallery import Sample, gallery
from .html import page

_ROWS = {
    "model": "model",
    "constant": "constant sentence",
    "template": "true flag + template",
    "nearest_rgb": "nearest pair by rgb",
    "nearest_maps": "nearest pair by maps",
}
_CURVES = ((None, "loss", "training loss"), ("validation", "CIDEr", "validation CIDEr"))


class _Column(NamedTuple):
    """A column of a table: where its figure stands in a row and its title."""

    part: str
    key: str
    title: str
    digits: int = 3


def report(
    path: Path,
    card: Mapping[str, Any],
    samples: Mapping[str, Sequence[Sample]],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The HTML file.
        card: The score card, see `card.card`.
        samples: Galleries by title; empty ones are left out.
        history: Training log, rows ``{"step": n, "loss": x}`` and ``{"step": n, "validation": {"CIDEr": x}}``; a curve
            is drawn where there are two points or more.
    """
    galleries = "".join(gallery(title, some) for title, some in samples.items() if some)
    of = f"{escape(card['split'])} split: " if "split" in card else ""
    how = f" {escape(searched(card))}." if searched(card) else ""
    body = (
        f"<header><h1>What changed, and what the model said</h1>"
        f"<p>{of}{card['pairs']:,} pairs, {card['changed']:,} changed.{how}</p></header>"
        f"{_tiles(card)}{_tables(card)}{_curves(history or [])}{galleries}"
    )
    write_whole(path, page(body, "changecap: score card and pictures"))


# --- numbers ---------------------------------------------------------------------------------------------------------


def _interval(row: Mapping[str, Any], part: str, key: str) -> str:
    between = (row["intervals"].get(part) or {}).get(key)
    return "" if between is None else f"{between[0]:.3f} to {between[1]:.3f}"


def _figure(value: float | None, digits: int = 3) -> str:
    return "&ndash;" if value is None else f"{value:,.{digits}f}"


def _tiles(card: Mapping[str, Any]) -> str:
    """The model's headline figures, each beside the best baseline that had no look at the truth."""
    model, *others = card["rows"]
    meteor = meteor_of(model)
    tiles = []
    for part, key, title in (
        ("flag", "balanced_accuracy", "flag right, balanced"),
        ("classes", "f1", "changes named, F1"),
        ("facts", "roles", "right roles"),
        ("facts", "place", "right place"),
        ("facts", "count", "right count"),
        ("description", "CIDEr", "CIDEr*, changed pairs"),
        ("description", "Bleu_4", "BLEU-4, changed pairs"),
        ("description", meteor, f"{METRIC_LABELS[meteor]}, changed pairs"),
    ):
        value = value_of(model, part, key)
        if value is None:
            continue
        fair = [(value_of(row, part, key) or 0, row["name"]) for row in others if row["name"] != "template"]
        best = max(fair, default=None)
        versus = f"against {best[0]:.3f}: {escape(_ROWS.get(best[1], best[1]))}" if best else "no baseline scored"
        between = _interval(model, part, key)
        small = f"<small>{between}</small>" * bool(between) + f"<small>{versus}</small>"
        tiles.append(f"<div class=tile><b>{value:.3f}</b><span>{title}</span>{small}</div>")
    return f"<section class=tiles>{''.join(tiles)}</section>"


def _tables(card: Mapping[str, Any]) -> str:
    rows = card["rows"]
    meteor = meteor_of(rows[0])
    metrics = [("Bleu_4", "BLEU-4"), ("ROUGE_L", "ROUGE-L")]
    if rows[0][meteor] is not None:
        metrics.append((meteor, METRIC_LABELS[meteor]))
    both = (("Bleu_4", "BLEU-4"), ("CIDEr", "CIDEr"))
    flag = (("false_alarm", "false alarms"), ("miss", "missed"), ("balanced_accuracy", "balanced"))
    named = (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    facts = (("facts", "facts"), ("roles", "roles"), ("place", "place"), ("count", "count"))

    scores = {
        "flag": [_Column("flag", *column) for column in flag],
        "changed pairs": [_Column("description", *column) for column in (*metrics, ("CIDEr", "CIDEr*"))],
        "all, as published": [_Column("overall", *column) for column in both],
        "all, one form": [_Column("canonical", *column) for column in both],
    }
    content = {
        "changes named": [_Column("classes", *column) for column in named],
        "facts right": [_Column("facts", *column) for column in facts],
        "what was said": [
            _Column("said", "distinct", "sentences", 0),
            _Column("said", "vocabulary", "words", 0),
            _Column("said", "length", "words each", 1),
            _Column("said", "seen", "seen before"),
        ],
    }
    content = {
        title: columns
        for title, columns in content.items()
        if any(value_of(row, c.part, c.key) is not None for row in rows for c in columns)
    }
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in card["notes"])
    counts = "<p class=note>sentences, words: different ones; seen before: share that training holds word for word.</p>"
    told = f"<p class=note>≈: not told apart from the model on these pairs (paired bootstrap, p ≥ {ALIKE}).</p>"
    return (
        f"<section><h2>Score card</h2>{_table(rows, scores)}{_table(rows, content)}"
        f"{_detail(rows[0])}{_classes(rows[0])}{told * (len(rows) > 1)}{counts}{notes}</section>"
    )


def _table(rows: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[_Column]]) -> str:
    spans = "".join(f"<th class=group colspan={len(columns)}>{title}</th>" for title, columns in groups.items())
    heads = "".join(
        f"<th{' class=first' * (i == 0)}>{column.title}</th>"
        for columns in groups.values()
        for i, column in enumerate(columns)
    )
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{' class=first' * (i == 0)}>{_cell(row, column)}</td>"
            for columns in groups.values()
            for i, column in enumerate(columns)
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


def _cell(row: Mapping[str, Any], column: _Column) -> str:
    """A figure; below that of the model its interval, beside those of others a mark where they are no different."""
    value = value_of(row, column.part, column.key)
    mark = "<i class=alike>≈</i>" if alike(row, column.part, column.key) else ""
    between = _interval(row, column.part, column.key) if row["name"] == "model" else ""
    return f"{mark}{_figure(value, column.digits)}" + f"<small>{between}</small>" * bool(between)


def _detail(model: Mapping[str, Any]) -> str:
    """Every metric of the model with its interval, folded away."""
    parts = {"description": "changed pairs", "overall": "all pairs, as published", "canonical": "all pairs, one form"}
    lines = []
    for name, label in METRIC_LABELS.items():
        cells = [(value_of(model, part, name), _interval(model, part, name)) for part in parts]
        if any(value is not None for value, _ in cells):
            shown = "".join(f"<td>{_figure(value)}</td><td class=between>{between}</td>" for value, between in cells)
            lines.append(f"<tr><th>{label}</th>{shown}</tr>")
    heads = "".join(f"<th colspan=2>{title}</th>" for title in parts.values())
    return (
        "<details><summary>every metric of the model, with its interval</summary><div class=wide><table>"
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _classes(model: Mapping[str, Any]) -> str:
    """How the model names each class, as lost and as gained, folded away."""
    found = model.get("classes")
    if not found:
        return ""
    keys = {"precision": "precision", "recall": "recall", "claimed": "said", "support": "true"}
    digits = {"precision": 3, "recall": 3, "claimed": 0, "support": 0}
    lines = []
    for name, roles in found["classes"].items():
        cells = "".join(
            f"<td{' class=first' * (key == 'precision')}>{_figure(roles[role][key], digits[key])}</td>"
            for role in ("lost", "gained")
            for key in keys
        )
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    heads = "".join(f"<th{' class=first' * (key == 'precision')}>{title}</th>" for key, title in keys.items()) * 2
    return (
        "<details><summary>classes lost and gained, and how often the model names them rightly</summary>"
        "<div class=wide><table><thead><tr><th></th><th class=group colspan=4>lost</th>"
        f"<th class=group colspan=4>gained</th></tr><tr><th></th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
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
