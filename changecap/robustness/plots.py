"""The pictures of a benchmark: heat maps and curves, as PNG."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .grid import NONE, ORACLE

Row = Mapping[str, Any]
_COLUMNS = 4  # of curves


def heat_maps(summary: Sequence[Row], corruptions: Sequence[str]) -> bytes:
    """Captioner and variant by corruption: relative S*m and false alarms, means over the severities."""
    from matplotlib.figure import Figure

    told = [r for r in summary if r["severities"] == "all" and r["scope"] in corruptions]
    lines = list(dict.fromkeys((r["captioner"], r["variant"]) for r in told))
    cells = {(r["captioner"], r["variant"], r["scope"]): r for r in told}
    width = 2.6 + 0.62 * len(corruptions)
    height = 0.9 + 0.3 * len(lines)
    fig = Figure(figsize=(2 * width - 1.6, height + 0.9), dpi=130, layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    styles = {
        "relative_sm4": (left, "S*m left, % of clean", "YlOrRd_r", 100),
        "false_alarm": (right, "false alarms, % of unchanged pairs", "YlOrRd", 100),
    }
    for figure, (axes, title, colours, scale) in styles.items():
        values = np.array(
            [[cells[(*line, name)][figure] for name in corruptions] for line in lines], dtype=float
        ).reshape(len(lines), len(corruptions))
        values *= scale
        low, high = (min(50.0, float(np.nanmin(values))), 100.0) if figure == "relative_sm4" else (0.0, 50.0)
        axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
        axes.set_title(title, fontsize=10, loc="left")
        names = [name.replace("_", " ") for name in corruptions]
        axes.set_xticks(range(len(corruptions)), names, rotation=35, ha="right")
        axes.set_yticks(range(len(lines)), [who if cure == NONE else f"{who}, {cure}" for who, cure in lines])
        axes.tick_params(labelsize=8, length=0)
        for (y, x), value in np.ndenumerate(values):
            dark = (value < low + 0.4 * (high - low)) if figure == "relative_sm4" else value > 0.6 * high
            text = "-" if math.isnan(value) else f"{value:.0f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    return _png(fig)


def curves(rows: Sequence[Row], corruptions: Sequence[str]) -> bytes:
    """Relative S*m and false alarms by severity, with their 95 % intervals; solid without cure, dashed with one."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    captioners = list(dict.fromkeys(r["captioner"] for r in rows))
    cures = [v for v in dict.fromkeys(r["variant"] for r in rows) if v not in (NONE, ORACLE)]
    drawn = {NONE: "-"} | ({cures[-1]: "--"} if cures else {})
    columns = min(_COLUMNS, len(corruptions))
    blocks = math.ceil(len(corruptions) / columns)
    fig = Figure(figsize=(max(3.1 * columns, 6.2), 3.3 * blocks + 0.6), dpi=110, layout="constrained")
    panels = fig.subplots(2 * blocks, columns, sharex=True, squeeze=False)
    figures = {"relative_sm4": "S*m left, %", "false_alarm": "false alarms, %"}
    limits = {name: _limits(rows, name) for name in figures}
    for n in range(blocks * columns):
        for line, (figure, label) in enumerate(figures.items()):
            axes = panels[2 * (n // columns) + line][n % columns]
            if n >= len(corruptions):
                axes.set_axis_off()
                continue
            for i, captioner in enumerate(captioners):
                for variant, style in drawn.items():
                    _curve(axes, rows, figure, (captioner, corruptions[n], variant), f"C{i}", style)
            axes.set_ylim(*limits[figure])
            axes.grid(alpha=0.25)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            if line == 0:
                axes.set_title(corruptions[n].replace("_", " "), fontsize=10, loc="left")
            if n % columns == 0:
                axes.set_ylabel(label, fontsize=8)
            severities = sorted({r["severity"] for r in rows})
            axes.set_xticks(severities, ["clean" if s == 0 else str(s) for s in severities])
            axes.tick_params(labelbottom=line == 1)
    marks = [Line2D([], [], color=f"C{i}", label=name) for i, name in enumerate(captioners)]
    marks += [Line2D([], [], color="0.3", linestyle=s, label="no cure" if v == NONE else v) for v, s in drawn.items()]
    fig.legend(handles=marks, loc="outside upper left", ncols=min(len(marks), 6), fontsize=9, frameon=False)
    return _png(fig)


def _curve(axes: Any, rows: Sequence[Row], figure: str, of: tuple[str, str, str], colour: str, style: str) -> None:
    captioner, corruption, variant = of
    mine = [
        r
        for r in rows
        if r["captioner"] == captioner and r["corruption"] in ("clean", corruption) and r["variant"] == variant
    ]
    known = sorted((r for r in mine if r[figure] is not None), key=lambda r: r["severity"])
    if not known:
        return
    x, y, low, high = ([scale * r[key] for r in known] for key, scale in _axes(figure))
    axes.plot(x, y, style, color=colour, linewidth=1.6, marker="o", markersize=3)
    axes.fill_between(x, low, high, color=colour, alpha=0.14 if style == "-" else 0.07, linewidth=0)


def _axes(figure: str) -> list[tuple[str, int]]:
    return [("severity", 1), *((f"{figure}{end}", 100) for end in ("", "_low", "_high"))]


def _limits(rows: Sequence[Row], figure: str) -> tuple[float, float]:
    """Of an axis that holds every interval."""
    every = [100 * r[f"{figure}{end}"] for r in rows for end in ("_low", "_high") if r[figure] is not None]
    least, most = (100.0, 100.0) if figure == "relative_sm4" else (0.0, 10.0)
    return min([*every, least]) - 3, max([*every, most]) + 3


def _png(fig: Any) -> bytes:
    file = io.BytesIO()
    fig.savefig(file, format="png", facecolor="white")
    return file.getvalue()
