import csv
import io
import json
import re

import pytest

from changecap.cli.entry import main
from changecap.errors import DataError, UsageError
from changecap.evaluation.comparison import compare, paths_of
from changecap.reports.comparison_text import FORMATS, text

SAME = ["there is no difference", "the two scenes seem identical", "the scene is the same as before"]
NOUNS = ("house", "road", "villa", "tree", "lake", "bridge")
REFERENCES = {f"c{i}": [f"a {noun} is built on the land", f"a {noun} appears"] for i, noun in enumerate(NOUNS * 4)}
REFERENCES |= {f"n{i}": SAME for i in range(24)}
GOOD = {i: sentences[0] for i, sentences in REFERENCES.items()}
BAD = {i: SAME[1] if i[0] == "n" else "some trees are removed" for i in REFERENCES}
BLIND = dict.fromkeys(REFERENCES, SAME[2])


@pytest.fixture
def evaluated(tmp_path):
    def write(name, hypotheses=GOOD, references=REFERENCES, split="test"):
        folder = tmp_path / name / split
        folder.mkdir(parents=True)
        (folder / "references.json").write_text(json.dumps(references))
        (folder / "hypotheses.json").write_text(json.dumps(hypotheses))
        return str(tmp_path / name)

    return write


def figure(comparison, n, part, name):
    return comparison["systems"][n]["figures"][part][name]


def test_a_better_run_is_found_and_an_equal_one_is_not(evaluated):
    found = compare([evaluated("bad", BAD), evaluated("good"), evaluated("worse", BAD)])
    assert [system["name"] for system in found["systems"]] == ["bad", "good", "worse"]
    better = figure(found, 1, "description", "CIDEr")
    assert better["difference"] == pytest.approx(better["value"] - figure(found, 0, "description", "CIDEr")["value"])
    assert better["p"] < 0.01
    assert better["difference_interval"][0] > 0
    assert figure(found, 2, "description", "CIDEr")["p"] == 1
    assert "p" not in figure(found, 0, "description", "CIDEr")


def test_turning_the_order_turns_the_signs_and_keeps_p(evaluated):
    paths = [evaluated("good"), evaluated("blind", BLIND)]
    there, back = (figure(compare(order), 1, "overall", "ROUGE_L") for order in (paths, paths[::-1]))
    assert there["difference"] == pytest.approx(-back["difference"])
    assert there["p"] == back["p"]


def test_seeds_of_one_configuration_are_averaged_with_their_spread(evaluated):
    runs = [evaluated(f"model-{seed}", said) for seed, said in enumerate((GOOD, BLIND, GOOD))]
    found = compare([",".join(runs), evaluated("blind", BLIND)])
    assert [system["name"] for system in found["systems"]] == ["model (3 runs)", "blind"]
    missed = figure(found, 0, "flag", "miss")
    assert missed["value"] == pytest.approx(1 / 3)
    assert missed["deviation"] == pytest.approx(3**-0.5)
    assert figure(found, 1, "flag", "miss")["difference"] == pytest.approx(2 / 3)
    assert "0.333 ±0.577" in text(found)


def test_a_run_may_be_named_by_its_evaluation_or_a_file_of_it(evaluated):
    run, other = evaluated("good"), evaluated("bad", BAD)
    found = compare([run, other])
    for path in (f"{run}/test", f"{run}/test/hypotheses.json"):
        assert compare([path, other])["systems"] == found["systems"]
    with pytest.raises(DataError, match=r"not evaluated on the split val: .* run changecap evaluate .* split=val"):
        compare([run, other], "val")


def test_a_comma_may_belong_to_a_path(tmp_path):
    for name in ("inputs=rgb,seed=0", "inputs=rgb,seed=1", "plain"):
        (tmp_path / name).mkdir()
    folders = [tmp_path / "inputs=rgb,seed=0", tmp_path / "inputs=rgb,seed=1", tmp_path / "plain"]
    assert paths_of(",".join(map(str, folders))) == folders
    with pytest.raises(DataError, match=r"there is no .*/other; give the folder of a run"):
        paths_of(f"{folders[0]},{tmp_path / 'other'}")


def test_seeds_of_a_sweep_are_named_by_what_they_share(evaluated):
    swept = ",".join(evaluated(f"inputs=rgb,seed={seed}") for seed in (0, 1))
    assert compare([swept, evaluated("x", BAD)])["systems"][0]["name"] == "inputs=rgb (2 runs)"


def test_runs_of_one_name_are_told_apart_by_their_path(evaluated):
    paths = [evaluated("a/best"), evaluated("b/best", BAD)]
    assert [system["name"] for system in compare(paths)["systems"]] == [f"{path}/test" for path in paths]


def test_one_run_alone_is_refused(evaluated):
    with pytest.raises(UsageError, match="two runs or more, got 1; for example: changecap compare"):
        compare([evaluated("good")])


