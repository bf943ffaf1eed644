"""What captions are worth that nobody looked for: constants, and a true change flag with one sentence for every change.

``python -m benchmarks.baselines [CAPTIONS.json]``: LEVIR-CC's test split as ``{"captions": {"test_000001": [sentence,
...]}}``, by default ``captions/levir_cc.json`` in ``$CHANGECAP_SHARED`` (default ``../shared``). No image is opened.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import keep
from changecap.evaluation.baselines import medoid
from changecap.metrics import measure, truth

CAPTIONS = Path(os.environ.get("CHANGECAP_SHARED", "../shared")) / "captions" / "levir_cc.json"
FREQUENT = "some roads and houses are built on bareland"  # the most frequent change sentence of the training split
BEST = "a road and some houses are built on the bareland"
DIFFERENCE, SAME, OCCURRED = "there is no difference", "the scene is the same as before", "no change has occurred"
WIDTH = 64  # of a row's name
COLUMNS = {"BLEU-4": "Bleu_4", "METEOR": "METEOR", "ROUGE-L": "ROUGE_L", "CIDEr-D": "CIDEr", "sm4": "sm4"}

Captions = Mapping[str, Sequence[str]]


def line(name: str, references: Captions, said: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A row of the table, in percent, and why values are not there."""
    found = measure(references, {i: said[i] for i in references}, others=("METEOR",))
    totals = found.totals()
    cells = (f"{100 * totals[metric]:9.2f}" if metric in totals else f"{'-':>9}" for metric in COLUMNS.values())
    return f"{name:{WIDTH}}" + "".join(cells), {k: why for k, why in found.missing.items() if k in COLUMNS.values()}


def rows(test: Captions, central: str) -> dict[str, tuple[Captions, dict[str, str]]]:
    """References and sentences of every row, by its name."""
    changed = truth(test)
    change = {i: sentences for i, sentences in test.items() if changed[i]}
    first = {i: sentences[0] for i, sentences in test.items()}
    without = {i: sentences[1:] if changed[i] else sentences for i, sentences in test.items()}

    def flagged(template: Mapping[str, str], otherwise: str) -> dict[str, str]:
        return {i: template[i] if changed[i] else otherwise for i in test}

    always = {sentence: dict.fromkeys(test, sentence) for sentence in (DIFFERENCE, SAME, FREQUENT, BEST, central)}
    table = {f'constant "{sentence}"': (test, always[sentence]) for sentence in (DIFFERENCE, SAME)}
    for name, sentence in {"1": FREQUENT, "2": BEST, "3": central}.items():
        for nothing in (DIFFERENCE, OCCURRED, SAME):
            table[f'flag + template {name}, else "{nothing}"'] = (test, flagged(always[sentence], nothing))
    for nothing in (DIFFERENCE, SAME):
        table[f'flag + a person, else "{nothing}"'] = (without, flagged(first, nothing))
    table["changed pairs alone: a person"] = ({i: without[i] for i in change}, first)
    table["changed pairs alone: template 1"] = (change, always[FREQUENT])
    table["unchanged pairs alone: one of the references"] = ({i: s for i, s in test.items() if not changed[i]}, first)
    return table


def main() -> None:
    """Print the table."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else CAPTIONS
    captions = json.loads(path.read_text("utf-8"))["captions"]
    train, test = ({i: s for i, s in captions.items() if i.startswith(split)} for split in ("train_", "test_"))
    changed = truth(train)
    spoken = [tuple(sentences) for i, sentences in train.items() if changed[i]]
    frequent, times = Counter(sentence for sentences in spoken for sentence in sentences).most_common(1)[0]
    if frequent != FREQUENT:
        sys.exit(f"{path} is not LEVIR-CC as published: its most frequent change sentence is {frequent!r}")
    central = medoid(spoken)
    lines = [
        f"{len(test)} test pairs of LEVIR-CC, {sum(truth(test).values())} changed; percent",
        f'template 1: "{frequent}", the most frequent of {len(train)} training pairs, {times} times',
        f'template 2: "{BEST}"',
        f'template 3: "{central}", of the highest CIDEr-D against all of them',
        "a person: the first reference, against the other four",
        "",
        f"{'':{WIDTH}}" + "".join(f"{name:>9}" for name in COLUMNS),
    ]
    missing: dict[str, str] = {}
    for name, (references, said) in rows(test, central).items():
        shown, absent = line(name, references, said)
        lines.append(shown)
        missing |= absent
    lines += [f"{name}: {why}" for name, why in missing.items()]
    keep("\n".join(lines), "baselines")


if __name__ == "__main__":
    main()
