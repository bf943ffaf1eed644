import json

import pytest
import torch

import changecap
import zoo
from changecap import Captioner
from changecap.checkpoints import checkpoint
from changecap.checkpoints.evaluation_summary import FILE, remember
from changecap.errors import DataError
from changecap.evaluation.baselines import Baseline, blind
from changecap.evaluation.card import card
from changecap.language.vocabulary import Vocabulary

WORDS = Vocabulary.build(["a house is built"])
BACKBONE = {"name": "resnet10t", "stride": 8, "options": {"channels": [8, 12, 16, 20], "stem_width": 8}}
MODEL = {"name": "rsiccformer", "image_size": 32, "dim": 16, "heads": 2, "layers": 1, "backbone": BACKBONE}
CONFIG = {"model": MODEL, "inputs": "rgb", "size": 32}
REFERENCES = {"c": ["a house is built", "a house appears"], "n": ["there is no difference"], "d": ["a road is built"]}
CHANGED = {"c": True, "n": False, "d": True}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint that was evaluated."""
    torch.manual_seed(0)
    model = zoo.create_model(vocab=len(WORDS), **MODEL).eval()
    checkpoint.save(tmp_path / "best", model, WORDS, CONFIG)
    rows = {
        "model": Baseline({"c": "a house is built", "n": "no change has occurred", "d": "a house is built"}, "rgb"),
        **blind(CHANGED, [REFERENCES["c"]]),
    }
    made = card(REFERENCES, rows, CHANGED, head={"split": "test", "beams": 3, "decode": {"length_penalty": 0.5}})
    remember(tmp_path / "best", checkpoint.read_config(tmp_path / "best"), made, "levir_cc")
    return tmp_path / "best"


def test_a_model_card_has_the_test_scores_with_their_intervals(folder, tmp_path):
    changecap.load(folder).save(tmp_path / "saved")
    text = (tmp_path / "saved" / "README.md").read_text("utf-8")
    assert "on the test split of `levir_cc`, 3 pairs, 2 changed; beams: 3, length_penalty: 0.5." in text
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| ")}
    assert list(rows) == ["", "this model (rgb)", "constant (nothing)", "flag + template (true flag)"]
    assert len({len(cells) for cells in rows.values()}) == 1
    figures = dict(zip((cell.strip() for cell in rows[""]), rows["this model (rgb)"], strict=True))
    assert figures["missed"].strip() == "0.000 [0.000, 0.000]"
    assert figures["ROUGE-L, changed pairs"].strip().startswith("0.875 [")
    assert "none recorded" not in text


def test_the_scores_go_with_a_captioner_that_is_saved_and_loaded_again(folder, tmp_path):
    first = changecap.load(folder)
    first.save(tmp_path / "saved")
    again = changecap.load(tmp_path / "saved")
    assert again.config["evaluation"] == first.config["evaluation"]
    assert again.config["evaluation"]["rows"][0]["figures"]["flag"]["miss"]["value"] == 0


def test_scores_of_other_weights_are_not_taken_for_those_of_these(folder):
    model = zoo.create_model(vocab=len(WORDS), **MODEL).eval()
    checkpoint.save(folder, model, WORDS, CONFIG)
    assert (folder / FILE).is_file()
    assert "evaluation" not in changecap.load(folder).config


def test_a_captioner_that_was_never_evaluated_says_so(tmp_path):
    model = zoo.create_model(vocab=len(WORDS), **MODEL).eval()
    Captioner(model, WORDS, CONFIG).save(tmp_path)
    assert "**Scores**: none recorded; `changecap evaluate`" in (tmp_path / "README.md").read_text("utf-8")


def test_a_broken_record_says_what_to_do(folder):
    (folder / FILE).write_text("{")
    with pytest.raises(DataError, match=r"evaluation.json is empty or broken JSON: .*; evaluate the checkpoint once"):
        changecap.load(folder)
    (folder / FILE).write_text(json.dumps([1]))
    assert "evaluation" not in changecap.load(folder).config
