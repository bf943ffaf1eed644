import json

import numpy as np
import pytest

from changecap.cli.entry import main
from changecap.errors import DataError
from changecap.evaluation.baselines import Baseline, blind
from changecap.evaluation.card import card
from changecap.evaluation.files import card_of_files
from changecap.evaluation.measurements import measure_all
from changecap.language.facts import Fact
from changecap.language.no_change import canonical, says_no_change
from changecap.metrics import score
from changecap.reports.card_text import print_card

SAME = ["there is no difference", "the two scenes seem identical", "the scene is the same as before"]
REFERENCES = {
    "c1": ["a house is built on the bare land", "a building appears"],
    "c2": ["some trees are removed", "the trees are gone from the meadow"],
    "c3": ["a road is built", "a road crosses the meadow"],
    "n1": SAME,
    "n2": SAME,
}
SAID = {
    "c1": "a house is built on the meadow",
    "c2": SAME[0],  # missed
    "c3": "a road is built",
    "n1": SAME[1],
    "n2": "a road is built",  # false alarm
}
CHANGED = {i: i[0] == "c" for i in REFERENCES}
METRICS = ("Bleu_1", "Bleu_4", "ROUGE_L", "CIDEr", "CIDEr_plain")


def made(said=SAID, references=REFERENCES, changed=CHANGED, **options):
    baselines = blind(changed, [references[i] for i in references if changed[i]])
    return card(references, {"model": Baseline(said, "rgb"), **baselines}, changed, **options)