def test_a_run_without_evaluation_says_which_command_to_run(evaluated, tmp_path):
    (tmp_path / "a run").mkdir()
    with pytest.raises(DataError, match=f"run changecap evaluate checkpoint='{re.escape(str(tmp_path))}/a run'"):
        compare([evaluated("good"), str(tmp_path / "a run")])


def test_other_pairs_and_other_references_are_named(evaluated):
    good = evaluated("good")
    fewer = {i: REFERENCES[i] for i in list(REFERENCES)[1:]}
    with pytest.raises(DataError, match=r"different pairs: 1 only in .*good/test, such as 'c0'"):
        compare([good, evaluated("fewer", {i: GOOD[i] for i in fewer}, fewer)])
    with pytest.raises(DataError, match="do not have the same references for 1 pairs, such as 'c3'"):
        compare([good, evaluated("other", GOOD, REFERENCES | {"c3": ["a villa"]})])


def test_the_truth_of_the_card_goes_before_what_the_references_say(evaluated, tmp_path):
    paths = [evaluated("good"), evaluated("bad", BAD)]
    truth = {i: {"changed": i[0] == "c" or i == "n0"} for i in REFERENCES}
    for path in paths:
        (tmp_path / path / "test" / "card.json").write_text(json.dumps({"per_pair": truth, "inputs": "rgb"}))
    found = compare(paths)
    assert found["changed"] == 25
    assert found["systems"][0]["inputs"] == "rgb"
    (tmp_path / paths[1] / "test" / "card.json").unlink()
    with pytest.raises(DataError, match="do not have the same changed for 1 pairs, such as 'n0'"):
        compare(paths)


def test_classes_are_compared_by_the_changes_that_one_card_knows(evaluated, tmp_path):
    paths = [evaluated("bad", BAD), evaluated("good", dict.fromkeys(REFERENCES, "a house is built"))]
    pairs = {i: {"changed": i[0] == "c", "changes": [["ground", "building"]] * (i[0] == "c")} for i in REFERENCES}
    (tmp_path / paths[1] / "test" / "card.json").write_text(json.dumps({"per_pair": pairs}))
    found = figure(compare(paths), 1, "classes", "f1")
    assert found["value"] == pytest.approx(2 * 24 / (48 + 48))
    assert found["p"] < 0.01


def test_text_is_narrow_and_repeats_the_first_system(evaluated):
    shown = text(compare([evaluated(f"system {n}", BAD if n % 2 else GOOD) for n in range(7)]))
    assert max(map(len, shown.splitlines())) <= 100
    heads = [line for line in shown.splitlines() if "system 0" in line]
    assert len(heads) > 1
    assert [head.split("system ")[1].strip() for head in heads] == ["0"] * len(heads)
    for n in range(1, 7):
        assert sum(f"system {n}" in line for line in shown.splitlines()) == 1


def test_papers_have_per_cent_and_the_best_in_bold(evaluated):
    found = compare([evaluated("bad_1", BAD), evaluated("good|2")])
    markdown = FORMATS["markdown"](found).splitlines()
    head, rule, bad, good = markdown[:4]
    assert head.count("|") == rule.count("|") == bad.count("|") == good.replace("\\|", "").count("|")
    assert "**100.0**\\*" in good  # the flag is right in both, ROUGE-L in one
    latex = FORMATS["latex"](found)
    assert r"bad\_1 &" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len({row.count(" & ") for row in rows}) == 1
    assert latex.count("{") == latex.count("}")
    assert r"\textbf{100.0}$^*$" in latex


def test_csv_has_a_line_for_each_figure_and_json_everything(evaluated):
    found = compare([evaluated("bad, 1", BAD), evaluated("good")])
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](found))))
    assert len(rows) == sum(len(part) for system in found["systems"] for part in system["figures"].values())
    row = next(row for row in rows if (row["system"], row["part"], row["figure"]) == ("good", "overall", "CIDEr"))
    assert float(row["p"]) == figure(found, 1, "overall", "CIDEr")["p"]
    assert json.loads(FORMATS["json"](found)) == found


def test_the_command_line_takes_runs_as_plain_arguments(evaluated, tmp_path, capsys):
    paths = [evaluated("lr=1/good"), evaluated("bad", BAD)]
    assert main(["compare", *paths, "format=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["compare", f"runs=[{', '.join(paths)}]", "format=json", f"out={tmp_path / 'c.json'}"]) == 0
    assert json.loads((tmp_path / "c.json").read_text()) == found
    assert capsys.readouterr().out == ""
    assert main(["compare", paths[0]]) == 2
    assert "two runs or more" in capsys.readouterr().err
    assert main(["compare", *paths, "runs=[a]"]) == 2
    assert "runs is given twice" in capsys.readouterr().err
    assert main(["compare", *paths, "format=yaml"]) == 2
    assert "format must be text or latex" in capsys.readouterr().err
