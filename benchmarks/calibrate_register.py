"""The weights of what a registration says of itself: ``python -m benchmarks.calibrate_register TOOLS PAIRS BASE``.

TOOLS is the folder of the registration benchmark (``bench_registration.py``), PAIRS a folder of real pairs A, B, label,
BASE their known offsets. Prints the weights for ``preprocess.registration.calibration.py``; the expected calibration
error of the confidence where each pair is judged by weights fitted on the others; and what is let pass so.
"""

import argparse
import importlib
import json
import sys

import numpy as np
import torch

from preprocess.registration import motion
from preprocess.registration.calibration import TOLERANCE, features
from preprocess.registration.estimation import estimate

UNRELATED = "unrelated"  # the dates of two different pairs: whatever is found is wrong, and must be refused
LEVELS, DEGRADATIONS, MODES = ("id", "t24", "aff", "h16"), ("clean", "full"), ("comp", "real")
BATCH = 16  # cases
RIDGE = 3.0  # of the weights, in cases: what a dozen pairs agree on is to count, not what sets one of them apart


def cases(tools: str, pairs: str, base: str, seed: str, reps: int) -> list[dict]:
    """Simulated motions of the pairs, with their truth."""
    sys.path.insert(0, tools)
    bench = importlib.import_module("bench_registration")
    with open(base) as file:
        offsets = json.load(file)
    made = []
    for mode in MODES:
        for name, a, b, label in bench.load_pairs(pairs):
            if (label is None or not (label > 127).any()) if mode == "comp" else name not in offsets:
                continue
            for degradation in DEGRADATIONS:
                for level in LEVELS:
                    for rep in range(reps):
                        key = (
                            name,
                            level,
                            degradation,
                            mode,
                            24,
                            f"{seed}.{rep}",
                            np.array(offsets.get(name, np.eye(3))),
                        )
                        before, after, truth = bench.make_case(a, b, *key, label)
                        made.append(
                            {"pair": name, "mode": mode, "level": level, "images": (before, after), "truth": truth}
                        )
    return made + unrelated(made)


def unrelated(made: list[dict]) -> list[dict]:
    """A third as many cases: the first date of one pair with the second of another, turned by half, or with noise."""
    wrong, noise = [], np.random.default_rng(0)
    for i, case in enumerate(made[::3]):
        others = [c for c in made if c["pair"] != case["pair"]]
        before, after = case["images"][0], others[(7 * i) % len(others)]["images"][1]
        if i % 6 in (2, 4):
            after = np.ascontiguousarray(case["images"][1][::-1, ::-1])
        if i % 6 == 0:
            after = noise.integers(0, 256, after.shape, dtype=np.uint8)
        wrong.append({**case, "mode": UNRELATED, "images": (before, after), "truth": np.full((3, 3), np.nan)})
    return wrong


def evidence(made: list[dict], profile: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Evidence ``(N, E)`` of the motions found for cases, their corner errors and those of the identity, in pixels."""
    columns = []
    for start in range(0, len(made), BATCH):
        batch = made[start : start + BATCH]
        dates = (np.stack([case["images"][i] for case in batch]) for i in (0, 1))
        grey = torch.cat([torch.from_numpy(x).float().mean(-1) / 255 for x in dates])
        size = (grey.shape[-2], grey.shape[-1])
        found = estimate(grey, torch.ones_like(grey), "auto", profile)
        truth = motion.to_centred(torch.from_numpy(np.stack([case["truth"] for case in batch])).float(), size)
        still = motion.identity(len(batch), grey)
        columns.append([found.evidence, *(motion.corner_distance(m, truth, size) for m in (found.motion, still))])
    raw, error, identity = (torch.cat(x) for x in zip(*columns, strict=True))
    return raw, error, identity


def fit(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Weights ``(F,)`` of a logistic regression of ``y`` ``(N,)`` on ``x`` ``(N, F)``, by Newton's method."""
    x, y = x.double(), y.double()
    w = x.new_zeros(x.shape[1])
    ridge = RIDGE * torch.eye(len(w), dtype=x.dtype)
    for _ in range(50):
        p = (x @ w).sigmoid()
        w = w + torch.linalg.solve(x.mT @ (x * (p * (1 - p))[:, None]) + ridge, x.mT @ (y - p) - ridge @ w)
    return w


def by_others(x: torch.Tensor, y: torch.Tensor, names: list[str]) -> torch.Tensor:
    """The probabilities ``(N,)`` of cases, those of each pair by weights that are fitted on the other pairs."""
    p = torch.zeros(len(y), dtype=torch.double)
    for name in sorted(set(names)):
        test = torch.tensor([n == name for n in names])
        p[test] = (x[test].double() @ fit(x[~test], y[~test])).sigmoid()
    return p


def calibration_error(p: torch.Tensor, y: torch.Tensor) -> float:
    """Expected calibration error in ten equal bins."""
    bins = (p * 10).long().clamp_max(9)
    gaps = [
        (bins == k).double().mean() * (p[bins == k].mean() - y[bins == k].double().mean()).abs() for k in bins.unique()
    ]
    return float(sum(gaps))


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools")
    parser.add_argument("pairs")
    parser.add_argument("base")
    parser.add_argument("--seeds", default="calibration")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--profile", default="accurate")
    parser.add_argument("--keep", help="file for evidence and errors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = []
    for seed in options.seeds.split(","):
        made += cases(options.tools, options.pairs, options.base, seed, options.reps)
    raw, error, identity = evidence(made, options.profile)
    if options.keep:
        labels = [(c["pair"], c["mode"], c["level"]) for c in made]
        torch.save({"evidence": raw, "error": error, "identity": identity, "labels": labels}, options.keep)
    x = features(raw)
    wanted = {"confidence": error <= TOLERANCE, "use": error <= identity.clamp_min(TOLERANCE)}
    names = [case["pair"] for case in made]
    print(f"{len(made)} cases of {len(set(names))} pairs, {options.profile}")
    left_out = {}
    for what, y in wanted.items():
        print(f"weights of the {what}:", tuple(round(w, 3) for w in fit(x, y).tolist()))
        left_out[what] = by_others(x, y, names)
    related = torch.tensor([case["mode"] != UNRELATED for case in made])
    error_of_both = calibration_error(left_out["confidence"][related], wanted["confidence"][related])
    print(f"calibration error of the confidence, each pair by the others' weights: {error_of_both:.3f}")
    harm = ~(error <= identity + 0.5)  # unrelated dates have no truth: any motion harms
    for mode in (*MODES, UNRELATED):
        of = torch.tensor([c["mode"] == mode and c["level"] != "id" for c in made])
        for threshold in (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
            used = left_out["use"] >= threshold
            right = (torch.where(used, error, identity) <= 5)[of].double().mean()
            print(
                f"{mode} from {threshold}: used {used[of].double().mean():.1%}, @5 {right:.1%}, "
                f"harm {(used & harm)[of].double().mean():.1%}"
            )


if __name__ == "__main__":
    main()
