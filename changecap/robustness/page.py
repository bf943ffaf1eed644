"""The page of a benchmark: what was found in words, heat maps, curves, tables, and the worst failures as pictures."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from preprocess import Pair
from preprocess.corruption import GROUPS

from ..reports.gallery import chip, picture
from ..reports.html import page
from .failures import Failure
from .grid import MAPS, NONE
from .tables import wide_scopes

Row = Mapping[str, Any]
_TITLE = "Which captioner survives what"


def report(
    head: Mapping[str, Any],
    tables: Mapping[str, Sequence[Row]],
    said: Sequence[str],
    notes: Sequence[str],
    curves: bytes | None,
    failures: Sequence[tuple[Failure, Sequence[tuple[str, Pair]]]],
) -> str:
    """The page, one HTML file.

    Args:
        head: What was tried, as `Ablation.head`.
        tables: ``rows``, ``summary``, ``first_severities`` and ``maps`` of an `Ablation`.
        said: Findings in words.
        notes: What a reader must know.
        curves: PNG, where there is a core grid.
        failures: The worst failures with their pictures.
    """
    summary, corruptions = tables["summary"], head["corruptions"]
    parts = [
        f"<header><h1>{_TITLE}</h1><p>{head['pairs']:,} pairs of {escape(head['data'])} ({escape(head['split'])}), "
        f"{len(corruptions)} corruptions, severities {', '.join(map(str, head['severities']))}.</p></header>",
        f"<section><ul class=plain>{''.join(f'<li>{escape(line)}</li>' for line in said)}</ul></section>",
    ]
    if summary and curves is not None:
        drawn = base64.b64encode(curves).decode("ascii")
        parts += [
            "<section><h2>What is left of S*m</h2><p>Per cent of the clean score, mean of the severities.</p>"
            f"{_heat(summary, corruptions, 'relative_sm4')}</section>",
            "<section><h2>False alarms</h2><p>Per cent of the unchanged pairs of which a change is said, mean of the "
            f"severities.</p>{_heat(summary, corruptions, 'false_alarm')}</section>",
            "<section><h2>By severity</h2><p>With 95 % bootstrap intervals.</p>"
            f"<img class=figure alt='curves by severity' src='data:image/png;base64,{drawn}'></section>",
            "<section><h2>Figures of merit</h2><p>Means over corruptions and severities, per cent; left is S*m of "
            f"the clean one.</p>{_merits(summary)}</section>",
            *_cures(summary),
            "<section><h2>The first severity with too many false alarms</h2><p>At least twice the clean rate, and 5 "
            f"points more.</p>{_firsts(tables['first_severities'], corruptions)}</section>",
        ]
    if tables["maps"]:
        parts.append(f"<section><h2>Which maps go in</h2>{_maps(tables['maps'])}</section>")
    if failures:
        shown = "".join(_failure(*failure) for failure in failures)
        lead = "<p>Pairs described rightly when clean, and wrongly after a corruption as mild as can be.</p>"
        parts.append(f"<section><h2>Worst failures</h2>{lead}{shown}</section>")
    parts.append(f"<section><h2>Notes</h2>{''.join(f'<p class=note>{escape(n)}</p>' for n in notes)}</section>")
    return page("".join(parts), f"changecap: {_TITLE.lower()}")


def _heat(summary: Sequence[Row], corruptions: Sequence[str], figure: str) -> str:
    told = [r for r in summary if r["severities"] == "all"]
    cells = {(r["captioner"], r["variant"], r["scope"]): r for r in told}
    spans = {group: [c for c in corruptions if c in names] for group, names in GROUPS.items()}
    spans = {group: names for group, names in spans.items() if names}
    over = "".join(f"<th class=group colspan={len(names)}>{_plain(group)}</th>" for group, names in spans.items())
    heads = "".join(f"<th{_first(i)}>{_plain(c)}</th>" for names in spans.values() for i, c in enumerate(names))
    lines = []
    for who, variant in _lines(told):
        row = "".join(
            _tinted(cells[who, variant, c][figure], figure, i == 0)
            for names in spans.values()
            for i, c in enumerate(names)
        )
        lines.append(f"<tr>{_name(who, variant)}{row}</tr>")
    return (
        f"<div class='wide heat'><table><thead><tr><th></th>{over}</tr><tr><th></th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _tinted(value: float | None, figure: str, is_first: bool) -> str:
    """A cell, the redder the worse."""
    if value is None:
        return f"<td{_first(not is_first)}>&ndash;</td>"
    bad = min(max((1 - value) * 1.6 if figure == "relative_sm4" else value * 1.6, 0.0), 1.0)
    return f"<td{_first(not is_first)} style='background:rgba(214,60,40,{0.75 * bad:.2f})'>{100 * value:.0f}</td>"


def _merits(summary: Sequence[Row]) -> str:
    asked = wide_scopes(summary)
    told = {(r["captioner"], r["variant"], r["scope"]): r for r in summary if r["severities"] == "all"}
    figures = {"mce": "mCE", "relative_cider_change": "CIDEr-D left, changed", "false_alarm": "false alarms"}
    figures |= {"added_false_alarm": "added", "miss": "missed"}
    lines = []
    for who, variant in _lines(summary):
        whole = told[who, variant, asked[0]]
        cells = [_cell(told[who, variant, scope], "relative_sm4") for scope in asked]
        cells += [_cell(whole, name) for name in figures]
        lines.append(f"<tr>{_name(who, variant)}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return _table([*(f"{_plain(s)} left" for s in asked), *figures.values()], lines)


def _cures(summary: Sequence[Row]) -> list[str]:
    """What each variant gains, over all severities and at severity 3 alone, and whether it is accepted."""
    if all(variant == NONE for _, variant in _lines(summary)):
        return []
    told = {(r["captioner"], r["variant"], r["scope"], r["severities"]): r for r in summary}
    asked = wide_scopes(summary)
    lines = []
    for who, variant in _lines(summary):
        if variant == NONE:
            continue
        cells = [_cell(told[who, variant, scope, "all"], "gain") for scope in asked]
        whole = told[who, variant, asked[0], "all"]
        cells += [_cell(whole, "won_back", 0), _cell(told.get((who, variant, asked[0], "3"), {}), "won_back", 0)]
        cells += [_cell(whole, "cost", 2), {None: "&ndash;", True: "yes", False: "no"}[whole["accepted"]]]
        lines.append(f"<tr>{_name(who, variant)}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = [*(f"{_plain(s)} gain" for s in asked), "won back", "at severity 3", "clean cost", "accepted"]
    lead = "<p>Against no cure, in points of relative S*m; the cost is that on clean pairs, per cent.</p>"
    return [f"<section><h2>Cures</h2>{lead}{_table(heads, lines)}</section>"]


def _firsts(firsts: Sequence[Row], corruptions: Sequence[str]) -> str:
    cells = {(r["captioner"], r["variant"], r["corruption"]): r["first_severity"] for r in firsts}
    lines = []
    for who, variant in _lines(firsts):
        row = "".join(f"<td>{cells[who, variant, name] or '&ndash;'}</td>" for name in corruptions)
        lines.append(f"<tr>{_name(who, variant)}{row}</tr>")
    return _table(list(map(_plain, corruptions)), lines)


def _maps(rows: Sequence[Row]) -> str:
    lead = "; ".join(f"{kind}: {what}" for kind, what in MAPS.items())
    names = {"sm4": "S*m", "cider_change": "CIDEr-D, changed", "false_alarm": "false alarms", "miss": "missed"}
    lines = [
        f"<tr><th>{escape(r['captioner'])}<small>{r['maps']}</small></th>"
        f"{''.join(f'<td>{_cell(r, name)}</td>' for name in names)}</tr>"
        for r in rows
    ]
    return f"<p>{escape(lead)}. Images are clean.</p>{_table(list(names.values()), lines)}"


def _failure(failure: Failure, shown: Sequence[tuple[str, Pair]]) -> str:
    (_, clean), (_, worse) = shown
    pictures = picture("before", clean.a) + picture("after", clean.b)
    for date, x, y in (("before", clean.a, worse.a), ("after", clean.b, worse.b)):
        if not bool((x == y).all()):
            pictures += picture(f"{date}, corrupted", y)
    how = f"{_plain(failure.setting.corruption or '')}, severity {failure.setting.severity}"
    truth = "changed" if failure.changed else "did not change"
    flags = chip("right flag when clean", True) + chip("wrong flag when corrupted", False) if failure.is_flag else ""
    return (
        f"<article><div class=pictures>{pictures}</div><div class=words>"
        f"<p class=small>{escape(failure.captioner)}, clean:</p><p class=truth>{_spoken(failure.clean)}</p>"
        f"<p class=small>after {escape(how)}:</p><p class=sentence>{_spoken(failure.corrupted)}</p>"
        f"<p class=truth><span class=small>true:</span> {escape(failure.truth)}</p><p class=chips>{flags}</p>"
        f"<p class=small>the pair {truth} &middot; {escape(failure.id)}</p></div></article>"
    )


def _spoken(sentence: str) -> str:
    return escape(sentence) or "<i>nothing</i>"


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    yield from dict.fromkeys((r["captioner"], r["variant"]) for r in rows)


def _name(who: str, variant: str) -> str:
    return f"<th>{escape(who)}<small>{'no cure' if variant == NONE else escape(variant)}</small></th>"


def _cell(row: Row, name: str, digits: int = 1) -> str:
    """Per cent with the spread over seeds, and the interval below."""
    if row.get(name) is None:
        return "&ndash;"
    spread = f" ±{100 * row[f'{name}_sd']:.{digits}f}" if row[f"{name}_sd"] else ""
    between = f"{100 * row[f'{name}_low']:.{digits}f} to {100 * row[f'{name}_high']:.{digits}f}"
    return f"{100 * row[name]:.{digits}f}{spread}<small>{between}</small>"


def _table(heads: Sequence[str], lines: Sequence[str]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    return f"<div class=wide><table><thead><tr><th></th>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _first(i: int | bool) -> str:
    return " class=first" if not i else ""


def _plain(name: str) -> str:
    return name.replace("_", " ")
