"""What a benchmark found, in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .figures_of_merit import COST, ENOUGH
from .grid import HELD_OUT, NONE, ORACLE
from .tables import wide_scopes

Row = Mapping[str, Any]


def sentences(head: Mapping[str, Any], rows: Sequence[Row], summary: Sequence[Row], firsts: Sequence[Row]) -> list[str]:
    """The findings, the first ones first.

    Args:
        head: What was tried, as `Ablation.head`.
        rows: As `tables.rows` makes them.
        summary: As `tables.summary`.
        firsts: As `tables.first_severities`.
    """
    said = [_tried(head)]
    uncured = [r for r in summary if r["severities"] == "all" and r["variant"] == NONE]
    whole = next(iter(wide_scopes(summary)), None)
    if whole is not None:
        mean = sorted((r for r in uncured if r["scope"] == whole), key=lambda r: -(r["relative_sm4"] or 0))
        said.append(_standing(mean))
        said += [_harm(r["captioner"], uncured, head) for r in mean if len(head["corruptions"]) > 1]
        said += [_alarms(r, rows, firsts) for r in mean]
        said += [verdict(r, head) for r in summary if r["scope"] == whole and _is_cure(r)]
    if held_out := [r for r in uncured if r["scope"] == HELD_OUT]:
        kept = ", ".join(f"{r['captioner']} keeps {_share(r, 'relative_sm4')}" for r in held_out)
        said.append(f"Of the corruptions that are held out from training: {kept}.")
    return said


def verdict(row: Row, head: Mapping[str, Any]) -> str:
    """Whether a variant is accepted for a captioner, and why, in a sentence; ``row`` is of the summary."""
    who, cure = row["captioner"], row["variant"]
    gain, between = _points(row["gain"]), f"[{_points(row['gain_low'])}, {_points(row['gain_high'])}]"
    costs = f"{100 * row['cost']:.2f} % of its S*m on {head['clean_pairs']:,} clean pairs"
    gains = f"it gains {gain} points of relative S*m {between} and costs {costs}"
    few = "" if head["clean_pairs"] >= ENOUGH else f"; fewer than {ENOUGH:,} clean pairs tell a cost this small badly"
    if row["accepted"]:
        return f"{cure} is accepted for {who}: {gains}{few}."
    why = []
    if not row["gain_low"] > 0:
        why.append("its gain is not positive with confidence")
    if not row["cost"] < COST:
        why.append(f"its cost is not below {100 * COST:.1f} %")
    return f"{cure} is not accepted for {who}, since {' and '.join(why)}: {gains}{few}."


def _tried(head: Mapping[str, Any]) -> str:
    names = head["corruptions"]
    tried = f"{len(names)} corruptions" if len(names) > 1 else names[0]
    severities = ", ".join(map(str, head["severities"]))
    date = {"a": "the earlier date", "b": "the later date", "both": "both dates alike"}[head["side"]]
    return (
        f"{head['pairs']:,} pairs of {head['data']} ({head['split']}), {head['changed']:,} of them changed, were "
        f"captioned under {tried} of severity {severities} on {date}; what cures cost on clean pairs is of "
        f"{head['clean_pairs']:,} pairs."
    )


def _standing(core: Sequence[Row]) -> str:
    best, *others = core
    said = f"{best['captioner']} keeps {_share(best, 'relative_sm4')} of its clean S*m"
    if not others:
        return f"On average {said}."
    rest = ", ".join(f"{r['captioner']} {_share(r, 'relative_sm4')}" for r in others)
    return f"On average {said}, the most of all; {rest}."


def _harm(captioner: str, uncured: Sequence[Row], head: Mapping[str, Any]) -> str:
    mine = {r["scope"]: r for r in uncured if r["captioner"] == captioner and r["scope"] in head["corruptions"]}
    ranked = sorted(mine.values(), key=lambda r: r["relative_sm4"] or 0)
    worst, best = ranked[0], ranked[-1]
    return (
        f"{captioner} suffers most from {_plain(worst['scope'])}, which leaves {_share(worst, 'relative_sm4')} of S*m, "
        f"and least from {_plain(best['scope'])} ({_share(best, 'relative_sm4')})."
    )


def _alarms(core: Row, rows: Sequence[Row], firsts: Sequence[Row]) -> str:
    who = core["captioner"]
    mine = [r for r in rows if r["captioner"] == who and r["variant"] == NONE and r["false_alarm"] is not None]
    if not mine:
        return f"{who}: no pair is unchanged, so there is nothing to raise a false alarm about."
    clean, worse = mine[0], max(mine[1:], key=lambda r: r["false_alarm"])
    early = [r for r in firsts if r["captioner"] == who and r["variant"] == NONE and r["first_severity"] is not None]
    said = (
        f"{who} claims a change in {_percent(clean['false_alarm'])} of the unchanged clean pairs and in "
        f"{_percent(core['false_alarm'])} of the corrupted ones"
    )
    if worse["false_alarm"] > clean["false_alarm"]:
        said += (
            f", at most {_percent(worse['false_alarm'])} ({_plain(worse['corruption'])}, severity {worse['severity']})"
        )
    if not early:
        return f"{said}; no corruption brings them to twice the clean rate and 5 points more."
    first = min(early, key=lambda r: r["first_severity"])
    bring = "1 corruption brings" if len(early) == 1 else f"{len(early)} corruptions bring"
    return (
        f"{said}; {bring} too many false alarms, {_plain(first['corruption'])} from severity "
        f"{first['first_severity']} on."
    )


def _is_cure(row: Row) -> bool:
    is_known = row["gain"] is not None and row["cost"] is not None
    return row["severities"] == "all" and row["variant"] not in (NONE, ORACLE) and is_known


def _share(row: Row, name: str) -> str:
    if row[name] is None:
        return "nothing known"
    return f"{_percent(row[name])} [{100 * row[f'{name}_low']:.0f}, {100 * row[f'{name}_high']:.0f}]"


def _percent(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.0f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def notes(head: Mapping[str, Any], summary: Sequence[Row]) -> Iterator[str]:
    """What a reader of the figures must know."""
    meteor = "" if head["meteor"] == "METEOR" else " (of exact words and stems: its tables are not there)"
    yield (
        f"S*m is the mean of BLEU-4, METEOR{meteor}, ROUGE-L and CIDEr-D. Relative figures are shares of those of the "
        "same captioner on the same clean pairs. Document frequencies of CIDEr-D are those of all "
        f"{head['documents']:,} pairs of the split, everywhere."
    )
    yield (
        "[a, b]: 95 % bootstrap interval over pairs, changed and unchanged ones drawn apart, the same draws for every "
        "figure, so that ratios and differences are paired. ±: standard deviation over seeds of one configuration."
    )
    yield (
        f"mCE: what is lost of relative S*m over the severities, divided by what {head['reference']} loses without "
        "cure, mean of the corruptions, times 100. " + _of_reference(head, summary)
    )
    yield (
        "Cures act on the corrupted images in the size in which the data are stored; the captioner's own preparation "
        "and size come after. The oracle takes a plane motion back by its true inverse and shows clean images for all "
        "else: what no cure can exceed but by chance."
    )


def _of_reference(head: Mapping[str, Any], summary: Sequence[Row]) -> str:
    absent = "RSICCformer is not among the captioners, so the first one is the reference."
    said = [] if head["is_rsiccformer"] else [absent]
    whole = (r for r in summary if r["scope"] in wide_scopes(summary)[:1] and r["severities"] == "all")
    left_out: list[str] = next((r["mce_left_out"] for r in whole), [])
    if left_out:
        said.append(f"Left out, since the reference does not surely lose there: {', '.join(map(_plain, left_out))}.")
    return " ".join(said)
