"""A comparison for people and for papers: text, Markdown, LaTeX, CSV.

Text has fractions, as the score card; Markdown and LaTeX have per cent and one decimal, as papers print them.
"""

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .card_text import ALIKE, FIGURE_LABELS, METRIC_LABELS, WIDTH


def _labels(*names: str) -> dict[str, str]:
    return {name: FIGURE_LABELS[name] for name in names}


_LABELS = {
    "flag": _labels("false_alarm", "miss", "balanced_accuracy"),
    "description": METRIC_LABELS | {"CIDEr": "CIDEr*"},
    "overall": METRIC_LABELS,
    "canonical": METRIC_LABELS,
    "classes": _labels("precision", "recall", "f1"),
}
_TITLES = {
    "flag": "flag",
    "description": "changed pairs",
    "overall": "all pairs, as published",
    "canonical": "all pairs, one form of no change",
    "classes": "changes named",
}
_SHORT = {"flag": "flag", "description": "changed", "overall": "all", "canonical": "one form", "classes": "named"}
_LOW = ("false_alarm", "miss")  # the less the better
_SCORES = ("Bleu_4", "METEOR", "METEOR_exact_stem", "ROUGE_L", "CIDEr", "SPICE", "sm4", "sm5")
_IN_PAPERS = {"description": _SCORES, "overall": _SCORES, "canonical": ("Bleu_4", "CIDEr", "sm4")}

Column = tuple[str, str]  # part, figure


def text(comparison: Mapping[str, Any]) -> str:
    """Figures below each other, systems beside each other, at most 100 columns wide where names allow it."""
    systems = comparison["systems"]
    lines = [f"{comparison['pairs']} pairs, {comparison['changed']} changed"]
    columns = [_column(comparison, n) for n in range(len(systems))]
    widths = [max(len(cell) for cell in column.values()) + 2 for column in columns]
    room = WIDTH - 20
    shown = [0]
    for n in range(1, len(systems) + 1):
        if n == len(systems) or (sum(widths[m] for m in [*shown, n]) > room and len(shown) > 1):
            lines += ["", *_block(comparison, [columns[m] for m in shown], [widths[m] for m in shown])]
            shown = [0]  # the first stands in every block
        if n < len(systems):
            shown.append(n)
    for note in comparison["notes"]:
        lines += ["", *textwrap.wrap(note, WIDTH)]
    return "\n".join(lines) + "\n"


def _column(comparison: Mapping[str, Any], n: int) -> dict[Column, str]:
    """The cells of system ``n``, its name first."""
    system = comparison["systems"][n]
    cells = {("", ""): system["name"]}
    for part, name, _ in _all(comparison):
        found = system["figures"].get(part, {}).get(name)
        if found is None:
            cells[part, name] = "-"
            continue
        cell = f"{found['value']:.3f}"
        if len(system["runs"]) > 1:
            cell += f" ±{found['deviation']:.3f}"
        elif n == 0:
            cell += f" [{found['interval'][0]:.3f}, {found['interval'][1]:.3f}]"
        if "p" in found:
            cell += f" {found['difference']:+.3f} p={found['p']:.3f}{'*' if _told(found) else ' '}"
        cells[part, name] = cell
    return cells


def _block(comparison: Mapping[str, Any], columns: Sequence[Mapping[Column, str]], widths: Sequence[int]) -> list[str]:
    def line(label: str, key: Column) -> str:
        cells = zip(columns, widths, strict=True)
        return (f"{label:20}" + "".join(f"{column[key]:>{width}}" for column, width in cells)).rstrip()

    lines, last = [line("", ("", ""))], ""
    for part, name, label in _all(comparison):
        if part != last:
            lines.append(f"{_TITLES[part]}:")
        lines.append(line(f"  {label}", (part, name)))
        last = part
    return lines


def markdown(comparison: Mapping[str, Any]) -> str:
    """A table with a row for each system, per cent; the best of a column is bold."""
    columns = list(_in_papers(comparison))
    heads = [f"{_SHORT[part]}: {label}" for part, _, label in columns]
    rows = [_paper_row(comparison, n, columns, "**{}**", "±", "\\*") for n in range(len(comparison["systems"]))]
    names = [system["name"].replace("|", "\\|") for system in comparison["systems"]]
    lines = ["| " + " | ".join(["%", *heads]) + " |", "|---" + "|--:" * len(heads) + "|"]
    lines += ["| " + " | ".join([name, *cells]) + " |" for name, cells in zip(names, rows, strict=True)]
    return "\n".join([*lines, "", *_foot(comparison, "\\*")]) + "\n"


