import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from changecap.data import load
from changecap.errors import DataError
from changecap.evaluation.evaluate import evaluate
from changecap.landcover import to_rgb
from changecap.metrics import score, score_files
from changecap.reports.card_text import print_card

SAME = ["there is no difference", "the two scenes seem identical", "the scene is the same as before"]
BUILT = ["a building is built on the bare land", "a structure appears in the empty space"]
FACTS = [{"from": "ground", "to": "building", "count": 1, "place": "top left"}]


class Caption(NamedTuple):
    text: str
    score: float = -1.5


class Fake:
    """Says what it is told, by the brightness of `a`'s first pixel, and keeps what it saw."""

    def __init__(self, sentences, inputs="both"):
        self.sentences, self.inputs, self.seen = sentences, inputs, []

    def caption(self, pair, beams=1, decode=None, generator=None):
        self.seen.append((pair, beams))
        return [Caption(self.sentences[int(a[0, 0, 0])]) for a in pair.a]


@pytest.fixture
def root(tmp_path):
    """Test pairs 0 and 1 changed, 2, 3 and 4 did not; the training split is alike. `a` of pair i is of colour i."""
    entries = []
    for split in ("train", "test"):
        for i in range(5):
            labels = np.zeros((2, 18, 24), dtype=np.uint8)
            labels[:, 2:9, 3:9] = [[[2]], [[5]]] if i < 2 else 0
            for date, classes in zip("AB", labels, strict=True):
                image = np.full((18, 24, 3), i, dtype=np.uint8) + classes[..., None] * 20
                for kind, pixels in (("rgb", image), ("sem", to_rgb(classes))):
                    (tmp_path / split / kind / date).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(tmp_path / split / kind / date / f"{split}{i}.png")
            made = [{"raw": s, "tokens": s.split()} for s in (BUILT if i < 2 else SAME)]
            facts = FACTS if i < 2 else []
            entry = {"split": split, "filename": f"{split}{i}.png", "changeflag": int(i < 2), "sentences": made}
            entries.append(entry | {"facts": facts})
    (tmp_path / "SECOND-CC-AUG.json").write_text(json.dumps({"dataset": "made up", "images": entries}))
    return tmp_path


@pytest.fixture
def sets(root):
    return [load("second_cc", root, split, size=16) for split in ("test", "train")]


SAID = [BUILT[0], SAME[2], SAME[0], SAME[1], "a house appears"]


def run(captioner, sets, out, **options):
    return evaluate(captioner, *sets, out, **{"progress": False, "batch": 2, **options})


def row(card, name):
    return next(row for row in card["rows"] if row["name"] == name)


def test_the_card_holds_the_scores_of_the_sentences_that_were_said(sets, tmp_path):
    card = run(Fake(SAID), sets, tmp_path / "out")
    examples = sets[0].examples
    expected = score({e.id: e.captions for e in examples}, {e.id: said for e, said in zip(examples, SAID, strict=True)})
    model = row(card, "model")
    assert {name: model[name] for name in expected["corpus"]} == expected["corpus"]
    assert {name: model[name] for name in expected["subsets"]} == expected["subsets"]


def test_a_flag_is_right_iff_a_no_change_sentence_meets_a_no_change_pair(sets, tmp_path):
    flag = row(run(Fake(SAID), sets, tmp_path / "out"), "model")["flag"]
    rates = {"false_alarm": 1 / 3, "miss": 1 / 2, "balanced_accuracy": 7 / 12}
    assert flag == pytest.approx({"accuracy": 3 / 5, "change": 1 / 2, "no_change": 2 / 3, **rates})


def test_the_baselines_stand_beside_the_model(sets, tmp_path):
    card = run(Fake(SAID), sets, tmp_path / "out")
    assert [row["name"] for row in card["rows"]] == ["model", "constant", "template", "nearest_rgb", "nearest_maps"]
    flag = row(card, "constant")["flag"]
    assert {name: flag[name] for name in ("accuracy", "change", "no_change")} == {
        "accuracy": 3 / 5,
        "change": 0,
        "no_change": 1,
    }
    assert row(card, "template")["flag"]["accuracy"] == 1


def test_files_hold_what_was_said_and_score_the_same_again(sets, tmp_path):
    out = tmp_path / "new" / "out"
    card = run(Fake(SAID), sets, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "card.json",
        "hypotheses.json",
        "references.json",
        "report.html",
    ]
    assert json.loads((out / "card.json").read_text("utf-8")) == card
    again = score_files(out / "references.json", out / "hypotheses.json")
    assert again["corpus"]["CIDEr"] == row(card, "model")["CIDEr"]


