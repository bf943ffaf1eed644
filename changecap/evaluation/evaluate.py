"""Caption a split and write what came of it: sentences, references, the score card, a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..data.dataset import PairDataset
from ..data.example import Example
from ..errors import DataError
from ..io.atomic import write_whole
from ..io.json_file import to_json
from ..metrics.classes import Change, from_maps
from ..reports import gallery, score_page
from . import baselines as degenerate
from .card import card as score_card

if TYPE_CHECKING:
    import torch

    from ..inference.captioner import Caption, Captioner

_MAPS_NOTE = (
    "True maps went in. Maps that label only what changed give the flag away: blank maps mean no change, and the "
    "classes to name stand in them. Compare with rows that saw maps too."
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
        history: Training log for the page's curves, as `score_page.report` takes it.

    Returns:
        The score card, as in card.json; see `card.card`.

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

    maps = captioner.inputs != "rgb"
    inputs = {"rgb": "rgb", "maps": "maps", "both": "rgb + maps"}[captioner.inputs] + f" ({maps_are} maps)" * maps
    rows = {"model": degenerate.Baseline(hypotheses, inputs)}
    if baselines and train is not None:
        rows |= degenerate.every(train, dataset, maps, limit, maps_are)
    card = score_card(
        references,
        rows,
        {example.id: degenerate.changed(example) for example in examples},
        facts={example.id: example.facts for example in examples if example.facts is not None} or None,
        changes=_changes(dataset, examples),
        training=None if train is None else {sentence for example in train.examples for sentence in example.captions},
        head={
            "split": dataset.split,
            "inputs": inputs,
            "beams": beams,
            "decode": dict(decode or {}),
            "captions_per_second": round(len(examples) / seconds, 1),
        },
        notes=[_MAPS_NOTE] if maps and maps_are == "true" else [],
    )
    write_whole(out / "hypotheses.json", to_json(hypotheses))
    write_whole(out / "references.json", to_json(references))
    write_whole(out / "card.json", to_json(card))
    if report:
        score_page.report(out / "report.html", card, _galleries(dataset, examples, captions, card["per_pair"]), history)
    return card


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


def _changes(dataset: PairDataset, examples: Sequence[Example]) -> dict[str, frozenset[Change]] | None:
    """Which class became which by the maps, where they were read and no facts say it."""
    if not dataset.maps or any(e.facts is not None for e in examples):
        return None
    if any(e.sem_a is None or e.sem_b is None for e in examples):
        return None
    pairs = ((e.id, dataset[i]) for i, e in enumerate(examples))
    return {i: from_maps(pair.sem_a.numpy(), pair.sem_b.numpy()) for i, pair in pairs}  # type: ignore[union-attr]


def _galleries(
    dataset: PairDataset,
    examples: Sequence[Example],
    captions: "Sequence[Caption]",
    per_pair: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[gallery.Sample]]:
    place = {example.id: i for i, example in enumerate(examples)}

    def sample(i: int) -> gallery.Sample:
        e, caption = examples[i], captions[i]
        known = per_pair[e.id]
        return gallery.Sample(
            e.id, dataset[i], caption.text, caption.score, e.captions, known["changed"], known["CIDEr"], e.facts
        )

    return {title: [sample(place[i]) for i in ids] for title, ids in gallery.choose(per_pair).items()}
