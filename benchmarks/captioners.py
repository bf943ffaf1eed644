"""The captioners of the zoo side by side: same simulated data, same small trunk, same steps, three seeds.

``python -m benchmarks.captioners [MODEL ... | done]``: each on images alone, on maps alone and on both; then in its
default and in its released mode, both as normalised in the papers, on images and maps, one seed. Runs go to
``runs/benchmark``; ``done`` trains nothing and tells of those that are there.
"""

import statistics
import sys
from collections.abc import Sequence

import changecap
import zoo
from benchmarks.demo import SEEDS, card, figures, run_all
from benchmarks.report import keep

STEPS = ("steps=800", "validate_every=800", "lr=1.5e-3", "unchanged=1.0")
TRUNK = ("backbone.options={channels: [24, 48, 96, 192], stem_width: 12, stem_type: deep_tiered}",)
# beside experiment=demo, which is made for MModalCC; so that all decoders are 128 wide
SETTINGS = {
    "chg2cap": ("model.dim=128", "model.attention_dim=48", "model.hidden_dim=192"),
    "mmodalcc": (),
    "psnet": ("model.layers=3",),
    "rsiccformer": (),
}
INPUTS = ("rgb", "maps", "both")
MODES = {"default": ("model.pre_norm=false",), "released": ("model.pre_norm=false", "model.released=true")}


def million_parameters(name: str) -> float:
    """Of the captioner that run ``name`` trained."""
    model = changecap.load(f"runs/benchmark/{name}-0").model
    return sum(p.numel() for p in model.parameters()) / 1e6


def _spread(values: Sequence[float]) -> str:
    """Of the seeds; of one there is none."""
    return f"±{statistics.stdev(values):5.3f}" if len(values) > 1 else " " * 6


def main() -> None:
    """Print a row per captioner and kind of input: mean over the seeds, and how far the seeds are from it."""
    only_done = sys.argv[1:] == ["done"]
    models: Sequence[str] = (not only_done and sys.argv[1:]) or zoo.list_models()
    by_inputs = {
        f"{model}-{inputs}": (f"model={model}", f"inputs={inputs}", *STEPS, *TRUNK, *SETTINGS[model])
        for model in models
        for inputs in INPUTS
    }
    by_mode = {
        f"{model}-{mode}": (f"model={model}", "inputs=both", *STEPS, *TRUNK, *SETTINGS[model], *settings)
        for model in models
        for mode, settings in MODES.items()
    }
    quiet = ("baselines=false", "report=false")  # the baselines are in the demo's table
    absent = []
    if only_done:
        for asked, seeds in ((by_inputs, SEEDS), (by_mode, SEEDS[:1])):
            for name in [n for n in asked if not all(card(n, seed).exists() for seed in seeds)]:
                absent.append(name)
                del asked[name]
    done = run_all(by_inputs, quiet) | run_all(by_mode, quiet, SEEDS[:1])
    names = list(figures(next(iter(done.values()))[0][0]["rows"][0]))
    lines = [
        f"experiment=demo, {' '.join(STEPS)}; mean of the seeds ± their standard deviation",
        f"{'':24} {'M params':>9} {'CPU s':>10} " + " ".join(f"{name:>14}" for name in names),
    ]
    for name, runs in done.items():
        rows = [figures(scored["rows"][0]) for scored, _ in runs]
        values = {key: [row[key] for row in rows] for key in names}
        shown = " ".join(f"{statistics.mean(v):7.3f} {_spread(v)}" for v in values.values())
        took = statistics.mean(seconds for _, seconds in runs)
        lines.append(f"{name:24} {million_parameters(name):9.2f} {took:10.0f} {shown}")
    if absent:
        lines.append(f"not trained to the end: {', '.join(absent)}")
    keep("\n".join(lines), "captioners")


if __name__ == "__main__":
    main()