def test_the_flag_is_counted_on_each_side_apart():
    flag = made()["rows"][0]["flag"]
    assert flag["false_alarm"] == pytest.approx(1 / 2)
    assert flag["miss"] == pytest.approx(1 / 3)
    assert flag["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert flag["accuracy"] == pytest.approx(3 / 5)


def test_the_flag_is_read_and_not_compared_with_the_fixed_sentences():
    said = SAID | {"n2": "nothing has changed between the two images ."}
    assert made(said)["rows"][0]["flag"]["false_alarm"] == 0


def test_overall_and_subsets_are_what_the_score_says_of_the_same_sentences():
    row, alone = made()["rows"][0], score(REFERENCES, SAID, CHANGED)
    for name in METRICS:
        assert row[name] == pytest.approx(alone["corpus"][name], abs=1e-12)
        for subset in ("change", "no_change"):
            assert row[subset][name] == pytest.approx(alone["subsets"][subset][name], abs=1e-12)
    for subset in ("change", "no_change"):
        assert row[subset]["CIDEr_full_df"] == pytest.approx(alone["subsets"][subset]["CIDEr_full_df"], abs=1e-12)


def test_the_description_takes_document_frequencies_from_all_pairs():
    row = made()["rows"][0]
    assert row["description"]["CIDEr"] == row["change"]["CIDEr_full_df"] != row["change"]["CIDEr"]
    assert row["description"]["Bleu_4"] == row["change"]["Bleu_4"]


def test_every_row_scores_as_if_it_were_alone():
    card = made()
    for row, said in zip(card["rows"], (SAID, *(b.sentences for b in blind(CHANGED, None).values())), strict=False):
        alone = score(REFERENCES, said, CHANGED)
        assert {name: row[name] for name in METRICS} == pytest.approx({n: alone["corpus"][n] for n in METRICS})


def test_the_form_of_no_change_does_not_matter_to_the_canonical_score():
    others = {i: SAME[2] if says_no_change(said) else said for i, said in SAID.items()}
    one, other = (made(said)["rows"][0] for said in (SAID, others))
    assert one["canonical"] == other["canonical"]
    assert one["Bleu_4"] != other["Bleu_4"]
    alone = score(REFERENCES, {i: canonical(said) for i, said in SAID.items()}, CHANGED)["corpus"]
    assert {name: one["canonical"][name] for name in METRICS} == pytest.approx({name: alone[name] for name in METRICS})


def test_each_figure_lies_in_its_interval():
    row = made()["rows"][0]
    for part in ("flag", "description", "overall", "canonical"):
        for name, (low, high) in row["intervals"][part].items():
            value = (row if part == "overall" else row[part])[name]
            assert low - 1e-12 <= value <= high + 1e-12, (part, name)
    assert row["intervals"]["description"]["ROUGE_L"][0] < row["intervals"]["description"]["ROUGE_L"][1]


def test_a_baseline_is_tested_against_the_model_and_the_model_against_nobody():
    model, constant, _ = made()["rows"]
    assert model["p"] == {}
    assert constant["p"]["overall"].keys() == constant["intervals"]["overall"].keys()
    assert all(0 < p <= 1 for part in constant["p"].values() for p in part.values())
    echo = card(REFERENCES, {name: Baseline(SAID, "rgb") for name in ("model", "echo")}, CHANGED)["rows"][1]
    assert {p for part in echo["p"].values() for p in part.values()} == {1.0}


def test_the_card_is_json_and_the_same_each_time():
    assert json.loads(json.dumps(made(), allow_nan=False)) == made()


@pytest.mark.parametrize(("kind", "absent", "there"), [("c", "false_alarm", "miss"), ("n", "miss", "false_alarm")])
def test_a_set_of_one_kind_of_pairs_has_no_figure_of_the_other(kind, absent, there):
    some = {i: REFERENCES[i] for i in REFERENCES if i[0] == kind}
    rows = {"model": Baseline({i: SAID[i] for i in some}, "rgb")}
    row = card(some, rows, {i: CHANGED[i] for i in some})["rows"][0]
    assert (row["flag"][absent], row["flag"]["balanced_accuracy"]) == (None, None)
    assert row["flag"][there] is not None
    assert (row["description"] is None) == (kind == "n")
    assert "-" in print_card(card(some, rows, {i: CHANGED[i] for i in some}))


def test_a_system_that_says_nothing_of_a_pair_is_named():
    with pytest.raises(DataError, match="model must say one sentence of each of 5 pairs, got 4"):
        card(REFERENCES, {"model": Baseline({i: SAID[i] for i in list(SAID)[1:]}, "rgb")}, CHANGED)


def test_per_pair_says_of_each_pair_what_is_known():
    card = made()
    assert list(card["per_pair"]) == list(REFERENCES)
    alone = score(REFERENCES, SAID, CHANGED)["per_pair"]
    for i, pair in card["per_pair"].items():
        assert (pair["changed"], pair["claimed"]) == (CHANGED[i], i in ("c1", "c3", "n2"))
        assert {name: pair[name] for name in METRICS} == pytest.approx({name: alone[i][name] for name in METRICS})


def test_multiplicities_count_pairs_as_often_as_if_they_stood_there():
    times = np.array([2, 1, 0, 3, 1])
    system = measure_all(REFERENCES, {"x": SAID}, CHANGED)["x"]
    repeated = [i for i, n in zip(REFERENCES, times, strict=True) for _ in range(n)]
    flags = [(CHANGED[i], i in ("c1", "c3", "n2")) for i in repeated]
    misses = [not claimed for changed, claimed in flags if changed]
    totals = system.totals(times.astype(float))
    assert totals["flag", "miss"] == pytest.approx(np.mean(misses))
    rouge = score(REFERENCES, SAID, CHANGED)["per_pair"]
    assert totals["overall", "ROUGE_L"] == pytest.approx(np.mean([rouge[i]["ROUGE_L"] for i in repeated]))


CHANGES = {"c1": [("ground", "building")], "c2": [("tree", "ground")], "c3": [], "n1": [], "n2": []}


def test_a_fluent_falsehood_costs_precision_and_silence_costs_recall():
    true = {"c1": "bare land is replaced with a house", "c2": "trees are replaced with bare land"}
    said = dict.fromkeys(REFERENCES, SAME[0]) | true
    swapped = said | {"c1": "a house is replaced with bare land"}
    silent = said | {"c1": SAME[0]}
    for sentences, precision, recall in ((said, 1, 1), (swapped, 1 / 2, 1 / 2), (silent, 1, 1 / 2)):
        row = made(sentences, changes=CHANGES)["rows"][0]
        assert (row["classes"]["precision"], row["classes"]["recall"]) == (precision, recall)
        low, high = row["intervals"]["classes"]["recall"]
        assert low <= recall <= high
    constant = made(said, changes=CHANGES)["rows"][1]
    assert (constant["classes"]["precision"], constant["classes"]["recall"]) == (None, 0)
    assert constant["intervals"]["classes"]["precision"] is None


def test_facts_say_which_class_became_which():
    facts = {i: [Fact(a, b, 1, "top") for a, b in several] for i, several in CHANGES.items()}
    card = made(facts=facts)
    assert card["rows"][0]["classes"] == made(changes=CHANGES)["rows"][0]["classes"]
    assert set(card["rows"][0]["facts"]) == {"facts", "roles", "place", "count"}
    assert card["per_pair"]["c1"]["changes"] == [["ground", "building"]]
    text = print_card(card)
    assert "changes named" in text
    assert "low vegetation" in text
    assert max(map(len, text.splitlines())) <= 100


def test_without_facts_and_maps_no_class_is_scored():
    card = made()
    assert card["rows"][0]["classes"] is card["rows"][0]["facts"] is None
    assert "changes" not in card["per_pair"]["c1"]
    assert "changes named" not in print_card(card)


@pytest.fixture
def files(tmp_path):
    def write(name, value):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(value), "utf-8")
        return path

    training = {f"t{i}": sentences for i, sentences in enumerate(REFERENCES.values())}
    return {
        "references": write("references", REFERENCES),
        "hypotheses": write("hypotheses", SAID),
        "training": write("training", training),
    }