def latex(comparison: Mapping[str, Any]) -> str:
    r"""A ``tabular`` with a row for each system, per cent, for ``\usepackage{booktabs}``; the best are bold."""
    columns = list(_in_papers(comparison))
    parts = list(dict.fromkeys(part for part, _, _ in columns))
    spans, rules, at = [], [], 2
    for part in parts:
        count = sum(p == part for p, _, _ in columns)
        spans.append(rf"\multicolumn{{{count}}}{{c}}{{{_SHORT[part]}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + count - 1}}}")
        at += count
    rows = [
        _paper_row(comparison, n, columns, r"\textbf{{{}}}", r"$\pm$", r"$^*$")
        for n in range(len(comparison["systems"]))
    ]
    names = [escaped(system["name"]) for system in comparison["systems"]]
    lines = [
        *(f"% {line}" for line in _foot(comparison, "*")),
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *spans]) + r" \\",
        " ".join(rules),
        " & ".join(["", *(escaped(label) for _, _, label in columns)]) + r" \\",
        r"\midrule",
        *(" & ".join([name, *cells]) + r" \\" for name, cells in zip(names, rows, strict=True)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(comparison: Mapping[str, Any]) -> str:
    """A line for each figure of each system, fractions."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [
            "system",
            "runs",
            "part",
            "figure",
            "value",
            "deviation",
            "low",
            "high",
            "difference",
            "difference_low",
            "difference_high",
            "p",
        ]
    )
    for system in comparison["systems"]:
        for part, figures in system["figures"].items():
            for name, found in figures.items():
                between = found.get("difference_interval") or ("", "")
                values = (found["value"], found["deviation"], *(found["interval"] or ("", "")))
                tested = (found.get("difference", ""), *between, found.get("p", ""))
                writer.writerow((system["name"], len(system["runs"]), part, name, *values, *tested))
    return file.getvalue()


def as_json(comparison: Mapping[str, Any]) -> str:
    """All of it."""
    return json.dumps(comparison, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "text": text,
    "latex": latex,
    "markdown": markdown,
    "csv": as_csv,
    "json": as_json,
}


def _all(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Part, name and label of every figure that a system has."""
    for part, labels in _LABELS.items():
        for name, label in labels.items():
            if any(name in system["figures"].get(part, {}) for system in comparison["systems"]):
                yield part, name, label


def _in_papers(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for part, name, label in _all(comparison):
        if part not in _IN_PAPERS or name in _IN_PAPERS[part]:
            yield part, name, label


def _paper_row(
    comparison: Mapping[str, Any], n: int, columns: Sequence[tuple[str, str, str]], bold: str, spread: str, star: str
) -> list[str]:
    system, cells = comparison["systems"][n], []
    for part, name, _ in columns:
        found = system["figures"].get(part, {}).get(name)
        if found is None:
            cells.append("--")
            continue
        values = [
            s["figures"][part][name]["value"] for s in comparison["systems"] if name in s["figures"].get(part, {})
        ]
        best = min(values) if name in _LOW else max(values)
        cell = f"{100 * found['value']:.1f}"
        cell = bold.format(cell) if found["value"] == best else cell
        cell += f" {spread} {100 * found['deviation']:.1f}" * (len(system["runs"]) > 1)
        cells.append(cell + star * _told(found))
    return cells


def _told(found: Mapping[str, Any]) -> bool:
    return "p" in found and found["p"] < ALIKE


def _foot(comparison: Mapping[str, Any], star: str) -> list[str]:
    first = comparison["systems"][0]["name"]
    return [
        f"{comparison['pairs']} pairs, {comparison['changed']} changed; per cent, CIDEr times 100. "
        f"{star}: differs from {first} (paired bootstrap over pairs, p < {ALIKE}). "
        "CIDEr*: document frequencies of all pairs; one form: of all sentences that say no change."
    ]


def escaped(name: str) -> str:
    """``name`` as LaTeX takes it."""
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(table.get(c, rf"\{c}" if c in "&%$#_{}" else c) for c in name)
