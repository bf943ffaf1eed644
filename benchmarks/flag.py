"""The flag: how many sentences the parser and a list of exact strings take for the opposite of what they say.

``python -m benchmarks.flag``: over the captions of LEVIR-CC, in ``$CHANGECAP_SHARED`` (default ``../shared``), and over
made-up paraphrases (``tests/golden/flag``). The parser's tables were tuned on every other line of these, the rest was
held out: the first 174 lines of each list were written before the tables, the last 86 to be harder. All have the author
of the tables; what other people write may be misread more often. LEVIR-CC's truth is its five fixed sentences, so there
exact strings cannot fail.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.report import keep
from changecap.language.no_change import NO_CHANGE, says_no_change

SHARED = Path(os.environ.get("CHANGECAP_SHARED", "../shared"))
PARAPHRASES = Path(__file__).parents[1] / "tests" / "golden" / "flag"
HARDER = 174  # the line from which on they are

Labelled = list[tuple[str, bool]]  # a sentence, and whether it says no change


def exact(sentence: str) -> bool:
    """Whether ``sentence`` is, blanks apart, one of the data sets' own."""
    return " ".join(sentence.split()) in NO_CHANGE


def levir_cc() -> Labelled:
    """Every caption, with the truth of its pair: no change iff all five are no-change sentences."""
    pairs = json.loads((SHARED / "captions" / "levir_cc.json").read_text("utf-8"))["captions"].values()
    return [(caption, all(map(exact, captions))) for captions in pairs for caption in captions]


def paraphrases(first: int, last: int | None = None) -> Labelled:
    """Every other line of both lists, from ``first`` to before ``last``."""
    lists = (("no_change", True), ("change", False))
    return [
        (line, silent)
        for name, silent in lists
        for line in (PARAPHRASES / f"{name}.txt").read_text("utf-8").splitlines()[first:last:2]
    ]


def mistakes(flag: Callable[[str], bool], sentences: Labelled) -> Labelled:
    """The sentences that ``flag`` reads wrongly."""
    return [(sentence, silent) for sentence, silent in sentences if flag(sentence) != silent]


def cost(sentences: Iterable[str]) -> tuple[float, float]:
    """Microseconds of this process's own time for a sentence, the first time and when it is known."""
    several = list(sentences)
    says_no_change.cache_clear()
    took = []
    for _ in range(2):
        start = time.process_time()
        for sentence in several:
            says_no_change(sentence)
        took.append((time.process_time() - start) / len(several) * 1e6)
    return took[0], took[1]


def main() -> None:
    """Print the mistakes of both, the parser's sentence by sentence, and what it takes."""
    captions = levir_cc()
    sets = {
        "LEVIR-CC captions": captions,
        "paraphrases tuned on": paraphrases(0, HARDER),
        "paraphrases held out": paraphrases(1, HARDER),
        "harder, tuned on": paraphrases(HARDER),
        "harder, held out": paraphrases(HARDER + 1),
    }
    lines = [f"{'':24}{'sentences':>10}{'no change':>10}{'wrong: exact':>15}{'parser':>8}"]
    wrong = []
    for name, sentences in sets.items():
        own = mistakes(says_no_change, sentences)
        silent = sum(silent for _, silent in sentences)
        lines.append(f"{name:24}{len(sentences):10}{silent:10}{len(mistakes(exact, sentences)):15}{len(own):8}")
        wrong += [f"  {name}: {sentence!r}, which says {'no ' * silent}change" for sentence, silent in own]
    first, known = cost({caption for caption, _ in captions})
    lines += ["", "misread by the parser:", *(wrong or ["  none"])]
    lines += ["", f"CPU time for a distinct caption of LEVIR-CC: {first:.0f} us the first time, {known:.2f} us again"]
    keep("\n".join(lines), "flag")


if __name__ == "__main__":
    main()
