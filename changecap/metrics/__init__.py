"""Scores of captions against their references: BLEU-1..4, ROUGE-L and CIDEr-D as this field computes them.

Everything is a fraction (CIDEr-D in [0, 10]). Sentences are compared as they are: words between blanks, nothing is
lower-cased, no punctuation is removed. Knows sentences and ids, not images.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..flag import says_no_change
from ..jsonfile import read_json
from . import bleu, cider, ngrams, rouge

NAMES = (*(f"Bleu_{n + 1}" for n in range(ngrams.ORDERS)), "ROUGE_L", "CIDEr")
SUBSETS = ("change", "no_change")


def score(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str], changed: Mapping[str, bool] | None = None
) -> dict:
    """Score one hypothesis per pair against that pair's references.

    BLEU's corpus value comes from summed counts, the others are means over pairs. Document frequencies of CIDEr come
    from the references being scored: a subset's "CIDEr" uses the subset's own (as published values do; for no-change
    pairs, which share their five references, it is 0 whatever is said), its "CIDEr_full_df" those of all pairs.

    Args:
        references: At least one sentence for each id.
        hypotheses: One sentence for each of the same ids.
        changed: Whether the pair changed, for each id. By default a pair is a no-change pair iff all its references
            are no-change sentences.

    Returns:
        ``{"corpus": {metric: value}, "per_pair": {id: {metric: value}}, "subsets": {"change": {metric: value},
        "no_change": {...}}}`` with the metrics `NAMES`, and "CIDEr_full_df" in subsets. A subset without pairs is None.

    Raises:
        DataError: The ids differ, there is no pair, or a value is not what is described above.
    """
    _check(references, hypotheses)
    ids = list(references)
    changed = truth(references) if changed is None else changed
    _same_ids("changed", changed, "references", references)
    change = np.array([bool(changed[i]) for i in ids])

    o = ngrams.overlap([references[i] for i in ids], [hypotheses[i] for i in ids])
    counts = bleu.statistics(o)
    rouges = np.array([rouge.rouge(references[i], hypotheses[i]) for i in ids])
    ciders = cider.cider(o, cider.idf(o))
    everything = np.column_stack([bleu.bleu(counts), rouges, ciders])  # (P, metrics)

    def total(chosen: NDArray[np.bool_]) -> dict[str, float]:
        own = cider.cider(o, cider.idf(o, chosen))[chosen].mean()
        return _named([*bleu.bleu(counts[chosen].sum(0)), rouges[chosen].mean(), own])

    subsets = {
        name: total(chosen) | {"CIDEr_full_df": float(ciders[chosen].mean())} if chosen.any() else None
        for name, chosen in zip(SUBSETS, (change, ~change), strict=True)
    }
    return {
        "corpus": _named([*bleu.bleu(counts.sum(0)), rouges.mean(), ciders.mean()]),
        "per_pair": {i: _named(row) for i, row in zip(ids, everything.tolist(), strict=True)},
        "subsets": subsets,
    }


def truth(references: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    """Whether each pair changed, by its references: a no-change pair has no-change sentences only."""
    return {i: not all(map(says_no_change, sentences)) for i, sentences in references.items()}


def score_files(references: Path, hypotheses: Path, out: Path | None = None, changed: Path | None = None) -> dict:
    """`score` on JSON files: ``{id: [sentence, ...]}``, ``{id: sentence}`` and, if given, ``{id: true | false}``.

    Args:
        references: File of the references.
        hypotheses: File of the hypotheses.
        out: Where the result goes as JSON, written whole or not at all.
        changed: File that says which pairs changed.

    Raises:
        DataError: A file is missing, is not UTF-8 or JSON or has another structure; the ids differ.
    """
    truths = None if changed is None else _read(Path(changed))
    for i, value in (truths or {}).items():
        if not isinstance(value, bool):
            raise DataError(f"changed must be true or false for each id, got {value!r} for {i!r} in {changed}")
    try:
        scores = score(_read(Path(references)), _read(Path(hypotheses)), truths)
    except DataError as error:
        raise DataError(f"{error} (references: {references}; hypotheses: {hypotheses})") from None
    if out is not None:
        write_whole(Path(out), to_json(scores))
    return scores


def to_json(value: object) -> str:
    """JSON text as this project writes it: readable, UTF-8, without NaN."""
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a reader never sees half of it, a full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
        try:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # temporary files are private, results are not
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _named(values: Iterable[float]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(NAMES, values, strict=True)}


def _read(path: Path) -> dict:
    absent = f"no file {path}; give the path of a JSON object with one entry for each pair"
    value = read_json(path, absent, "give a JSON object with one entry for each pair", hook=_unique)
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object with one entry for each pair, got {type(value).__name__}")
    return value


def _unique(items: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse an id that stands twice in a JSON object, where Python would silently keep the last."""
    value = dict(items)
    if len(value) < len(items):
        keys = [key for key, _ in items]
        raise DataError(f"the id {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return value


def _check(references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str]) -> None:
    _same_ids("hypotheses", hypotheses, "references", references)
    if not references:
        raise DataError("nothing to score: references and hypotheses are empty")
    for i, sentences in references.items():
        several = isinstance(sentences, Sequence) and not isinstance(sentences, str)
        if not several or not sentences or not all(isinstance(sentence, str) for sentence in sentences):
            raise DataError(f"references must be a list of one or more sentences, got {sentences!r:.80} for {i!r}")
    for i, sentence in hypotheses.items():
        if not isinstance(sentence, str):
            raise DataError(f"a hypothesis must be one sentence, got {sentence!r:.80} for {i!r}")


def _same_ids(name: str, ours: Mapping[str, object], other: str, theirs: Mapping[str, object]) -> None:
    for less, missing in ((name, theirs.keys() - ours.keys()), (other, ours.keys() - theirs.keys())):
        if missing:
            some = ", ".join(map(repr, sorted(missing, key=str)[:5])) + (", ..." if len(missing) > 5 else "")
            raise DataError(f"ids must be the same in {name} and {other}: {len(missing)} not in {less}: {some}")