def test_two_files_are_enough_for_a_card(files):
    card = card_of_files(files["references"], files["hypotheses"])
    assert [row["name"] for row in card["rows"]] == ["model", "constant"]
    assert card["rows"][0]["flag"] == made()["rows"][0]["flag"]
    assert (card["pairs"], card["changed"]) == (5, 3)


def test_training_captions_add_the_template_and_what_was_repeated(files):
    card = card_of_files(**files)
    assert [row["name"] for row in card["rows"]] == ["model", "constant", "template"]
    assert card["rows"][2]["flag"]["balanced_accuracy"] == 1
    assert "1.000" in print_card(card)


def test_an_id_that_stands_twice_in_a_file_of_the_card_is_refused(files):
    files["training"].write_text('{"t": ["a house"], "t": ["a road"]}')
    with pytest.raises(DataError, match=r"training\.json: the id 't' stands there twice"):
        card_of_files(**files)


def test_a_pair_that_nobody_says_anything_of_is_named(files, tmp_path):
    files["references"].write_text(json.dumps(REFERENCES | {"z": []}))
    with pytest.raises(DataError, match="for 1 there are neither references nor a flag: 'z'"):
        card_of_files(files["references"], files["hypotheses"])
    (tmp_path / "changed.json").write_text(json.dumps(CHANGED | {"z": True}))
    card = card_of_files(files["references"], files["hypotheses"], tmp_path / "changed.json")
    assert card["changed"] == 4
    assert any("'z'" in note for note in card["notes"])


def test_the_command_line_prints_the_card_and_writes_it_with_its_page(files, tmp_path, capsys):
    out = tmp_path / "out" / "scores.json"
    arguments = ["score", *(f"{key}={path}" for key, path in files.items()), "card=true"]
    assert main([*arguments, f"out={out}"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("given pairs: 5 pairs, 3 changed\n")
    assert max(map(len, said.split("scores:")[0].splitlines())) <= 100
    stored = json.loads(out.read_text("utf-8"))
    assert stored["corpus"]["CIDEr"] == pytest.approx(stored["card"]["rows"][0]["CIDEr"])
    page = out.with_suffix(".html").read_text("utf-8")
    assert SAID["c1"] in page
    assert "<img" not in page
    assert main([*arguments, "format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["rows"] == stored["card"]["rows"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["training=x"], "training=FILE is for the score card; add card=true"),
        (["card=true", "documents=x"], "leave out documents"),
    ],
)
def test_settings_that_say_nothing_together_are_refused(files, capsys, arguments, said):
    assert main(["score", f"references={files['references']}", f"hypotheses={files['hypotheses']}", *arguments]) == 2
    assert said in capsys.readouterr().err
