"""Small training runs: their data, their settings, and what they end with."""

import json

import numpy as np
import torch
from PIL import Image

from changecap.checkpoints import checkpoint
from changecap.landcover import to_rgb
from changecap.training import loop as training
from changecap.training.loop import train

SIZE = 32
SAME = ["there is no difference", "the two scenes seem identical"]
SPLITS = {"train": 20, "val": 6, "test": 4}


def write_pairs(root):
    """Every second pair gets a building left or right; pairs have from one to five captions."""
    rng, entries = np.random.default_rng(0), []
    for split, count in SPLITS.items():
        for i in range(count):
            labels, changed, left = np.zeros((2, SIZE, SIZE), dtype=np.uint8), i % 2 == 0, i % 4 == 0
            side = slice(2, 14) if left else slice(18, 30)
            if changed:
                labels[0, 8:20, side], labels[1, 8:20, side] = 2, 5
            place = "left" if left else "right"
            said = [f"a building is built on the {place}", f"on the {place} of the scene a large house appears"]
            said = (said if changed else SAME) + ([f"{split} only"] if split != "train" and i == 0 else [])
            for date, classes in zip("AB", labels, strict=True):
                image = rng.integers(60, 90, (SIZE, SIZE, 3), dtype=np.uint8) + classes[..., None] * 20
                for kind, pixels in (("rgb", image), ("sem", to_rgb(classes))):
                    (root / split / kind / date).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(root / split / kind / date / f"{i}.png")
            sentences = [{"raw": s, "tokens": s.split()} for s in (said * 3)[: 1 + i % 5] + said[2:]]
            entries.append({"split": split, "filename": f"{i}.png", "changeflag": int(changed), "sentences": sentences})
    (root / "SECOND-CC-AUG.json").write_text(json.dumps({"images": entries}))
    return root


def describe(root, out, **changes):
    """A configuration of six steps in two epochs, the last batch of each smaller."""
    return {
        "out": str(out),
        "resume": None,
        "seed": 0,
        "device": "cpu",
        "data": {"name": "second_cc", "root": str(root), "size": SIZE, "palette": "strict"},
        "inputs": "both",
        "backbone": {
            "name": "resnet10t",
            "weights": "none",
            "stride": 8,
            "options": {"channels": [8, 12, 16, 20], "stem_width": 8},
        },
        "model": {"name": "mmodalcc", "dim": 16, "heads": 2, "layers": 1, "dropout": 0.1},
        "epochs": 2,
        "steps": None,
        "batch": 8,
        "lr": 3e-3,
        "warmup": 2,
        "clip": 1.0,
        "weight_decay": 0.01,
        "label_smoothing": 0.0,
        "precision": "auto",
        "validate_every": None,
        "patience": 100,
        "score": "CIDEr",
        "preload": True,
        "workers": 1,
        "vocabulary_splits": "train",
        "min_count": 1,
    } | changes


def run(config):
    return train(config, progress=False)


def rows(out, kind="loss"):
    return [row for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if kind in row]


def tensors(value, name=""):
    """Every tensor and number inside ``value`` by its path."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in tensors(part, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return tensors(dict(enumerate(value)), name)
    return {name: value}


def everything(out):
    """All that a run ends with, its history included, but for how fast it was."""
    weights = {name: checkpoint.load(out / name)[0].state_dict() for name in ("best", "last")}
    history = [{k: v for k, v in row.items() if k != "captions_per_s"} for row in rows(out, "step")]
    return tensors({"weights": weights, "training": checkpoint.load_training(out / "last"), "history": history})


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name


def at_step(monkeypatch, step, act):
    """Calls ``act`` when step ``step`` (from 0) begins."""
    real = training._Run._step

    def patched(self, *arguments):
        if self.step == step:
            act()
        return real(self, *arguments)

    monkeypatch.setattr(training._Run, "_step", patched)