def test_the_last_batch_may_be_smaller_and_beams_are_handed_on(sets, tmp_path):
    captioner = Fake(SAID)
    run(captioner, sets, tmp_path / "out", beams=3)
    assert [len(pair.a) for pair, _ in captioner.seen] == [2, 2, 1]
    assert {beams for _, beams in captioner.seen} == {3}


def test_a_model_for_rgb_sees_no_map_and_its_tables_say_so(sets, tmp_path):
    captioner = Fake(SAID, inputs="rgb")
    card = run(captioner, sets, tmp_path / "out")
    assert all(pair.sem_a is None and pair.sem_b is None for pair, _ in captioner.seen)
    assert card["inputs"] == row(card, "model")["inputs"] == "rgb"
    assert "nearest_maps" not in [row["name"] for row in card["rows"]]
    assert not any("give the flag away" in note for note in card["notes"])


@pytest.mark.parametrize(
    ("inputs", "maps_are", "said", "warned"),
    [
        ("both", "true", "rgb + maps (true maps)", True),
        ("maps", "true", "maps (true maps)", True),
        ("both", "predicted", "rgb + maps (predicted maps)", False),
    ],
)
def test_every_table_says_what_went_in(sets, tmp_path, inputs, maps_are, said, warned):
    card = run(Fake(SAID, inputs), sets, tmp_path / "out", maps_are=maps_are)
    text, page = print_card(card), (tmp_path / "out" / "report.html").read_text("utf-8")
    assert said in text
    assert said in page
    assert ("give the flag away" in text.replace("\n", " ")) == warned


def test_facts_are_scored_where_the_data_set_states_them(sets, tmp_path):
    facts = row(run(Fake(SAID), sets, tmp_path / "out"), "model")["facts"]
    assert set(facts) == {"facts", "roles", "place", "count"}
    assert 0 < facts["roles"] < 1  # one of the two buildings was seen
    for part in sets:
        part.examples[:] = [replace(example, facts=None) for example in part.examples]
    card = run(Fake(SAID), sets, tmp_path / "out")
    assert row(card, "model")["facts"] is None
    classes = row(card, "model")["classes"]  # by the maps now: two houses on bare land, one said, one made up
    assert (classes["precision"], classes["recall"], classes["support"]) == (2 / 3, 2 / 4, 4)
    assert "facts right" not in print_card(card)


def test_a_limit_leaves_the_first_pairs_and_an_empty_half_is_null(sets, tmp_path):
    card = run(Fake(SAID), sets, tmp_path / "out", limit=2)
    assert (card["pairs"], card["changed"]) == (2, 2)
    model = row(card, "model")
    assert (model["no_change"], model["flag"]["no_change"]) == (None, None)
    assert len(json.loads((tmp_path / "out" / "hypotheses.json").read_text("utf-8"))) == 2
    assert print_card(card).splitlines()[5].split()[1:4] == ["-", "0.500", "-"]


def test_without_baselines_or_report_neither_is_made(sets, tmp_path):
    card = evaluate(Fake(SAID), sets[0], None, tmp_path / "out", baselines=False, report=False, progress=False)
    assert [row["name"] for row in card["rows"]] == ["model"]
    assert not (tmp_path / "out" / "report.html").exists()


def test_the_printed_card_fits_a_terminal(sets, tmp_path):
    lines = print_card(run(Fake(SAID), sets, tmp_path / "out")).splitlines()
    assert max(map(len, lines)) <= 100
    names = ["model", "constant", "flag + template", "nearest by rgb", "nearest by maps"]
    rows = [line[:16].strip() for line in lines if line[:16].strip() in names]
    assert rows == [*names, "model", *names * 2, "model"]  # three tables; metrics and classes of the model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: replace(e, sem_a=None), "takes maps .*'test1.png' of the split 'test' was read without"),
        (lambda e: replace(e, captions=()), "no caption for 'test1.png'"),
    ],
)
def test_a_pair_that_cannot_be_evaluated_is_named_before_anything_is_captioned(sets, tmp_path, change, message):
    sets[0].examples[1] = change(sets[0].examples[1])
    captioner = Fake(SAID)
    with pytest.raises(DataError, match=message):
        run(captioner, sets, tmp_path / "out")
    assert not captioner.seen
    assert not (tmp_path / "out").exists()


def test_wrong_arguments_say_what_they_are(sets, tmp_path):
    with pytest.raises(ValueError, match="batch=0"):
        run(Fake(SAID), sets, tmp_path, batch=0)
    with pytest.raises(ValueError, match="limit=0"):
        run(Fake(SAID), sets, tmp_path, limit=0)
    with pytest.raises(ValueError, match="baselines need the training pairs"):
        run(Fake(SAID), [sets[0], None], tmp_path)
    sets[0].examples.clear()
    with pytest.raises(DataError, match="no pair in the split 'test'"):
        run(Fake(SAID), sets, tmp_path)
