"""The score card in a terminal, at most 100 columns wide."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 100
ALIKE = 0.05  # p from which on two systems are not told apart
LABELS = {
    "model": "model",
    "constant": "constant",
    "template": "flag + template",
    "nearest_rgb": "nearest by rgb",
    "nearest_maps": "nearest by maps",
}
METRIC_LABELS = {
    **{f"Bleu_{n}": f"BLEU-{n}" for n in range(1, 5)},
    "ROUGE_L": "ROUGE-L",
    "CIDEr": "CIDEr",
    "CIDEr_plain": "CIDEr, plain",
    "METEOR": "METEOR",
    "METEOR_exact_stem": "METEOR, stems",
    "NLTK_METEOR": "METEOR of NLTK",
    "SPICE": "SPICE",
    "sm4": "S*m of 4",
    "sm5": "S*m of 5",
}
FIGURE_LABELS = METRIC_LABELS | {
    "false_alarm": "false alarms",
    "miss": "missed",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
_PARTS = {"description": "changed pairs", "overall": "all pairs, as published", "canonical": "all pairs, one form"}


def print_card(card: Mapping[str, Any]) -> str:
    """The score card as text."""
    rows = card["rows"]
    lines = [
        f"{card.get('split', 'given')} {'split' if 'split' in card else 'pairs'}: "
        f"{card['pairs']} pairs, {card['changed']} changed"
    ]
    if how := searched(card):
        lines.append(how)
    lines += ["", *_main(rows), "", *_detail(rows[0]), "", *_said(rows)]
    if any(row["facts"] or row.get("classes") for row in rows):
        lines += ["", *_facts(rows)]
    if rows[0].get("classes"):
        lines += ["", *_classes(rows[0]["classes"])]
    for note in card["notes"]:
        lines += ["", *textwrap.wrap(note, WIDTH)]
    return "\n".join(lines) + "\n"


def searched(card: Mapping[str, Any]) -> str:
    """What went in and how the sentences of ``card`` were searched for, in words; empty where nobody knows."""
    if "beams" not in card:
        return ""
    search = {"beams": card["beams"], **card["decode"]}
    return "; ".join(
        [
            f"inputs: {card['inputs']}",
            *(f"{name}: {value}" for name, value in search.items()),
            f"{card['captions_per_second']} captions/s",
        ]
    )


def meteor_of(row: Mapping[str, Any]) -> str:
    """The METEOR that there is: the whole one, or that of exact words and stems."""
    return "METEOR" if row["METEOR"] is not None else "METEOR_exact_stem"


def value_of(row: Mapping[str, Any], part: str, name: str) -> float | None:
    """A figure of a row, the mean of those that are several; those over all pairs stand in the row itself."""
    value = (row if part == "overall" else row.get(part) or {}).get(name)
    return value["mean"] if isinstance(value, Mapping) else value


def alike(row: Mapping[str, Any], part: str, name: str) -> bool:
    """Whether the row of a baseline cannot be told apart from the model's by a figure."""
    p = (row["p"].get(part) or {}).get(name)
    return p is not None and p >= ALIKE


def figure(value: float | None) -> str:
    """A fraction, three decimals; a dash for what is not there."""
    return "-" if value is None else f"{value:.3f}"


