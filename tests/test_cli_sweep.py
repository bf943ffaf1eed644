import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changecap.cli.entry import main
from changecap.cli.sweep import combinations
from changecap.errors import DataError, UsageError

WORD = st.text("abc01.", min_size=1, max_size=4)


@pytest.fixture
def trained(monkeypatch):
    """The configurations that training is called with, in order; seed 1 fails."""
    configs = []

    def train(config):
        configs.append(config)
        if config["seed"] == 1:
            raise DataError("no such pair")
        return config["out"]

    monkeypatch.setattr("changecap.training.loop.train", train)
    return configs


def test_the_last_key_changes_first_and_each_combination_has_a_name():
    assert combinations({"model": "a,b", "epochs": "3", "seed": "0, 1"}) == [
        ("model=a,seed=0", {"model": "a", "epochs": "3", "seed": "0"}),
        ("model=a,seed=1", {"model": "a", "epochs": "3", "seed": "1"}),
        ("model=b,seed=0", {"model": "b", "epochs": "3", "seed": "0"}),
        ("model=b,seed=1", {"model": "b", "epochs": "3", "seed": "1"}),
    ]


@given(st.dictionaries(WORD, st.lists(WORD, min_size=1, max_size=3, unique=True), max_size=3))
def test_there_are_as_many_combinations_as_the_product_of_the_values(values):
    found = combinations({f"key{i}": ",".join(several) for i, several in enumerate(values.values())})
    wanted = 1
    for several in values.values():
        wanted *= len(several)
    assert len(found) == len({name for name, _ in found}) == wanted
    for _, combination in found:
        assert all(combination[f"key{i}"] in several for i, several in enumerate(values.values()))


@pytest.mark.parametrize(
    "argument",
    ["out=runs/a, b", "data.root=x,y", "backbone.weights=a,b.pt", "backbone.options={a: 1, b: [2, 3]}", "x=[1,(2,3)]"],
)
def test_commas_in_file_names_and_within_brackets_separate_nothing(argument):
    key, _, value = argument.partition("=")
    assert combinations({key: value}) == [("", {key: value})]


def test_lists_are_separated_from_each_other():
    assert [c["x"] for _, c in combinations({"x": "[1,2],[3,4],null"})] == ["[1,2]", "[3,4]", "null"]


@pytest.mark.parametrize(
    ("given", "said"),
    [({"seed": "1,2,1"}, "seed has the value '1' twice"), ({"x": "[1],(1)"}, "would share the folder x=_1_")],
)
def test_runs_that_are_the_same_or_share_a_folder_are_refused(given, said):
    with pytest.raises(UsageError, match=said):
        combinations(given)


def test_each_combination_is_run_in_its_folder_and_a_failed_one_stops_none(trained, tmp_path, capsys):
    out = tmp_path / "a, b"
    assert main(["train", "-m", f"out={out}", "inputs=rgb,both", "seed=0,1", "model.dropout=0.25"]) == 1
    names = [f"inputs={i},seed={s}" for i in ("rgb", "both") for s in (0, 1)]
    assert [config["out"] for config in trained] == [str(out / name) for name in names]
    assert [(c["inputs"], c["seed"], c["model"]["dropout"]) for c in trained] == [
        (inputs, seed, 0.25) for inputs in ("rgb", "both") for seed in (0, 1)
    ]
    said = capsys.readouterr()
    assert said.err.count("changecap: error: no such pair\n") == 2
    listed = said.out[said.out.index("2 of 4 runs done") :].splitlines()[1:]
    assert [line.split()[0] for line in listed] == names
    assert ["failed" in line for line in listed] == [False, True, False, True]


@pytest.mark.slow
def test_the_list_tells_the_best_score_of_each_run(tmp_path, capsys):
    data = [f"data.root={tmp_path / 'a,b'}", "data.size=32", "data.synth.size=32", "data.synth.pairs=24"]
    small = ["model.dim=16", "backbone.options={channels: [8, 8, 8, 8], stem_width: 8}", "device=cpu", "batch=4"]
    steps = ["steps=1", "validate_every=1", "data.synth.val=4", "data.synth.test=4"]
    assert main(["train", "-m", "experiment=demo", f"out={tmp_path}", "seed=0,1", *data, *small, *steps]) == 0
    listed = capsys.readouterr().out.splitlines()[-2:]
    for seed, line in enumerate(listed):
        best = json.loads((tmp_path / f"seed={seed}" / "best" / "config.json").read_text())["validation"]["CIDEr"]
        assert line == f"  seed={seed}  CIDEr {best:.4f}  {tmp_path / f'seed={seed}'}"


def test_runs_that_all_succeed_exit_with_0_and_other_models_have_other_folders(trained, capsys):
    assert main(["train", "seed=0,2", "--multirun", "experiment=demo"]) == 0
    assert [config["out"] for config in trained] == ["runs/demo/seed=0", "runs/demo/seed=2"]


def test_without_commas_it_is_the_plain_run(trained):
    assert main(["train", "-m", "seed=3", "out=runs/x"]) == 0
    assert [config["out"] for config in trained] == ["runs/x"]


def test_nothing_is_run_before_all_values_are_checked(trained, capsys):
    assert main(["train", "-m", "seed=0,many"]) == 2
    assert "seed must be a whole number, got 'many'" in capsys.readouterr().err
    assert trained == []


def test_without_m_commas_separate_nothing(trained, capsys):
    assert main(["train", "seed=0,2"]) == 2
    assert "got '0,2'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "-m", "checkpoint=x", "beams=1,3"], "-m makes several runs of train; leave it out"),
        (["train", "-m", "resume=runs/x"], "leave it out to resume one"),
        (["train", "-m", "seed=0,1", "sede=2"], "did you mean 'seed'"),
    ],
)
def test_what_cannot_be_swept_is_refused(arguments, said, trained, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert trained == []


def test_ctrl_c_ends_all_runs(monkeypatch, capsys):
    calls = []

    def train(config):
        calls.append(config)
        raise KeyboardInterrupt("stopped at step 3")

    monkeypatch.setattr("changecap.training.loop.train", train)
    assert main(["train", "-m", "seed=0,1"]) == 130
    assert len(calls) == 1
    assert "stopped at step 3" in capsys.readouterr().err
