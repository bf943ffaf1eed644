"""A small data set, small captioners and small grids for the tests of the robustness benchmark."""

import json

import numpy as np
import torch
from PIL import Image

import zoo
from changecap.inference.captioner import Captioner
from changecap.landcover import to_rgb
from changecap.language.vocabulary import Vocabulary
from changecap.robustness import bench

SAME = ["there is no difference", "the scene is the same as before", "no change has occurred"]
BUILT = ["a house appears beside the road", "a building is built beside the road"]
WORDS = Vocabulary.build(SAME + BUILT)
SIZE = 32
GRID = {"corruptions": "gamma,translation", "severities": (3,), "variants": ("none",), "pairs": 4, "clean_pairs": 6}


def folder(root, count=6, maps=False, seed=0):
    """Pairs of 40 x 36 pixels in a plain folder; the first half changed: a bright square appears."""
    rng = np.random.default_rng(seed)
    captions = {}
    for i in range(count):
        a = rng.integers(40, 160, (9, 10, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        b, classes = a.copy(), np.zeros((36, 40), np.uint8)
        if i < count // 2:
            b[8:20, 8 + i : 20 + i], classes[8:20, 8 + i : 20 + i] = 250, 5
        pictures = {"A": a, "B": b} | ({"sem_a": to_rgb(classes // 5 * 2), "sem_b": to_rgb(classes)} if maps else {})
        for name, picture in pictures.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / name / f"{i}.png")
        captions[f"{i}.png"] = BUILT if i < count // 2 else SAME
    (root / "captions.json").write_text(json.dumps(captions))
    return {"name": "folder", "root": root}


def captioner(seed=0, inputs="rgb", name="rsiccformer"):
    """A captioner that was never trained and says different sentences of different pairs."""
    model = {
        "name": name,
        "inputs": inputs,
        "image_size": SIZE,
        "dim": 16,
        "heads": 2,
        "layers": 1,
        "backbone": {"name": "resnet10t", "stride": 8, "options": {"channels": [8, 12, 16, 20], "stem_width": 8}},
    }
    torch.manual_seed(seed)
    built = zoo.create_model(vocab=len(WORDS), **model).eval()
    torch.manual_seed(seed)
    torch.nn.init.normal_(built.words.head.weight, std=4)
    built.words.head.bias.data[Vocabulary.eos] = 6  # short sentences
    return Captioner(built, WORDS, {"size": SIZE, "inputs": inputs, "model": model})


def counted(said=SAME[0]):
    """A callable that always says one sentence and counts the pairs that it was shown."""

    def say(a, b):
        say.pairs += len(a)
        return [said] * len(a)

    say.pairs = 0
    return say


def small(captioners, data, out, **options):
    """A benchmark of a few cells."""
    return bench(captioners, data, out, **{**GRID, "progress": False, **options})


def hypotheses(made):
    """What everyone said in every condition."""
    return {
        (speaker.name, condition): said
        for speaker in made.speakers
        for condition, (_, said) in made.outcomes(speaker).items()
    }