def _main(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The flag, the description and the overall score of each row."""
    meteor = meteor_of(rows[0])
    metrics = {"Bleu_4": "BLEU-4", "ROUGE_L": "ROUGE", meteor: "METEOR" if meteor == "METEOR" else "METst"}
    if rows[0][meteor] is None:
        del metrics[meteor]
    flag = {"false_alarm": "false", "miss": "missed", "balanced_accuracy": "right"}
    groups: dict[str, tuple[str, dict[str, str]]] = {
        "flag": ("flag", flag),
        "description": ("changed pairs", {**metrics, "CIDEr": "CIDEr*"}),
        "overall": ("all pairs", {"Bleu_4": "BLEU-4", "CIDEr": "CIDEr"}),
        "canonical": ("one form", {"Bleu_4": "BLEU-4", "CIDEr": "CIDEr"}),
    }
    lines = [
        f"{'':16}" + "".join(_over(title, len(columns)) for title, columns in groups.values()),
        _line("", [label for _, columns in groups.values() for label in columns.values()]),
    ]
    for row in rows:
        cells = [_marked(row, part, name) for part, (_, columns) in groups.items() for name in columns]
        lines.append(_line(row["name"], cells))
    lines += textwrap.wrap(
        "false: alarms on unchanged pairs; missed: changes; right: balanced accuracy. ≈: not told apart from the model "
        f"on these pairs (paired bootstrap, p of {ALIKE} or more).",
        WIDTH,
    )
    return lines


def _marked(row: Mapping[str, Any], part: str, name: str) -> str:
    """A figure, with a mark where it is no different from the model's."""
    return ("≈" if alike(row, part, name) else "") + figure(value_of(row, part, name))


def _detail(row: Mapping[str, Any]) -> list[str]:
    """Every metric of the model with its interval."""
    lines = [f"{'model':16}" + "".join(f"{title:>28}" for title in _PARTS.values())]
    for name, label in METRIC_LABELS.items():
        cells = []
        for part in _PARTS:
            value = value_of(row, part, name)
            between = (row["intervals"].get(part) or {}).get(name)
            limits = "" if between is None else f" [{between[0]:.3f}, {between[1]:.3f}]"
            cells.append(figure(value) + limits)
        if set(cells) != {"-"}:
            lines.append(f"{label:16}" + "".join(f"{cell:>28}" for cell in cells))
    return lines


def _said(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"{'':16}{_over('what was said', 4)}",
        _line("", ["kinds", "words", "length", "seen"]) + "   went in",
    ]
    for row in rows:
        said = row["said"]
        cells = [
            str(said["distinct"]),
            str(said["vocabulary"]),
            f"{said['length']['mean']:.1f}",
            figure(said["seen"]),
        ]
        lines.append(_line(row["name"], cells) + f"   {row['inputs']}")
    lines += textwrap.wrap(
        "kinds: distinct sentences; words: distinct words; length: words in a sentence; seen: share of sentences that "
        "stand word for word in the training captions.",
        WIDTH,
    )
    return lines


def _facts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is known of the changes that each row names."""
    groups = {
        "classes": ("changes named", {"precision": "precis", "recall": "recall", "f1": "F1"}),
        "facts": ("facts right", {name: name for name in ("facts", "roles", "place", "count")}),
    }
    groups = {part: group for part, group in groups.items() if any(row.get(part) for row in rows)}
    lines = [
        f"{'':16}" + "".join(_over(title, len(columns)) for title, columns in groups.values()),
        _line("", [label for _, columns in groups.values() for label in columns.values()]),
    ]
    for row in rows:
        values = [value_of(row, part, name) for part, (_, columns) in groups.items() for name in columns]
        lines.append(_line(row["name"], map(figure, values)))
    return lines


def _classes(found: Mapping[str, Any]) -> list[str]:
    """How the model names each class, as lost and as gained."""
    lines = [
        f"{'':16}{_over('lost', 4)}{_over('gained', 4)}",
        _line("model", ["precis", "recall", "said", "true"] * 2),
    ]
    for name, roles in found["classes"].items():
        cells = []
        for role in ("lost", "gained"):
            cells += [figure(roles[role]["precision"]), figure(roles[role]["recall"])]
            cells += [str(roles[role]["claimed"]), str(roles[role]["support"])]
        lines.append(_line(name, cells))
    lines += textwrap.wrap(
        f"{found['false_claims']} of {found['claimed']} claims of a class lost or gained are false; "
        f"{found['support'] - found['right']} of {found['support']} true ones go unsaid.",
        WIDTH,
    )
    return lines


def _over(title: str, columns: int) -> str:
    """A heading over so many columns of 7."""
    return "  " + f" {title} ".center(7 * columns - 2, "-")


def _line(name: str, cells: Iterable[str]) -> str:
    return f"{LABELS.get(name, name):16.16}" + "".join(f"{cell:>7}" for cell in cells)
