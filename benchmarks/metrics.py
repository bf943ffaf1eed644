"""CPU seconds and peak memory of every metric, at 1, 10 and 50 times LEVIR-CC's test split, beside pycocoevalcap's.

``python -m benchmarks.metrics [TIMES ...]``: 1,929 pairs with five references each, from ``captions/levir_cc.json`` in
``$CHANGECAP_SHARED`` (default ``../shared``); each pair is given another pair's caption, in every copy of the corpus
another one. Each measurement is a process of its own, and takes the best of the rounds. pycocoevalcap is the plain
baseline where it is installed: its scorers in Python, for METEOR its Java tool, whose seconds count too.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CAPTIONS = Path(os.environ.get("CHANGECAP_SHARED", "../shared")) / "captions" / "levir_cc.json"
TIMES = (1, 10, 50)
ROUNDS = {1: 3, 10: 2}  # else 1
GOALS = {"BLEU + ROUGE-L + CIDEr-D": 0.5, "METEOR": 4.0}  # CPU seconds at 1,929 pairs
STEP = 97  # pairs between one and that whose caption it is given, in the first copy

References, Hypotheses = list[list[str]], list[str]


def corpus(times: int) -> tuple[References, Hypotheses]:
    """The test split ``times`` over, sentences new objects in each."""
    captions = json.loads(CAPTIONS.read_text("utf-8"))["captions"]
    test = [sentences for i, sentences in captions.items() if i.startswith("test_")]
    whole = [
        (several, test[(n + STEP * (copy + 1)) % len(test)][0])
        for copy in range(times)
        for n, several in enumerate(test)
    ]
    fresh = json.loads(json.dumps(whole))
    return [several for several, _ in fresh], [said for _, said in fresh]


def ours(name: str) -> Callable[[References, Hypotheses], object]:
    """Our way to the metric; what is read from disk once is read before."""
    from changecap.metrics import bleu, cider, ngrams, rouge

    if name.startswith("METEOR"):
        from changecap.metrics import meteor, nltk_meteor

        if name == "METEOR of nltk":
            nltk_meteor.scores([["a"]], ["a"])  # WordNet is read before
            return nltk_meteor.scores
        tables = meteor.load_tables() if name == "METEOR" else None
        return lambda references, hypotheses: meteor.statistics(references, hypotheses, tables)

    def together(references: References, hypotheses: Hypotheses) -> object:
        o = ngrams.overlap(references, hypotheses)
        return bleu.statistics(o), rouge.rouges(references, hypotheses), cider.cider(o, cider.idf(o))

    def counted(score: Callable[[ngrams.Overlap], object]) -> Callable[[References, Hypotheses], object]:
        return lambda references, hypotheses: score(ngrams.overlap(references, hypotheses))

    return {
        "BLEU": counted(bleu.statistics),
        "ROUGE-L": rouge.rouges,
        "CIDEr-D": counted(lambda o: cider.cider(o, cider.idf(o))),
        "CIDEr": counted(lambda o: cider.plain(o, cider.idf(o))),
        "BLEU + ROUGE-L + CIDEr-D": together,
    }[name]


def theirs(name: str) -> Callable[[References, Hypotheses], object]:
    """The plain baseline's way to the metric."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    made = {"BLEU": lambda: Bleu(4), "ROUGE-L": Rouge, "CIDEr-D": Cider, "METEOR": Meteor}
    names = name.split(" + ")

    def score(references: References, hypotheses: Hypotheses) -> object:
        gts, res = dict(enumerate(references)), {i: [said] for i, said in enumerate(hypotheses)}
        return [made[part]().compute_score(gts, res) for part in names]

    return score


def one(side: str, name: str, times: int) -> None:
    """Measure, in this process; prints CPU seconds, those of its children too, and its peak of memory, in MB."""
    references, hypotheses = corpus(times)
    score = {"ours": ours, "theirs": theirs}[side](name)
    best = float("inf")
    for _ in range(1 if name == "METEOR of nltk" else ROUNDS.get(times, 1)):  # it remembers what it has scored
        start = seconds()
        score(references, hypotheses)
        best = min(best, seconds() - start)
    status = Path("/proc/self/status").read_text()  # not getrusage: its peak begins with that of the parent
    java = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps([best, max(int(status.split("VmHWM:")[1].split()[0]) / 1024, java)]))


def seconds() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measured(side: str, name: str, times: int) -> tuple[float, float] | str:
    """CPU seconds and MB of a process of its own, or the last line of why there are none."""
    command = [sys.executable, "-m", "benchmarks.metrics", "one", side, name, str(times)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    took, memory = json.loads(done.stdout.strip().splitlines()[-1])
    return took, memory


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["one"]:
        return one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    from benchmarks.report import keep  # brings torch, whose 400 MB are not the metrics'

    plain = importlib.util.find_spec("pycocoevalcap") is not None
    names = ["BLEU", "ROUGE-L", "CIDEr-D", "BLEU + ROUGE-L + CIDEr-D", "CIDEr", "METEOR", "METEOR, exact + stem"]
    lines = [
        "CPU seconds and peak memory of the process, the captions of the corpus in it",
        f"{'':26}{'pairs':>8}{'CPU s':>9}{'growth':>8}{'MB':>7}{'theirs: s':>11}{'growth':>8}{'MB':>7}{'ratio':>8}",
    ]
    for name in [*names, "METEOR of nltk"]:
        baseline = plain and all(part in ("BLEU", "ROUGE-L", "CIDEr-D", "METEOR") for part in name.split(" + "))
        first: dict[str, float] = {}
        for times in [int(size) for size in sys.argv[1:]] or TIMES:
            cells, took = "", {}
            for side in ("ours", "theirs") if baseline else ("ours",):
                if side == "theirs" and times > (1 if name == "METEOR" else 10):
                    continue  # minutes, in which it shows nothing new
                found = measured(side, name, times)
                if isinstance(found, str):
                    cells += f"  {found}"
                    continue
                took[side], memory = found
                first.setdefault(side, took[side])
                width = 9 if side == "ours" else 11
                cells += f"{took[side]:{width}.3f}{took[side] / first[side]:7.1f}x{memory:7.0f}"
            if len(took) == 2:
                cells += f"{took['theirs'] / took['ours']:7.1f}x"
            if times == 1 and name in GOALS and "ours" in took:
                cells += f"  goal {GOALS[name]} s: {'met' if took['ours'] < GOALS[name] else 'missed'}"
            lines.append(f"{name:26}{1929 * times:8}" + cells)
            print(lines[-1], file=sys.stderr)
    if not plain:
        lines.append("pycocoevalcap is not installed here, so nothing stands beside")
    keep("\n".join(lines), "metrics")
    return None


if __name__ == "__main__":
    main()
