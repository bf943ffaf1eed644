"""Caption a split, score it, and set the degenerate baselines beside the model: files, a score card, a report.

Flags are judged by exact words: a sentence says "no change" iff it is one of the field's no-change sentences.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from . import baselines as degenerate
from . import show
from .data.dataset import PairDataset
from .data.example import Example
from .errors import DataError
from .metrics import score, to_json, write_whole
from .metrics.facts import fact_scores
from .nochange import says_no_change

if TYPE_CHECKING:
    import torch

    from .captioner import Caption, Captioner

_LABELS = {
    "model": "model",
    "constant": "constant",
    "template": "flag + template",
    "nearest_rgb": "nearest by rgb",
    "nearest_maps": "nearest by maps",
}
_MAPS_NOTE = (
    "True maps went in. Maps that label only what changed give the flag away: blank maps mean no change, and the "
    "classes to name stand in them. Compare with rows that saw maps too."
)
_CIDER_NOTE = (
    "CIDEr is CIDEr-D. On a subset, 'CIDEr' takes document frequencies from that subset, as published values do; "
    "no-change pairs share their five sentences, so theirs is 0 by definition. 'CIDEr*' takes them from all pairs."
)
_BASELINES_NOTE = (
    "constant: one no-change sentence. flag + template: the true flag and the most typical change caption. "
    "nearest: the caption of the most similar training pair."
)


def evaluate(
    captioner: "Captioner",
    dataset: PairDataset,
    train: PairDataset | None,
    out: Path,
    *,
    beams: int = 1,
    decode: Mapping[str, Any] | None = None,
    generator: "torch.Generator | None" = None,
    batch: int = 100,
    baselines: bool = True,
    limit: int | None = None,
    maps_are: str = "true",
    report: bool = True,
    progress: bool = True,
    history: Sequence[Mapping[str, Any]] | None = None,
) -> dict:
    """Caption every pair and write hypotheses.json, references.json, card.json and report.html into ``out``.

    Args:
        captioner: What captions a batch of pairs.
        dataset: The pairs to caption, with their captions.
        train: Where the baselines take their captions from; may be None without baselines.
        out: Folder of the results; files of an earlier evaluation are replaced one by one, each whole.
        beams: Width of the beam search, 1 is greedy.
        decode: Other settings of the search, see `Captioner.decoding`.
        generator: What words are drawn with, where `decode` says `do_sample`.
        batch: Pairs captioned at a time.
        baselines: Whether the degenerate baselines are scored too.
        limit: Only the first so many pairs.
        maps_are: Where the maps come from, said in every table: "true" for the annotated ones.
        report: Whether the page is written.
        progress: Whether a bar is shown.
        history: Training log for the page's curves, as `show.report` takes it.

    Returns:
        The score card, as in card.json. Each of its "rows" is the model or a baseline: metrics over all pairs,
        "change" and "no_change" with a subset's metrics, "flag" with the share of right flags, "facts" with
        `fact_scores` (None where the data set states no facts). Shares and scores are fractions.

    Raises:
        DataError: No pair, no captions, or the maps that the model or a baseline needs are absent.
        ConfigError: The search cannot be done so, see `Captioner.decoding`.
        ValueError: ``limit`` or ``batch`` below 1, or baselines without training pairs.
    """
    if batch < 1 or (limit is not None and limit < 1):
        raise ValueError(f"batch and limit must be at least 1, got batch={batch}, limit={limit}")
    if baselines and train is None:
        raise ValueError("baselines need the training pairs: give train, or baselines=False")
    examples = dataset.examples[:limit]
    _check(captioner, dataset, examples)
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written shows before the work, not after

    start = perf_counter()
    options = {"beams": beams, "decode": decode, "generator": generator}
    captions = _captions(captioner, dataset, examples, batch, progress, **options)
    seconds = perf_counter() - start
    hypotheses = {example.id: caption.text for example, caption in zip(examples, captions, strict=True)}
    references = {example.id: example.captions for example in examples}
    changed = {example.id: degenerate.changed(example) for example in examples}

    maps = captioner.inputs != "rgb"
    inputs = {"rgb": "rgb", "maps": "maps", "both": "rgb + maps"}[captioner.inputs] + f" ({maps_are} maps)" * maps
    said = {"model": degenerate.Baseline(hypotheses, inputs)}
    if baselines and train is not None:
        said |= degenerate.every(train, dataset, maps, limit, maps_are)
    scores = {name: score(references, row.sentences, changed, strict=True) for name, row in said.items()}
    card = {
        "split": dataset.split,
        "pairs": len(examples),
        "changed": sum(changed.values()),
        "inputs": inputs,
        "beams": beams,
        "decode": dict(decode or {}),
        "captions_per_second": round(len(examples) / seconds, 1),
        "notes": [
            *([_MAPS_NOTE] if maps and maps_are == "true" else []),
            _CIDER_NOTE,
            *([_BASELINES_NOTE] if baselines else []),
        ],
        "rows": [_row(name, row, scores[name], changed, examples) for name, row in said.items()],
    }
    write_whole(out / "hypotheses.json", to_json(hypotheses))
    write_whole(out / "references.json", to_json(references))
    write_whole(out / "card.json", to_json(card))
    if report:
        worth = {i: values["CIDEr"] for i, values in scores["model"]["per_pair"].items()}
        show.report(out / "report.html", card, _galleries(dataset, examples, captions, changed, worth), history)
    return card


def print_card(card: dict) -> str:
    """The score card as text, at most 100 columns wide."""
    lines = [
        f"{card['split']} split: {card['pairs']} pairs, {card['changed']} changed",
        f"inputs: {card['inputs']}; {show.searched(card)}; {card['captions_per_second']} captions/s",
        "",
        f"{'':16}{_over('all pairs', 6)}{_over('change', 3)}{_over('no change', 3)}",
        _line("", ["BLEU-1", "-2", "-3", "-4", "ROUGE", "CIDEr", *["BLEU-4", "CIDEr", "CIDEr*"] * 2]),
    ]
    for row in card["rows"]:
        values = [row[name] for name in ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr")]
        values += [(row[part] or {}).get(name) for part in ("change", "no_change") for name in _SUBSET]
        lines.append(_line(row["name"], [_figure(value) for value in values]))
    lines += [
        "",
        f"{'':16}{_over('flag right', 3)}{_over('facts right', 4)}",
        _line("", ["all", "change", "no chg", "facts", "roles", "place", "count"]) + "   went in",
    ]
    for row in card["rows"]:
        values = [row["flag"][name] for name in ("accuracy", "change", "no_change")]
        values += [(row["facts"] or {}).get(name) for name in ("facts", "roles", "place", "count")]
        lines.append(_line(row["name"], [_figure(value) for value in values]) + f"   {row['inputs']}")
    for note in card["notes"]:
        lines += ["", *textwrap.wrap(note, 100)]
    return "\n".join(lines) + "\n"


_SUBSET = ("Bleu_4", "CIDEr", "CIDEr_full_df")


def _over(title: str, columns: int) -> str:
    """A heading over so many columns of 7."""
    return "  " + f" {title} ".center(7 * columns - 2, "-")


def _line(name: str, cells: list[str]) -> str:
    return f"{_LABELS.get(name, name):16.16}" + "".join(f"{cell:>7}" for cell in cells)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _check(captioner: "Captioner", dataset: PairDataset, examples: list[Example]) -> None:
    if not examples:
        raise DataError(f"no pair in the split {dataset.split!r}, nothing to evaluate")
    bare = next((example.id for example in examples if not example.captions), None)
    if bare is not None:
        raise DataError(f"no caption for {bare!r} in the split {dataset.split!r}; evaluation needs true sentences")
    blind = next((example.id for example in examples if example.sem_a is None or example.sem_b is None), None)
    if captioner.inputs != "rgb" and (blind is not None or not dataset.maps):
        where = f"{blind!r} of the split" if blind is not None else "the split"
        raise DataError(
            f"the model takes maps (inputs={captioner.inputs}) and {where} {dataset.split!r} was read without; "
            "read the data set with maps, or evaluate a model trained with inputs=rgb"
        )


def _captions(
    captioner: "Captioner", dataset: PairDataset, examples: list[Example], batch: int, progress: bool, **options: Any
) -> "list[Caption]":
    captions: list[Caption] = []
    with tqdm(total=len(examples), desc=f"captioning {dataset.split}", unit="pair", disable=not progress) as bar:
        for start in range(0, len(examples), batch):
            pairs = dataset.batch(range(start, min(start + batch, len(examples))))
            if captioner.inputs == "rgb":
                pairs = pairs._replace(sem_a=None, sem_b=None)  # what the table says is what went in
            captions += captioner.caption(pairs, **options)
            bar.update(len(captions) - start)
    return captions


def _row(
    name: str, said: degenerate.Baseline, scores: dict, changed: dict[str, bool], examples: Sequence[Example]
) -> dict:
    right = {i: says_no_change(said.sentences[i]) != truth for i, truth in changed.items()}
    facts = {example.id: example.facts for example in examples if example.facts is not None}
    return {
        "name": name,
        "inputs": said.inputs,
        **scores["corpus"],
        **scores["subsets"],
        "flag": {
            "accuracy": _share(list(right.values())),
            "change": _share([right[i] for i, truth in changed.items() if truth]),
            "no_change": _share([right[i] for i, truth in changed.items() if not truth]),
        },
        "facts": fact_scores({i: said.sentences[i] for i in facts}, facts) if any(facts.values()) else None,
    }


def _share(right: list[bool]) -> float | None:
    return sum(right) / len(right) if right else None


def _galleries(
    dataset: PairDataset,
    examples: Sequence[Example],
    captions: "Sequence[Caption]",
    changed: dict[str, bool],
    worth: dict[str, float],
    size: int = 4,
) -> dict[str, list[show.Sample]]:
    """What the page shows, by title: the best and the worst changed pairs, unchanged ones, wrong flags."""
    wrong = [changed[e.id] == says_no_change(c.text) for e, c in zip(examples, captions, strict=True)]
    everything = range(len(examples))
    by_worth = sorted((i for i in everything if changed[examples[i].id]), key=lambda i: -worth[examples[i].id])
    half = min(size, (len(by_worth) + 1) // 2)  # few pairs: none is both best and worst
    chosen = {
        "Best": by_worth[:half],
        "Worst": by_worth[half:][-size:][::-1],
        "No change": [i for i in everything if not changed[examples[i].id] and not wrong[i]][:size],
        "Wrong flag": [i for i in everything if wrong[i]][:size],
    }

    def sample(i: int) -> show.Sample:
        example = examples[i]
        return show.sample(example, dataset[i], captions[i], changed[example.id], worth[example.id])

    return {title: [sample(i) for i in rows] for title, rows in chosen.items()}
