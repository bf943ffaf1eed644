"""A benchmark for papers and programs: CSV and LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..reports.comparison_text import escaped
from .tables import wide_scopes

Row = Mapping[str, Any]


def as_csv(rows: Sequence[Row]) -> str:
    """A line for each row, fractions; what is not there is empty."""
    file = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: " ".join(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    return file.getvalue()


def latex(head: Mapping[str, Any], summary: Sequence[Row]) -> str:
    r"""A ``tabular`` with a row for each captioner and variant, per cent, for ``\usepackage{booktabs}``."""
    told = {(r["captioner"], r["variant"], r["scope"]): r for r in summary if r["severities"] == "all"}
    asked = wide_scopes(summary)
    lines = list(dict.fromkeys((who, variant) for who, variant, _ in told))
    heads = ["", "cure", "mCE", *(rf"$R$ {escaped(s)}" for s in asked), "FA", "miss", "gain", "cost", "accepted"]
    body = []
    for who, variant in lines:
        whole = told[who, variant, asked[0]]
        cells = [escaped(who), escaped(variant), _cell(whole, "mce", interval=False)]
        cells += [_cell(told[who, variant, scope], "relative_sm4") for scope in asked]
        cells += [_cell(whole, name, interval=False) for name in ("false_alarm", "miss")]
        accepted = {None: "--", True: "yes", False: "no"}[whole["accepted"]]
        cells += [_cell(whole, "gain"), _cell(whole, "cost", 2, interval=False), accepted]
        body.append(" & ".join(cells) + r" \\")
    note = (
        f"{head['pairs']} pairs of {head['data']} ({head['split']}), side {head['side']}; per cent. R: S*m left of the "
        "clean one, mean of corruptions and severities, with its 95 % bootstrap interval; mCE: normalised by "
        f"{head['reference']}; FA: false alarms; cost: of S*m on {head['clean_pairs']} clean pairs."
    )
    return "\n".join(
        [
            f"% {note}",
            rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 3)}l}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _cell(row: Row, name: str, digits: int = 1, interval: bool = True) -> str:
    if row[name] is None:
        return "--"
    said = f"{100 * row[name]:.{digits}f}"
    if row[f"{name}_sd"]:
        said += rf" $\pm$ {100 * row[f'{name}_sd']:.{digits}f}"
    if interval:
        said += rf" {{\scriptsize [{100 * row[f'{name}_low']:.{digits}f}, {100 * row[f'{name}_high']:.{digits}f}]}}"
    return said
