"""How many real captions can be rewritten for a mirrored or turned image, and why the others cannot.

``python -m benchmarks.directions``: the captions of LEVIR-CC, ``captions/levir_cc.json`` in ``$CHANGECAP_SHARED``.
"""

import json
import time
from collections import Counter

from benchmarks.metrics import CAPTIONS
from benchmarks.report import keep
from changecap.language.directions import TURNS, refusal, rewrite, then


def main() -> None:
    """Print a table: captions rewritten, left out and brought back by each turn, and the reasons."""
    stored = json.loads(CAPTIONS.read_text("utf-8"))["captions"]
    captions = [caption for of_pair in stored.values() for caption in of_pair]
    lines = [
        f"{len(captions)} captions",
        f"{'turn':16}{'other words':>12}{'left out':>10}{'came back':>11}{'CPU s':>8}",
    ]
    reasons: dict[str, Counter[str]] = {}
    for name, turn in TURNS.items():
        started = time.process_time()
        turned = [rewrite(caption, turn) for caption in captions]
        spent = time.process_time() - started
        other = sum(a not in (None, b) for a, b in zip(turned, captions, strict=True))
        back = sum(_cycle(caption, name) == caption for caption in captions)
        reasons[name] = Counter(str(refusal(c, turn)) for c, t in zip(captions, turned, strict=True) if t is None)
        lines.append(f"{name:16}{other:12}{turned.count(None):10}{back:11}{spent:8.1f}")
    for name in ("flip_vertical", "rotate90"):
        lines += ["", f"left out by {name}:"]
        lines += [f"{count:6}  {reason}" for reason, count in reasons[name].most_common()]
    keep("\n".join(lines), "directions")


def _cycle(caption: str, name: str) -> str | None:
    """``caption`` after as many turns as undo each other, or ``None``."""
    at, done = rewrite(caption, TURNS[name]), TURNS[name]
    while at is not None and done != TURNS["identity"]:
        at, done = rewrite(at, TURNS[name]), then(done, TURNS[name])
    return at


if __name__ == "__main__":
    main()
