"""Our scores against those that the field's own scorers printed: largest differences, over the set and pair by pair.

``python -m benchmarks.goldens``: ``golden/metrics/public/val300*.json`` in ``$CHANGECAP_SHARED``. METEOR's row needs
its tables (``$CHANGECAP_METEOR``, or an installed pycocoevalcap), that of NLTK WordNet.
"""

import json
from typing import Any

import numpy as np

from benchmarks.metrics import CAPTIONS
from benchmarks.report import keep
from changecap.language.vocabulary import read_words
from changecap.metrics import NAMES, Statistics, measure, meteor, score

FOLDER = CAPTIONS.parents[1] / "golden" / "metrics" / "public"
GOALS = dict.fromkeys(NAMES, 1e-9) | {"METEOR": 1e-4}  # of the corpus value
CLOSE = 1e-3  # of METEOR of a pair


def stored(name: str) -> Any:
    """What a file of the goldens holds."""
    return json.loads((FOLDER / name).read_text("utf-8"))


def rows(said: Statistics, theirs: Any) -> list[str]:
    """A line for each metric that both have."""
    totals, each = said.totals(), said.per_pair()
    lines = []
    for name, values in each.items():
        if name not in theirs:
            continue
        known = theirs[name]["per_sample"]
        far = np.abs(values - np.array([known[i] for i in said.ids] if isinstance(known, dict) else known))
        apart = abs(float(totals[name]) - theirs[name]["corpus"])
        verdict = (
            "" if name not in GOALS else f"  goal {GOALS[name]:.0e}: {'met' if apart <= GOALS[name] else 'missed'}"
        )
        lines.append(f"{name:18}{apart:12.1e}{far.max():12.1e}{(far <= CLOSE).mean():10.3f}{verdict}")
    return lines


def main() -> None:
    """Print the tables."""
    pairs = stored("val300.json")
    said = measure(pairs["refs"], pairs["hyps"], others=("METEOR", "NLTK_METEOR"))
    lines = [f"{len(said.ids)} pairs", f"{'differences':18}{'corpus':>12}{'a pair':>12}{'<= 1e-3':>10}"]
    lines += rows(said, stored("val300.scores.json"))
    lines += [f"{name}: {why}" for name, why in said.missing.items() if why != "not asked for"]
    theirs = stored("val300.ids_and_stages.json")
    exact_stem = meteor.statistics(list(pairs["refs"].values()), list(pairs["hyps"].values()), None)
    stage = theirs["METEOR_stages_words"]["exact_stem"]
    apart = (
        abs(float(meteor.values(exact_stem.sum(0))) - stage["corpus"]),
        abs(float(meteor.values(exact_stem).mean()) - stage["mean_of_pairs"]),
    )
    lines.append(f"METEOR_exact_stem: corpus {apart[0]:.1e}, mean of pairs {apart[1]:.1e}")
    words = read_words(FOLDER / "vocabulary_468.json")
    ids = score(pairs["refs"], pairs["hyps"], vocabulary=words, others=("METEOR",))["corpus"]
    known = {name: abs(ids[name] - value) for name, value in theirs["ids"].items() if ids[name] is not None}
    lines.append("on ids: " + ", ".join(f"{name} {value:.1e}" for name, value in known.items()))
    keep("\n".join(lines), "goldens")


if __name__ == "__main__":
    main()
