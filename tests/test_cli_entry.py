import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import zoo
from changecap.cli.entry import VERBS, main
from changecap.errors import DataError
from changecap.evaluation.parity import Check

FACES = Path(__file__).parents[1] / "configs"
STRANGE = [
    "runs/lr=1/a, b (1).png",
    "données/北京/é.png",
    "$HOME/${model.name}",
    r"\${x} \\${y} ${",
    """it's "quoted" `here`""",
    "{a: b}",
    "[a, b]",
    "-leading",
    "a,b,c",
    " blanks ",
    "~",
    "007",
    "true",
    "1e3",
    "#no comment",
    "a: b",
    "C:\\data\\new",
    "x\ny",
]


@pytest.fixture
def called(monkeypatch):
    """What the verbs that work long hand to the library; nothing is trained or simulated."""
    calls = {}

    def note(name, answer):
        def function(*args, **kwargs):
            calls[name] = args[0] if args else kwargs
            return answer

        return function

    monkeypatch.setattr("changecap.training.loop.train", note("train", Path("runs/x")))
    monkeypatch.setattr("changecap.data.ensure", note("ensure", None))
    monkeypatch.setattr("changecap.data.synthetic.write", note("synth", Path("data/x")))
    return calls


def fails(capsys, arguments, status):
    """What is said on stderr when ``arguments`` fail with ``status``, without a traceback."""
    assert main(arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("changecap: ")
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--debug"]])
def test_the_bare_command_shows_every_verb_with_an_example(capsys, arguments):
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"  {name}" in said
        assert verb.examples[0] in said


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_every_key_with_its_default_and_meaning(capsys, verb):
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    face = yaml.safe_load((FACES / f"{verb}.yaml").read_text())
    for example in VERBS[verb].examples:
        assert example in said
    for key, value in face.items():
        keys = [f"{key}.{k}" for k in value] if isinstance(value, dict) else [key]
        for name in [] if key == "defaults" else keys:
            line = next(x for x in said.splitlines() if x.split()[:1] == [name])
            assert len(line.split()) >= 3, line


def test_help_of_train_shows_groups_and_the_arguments_of_models(capsys):
    main(["train", "--help"])
    said = capsys.readouterr().out
    for part in ("data=second_cc", "data=synth", "data.root", "(required)", "experiment=demo", "dropout=0.5"):
        assert part in said
    assert "decoder_heads=null" in said.splitlines()[-1]
    assert "vocab" not in said.splitlines()[-1]


def test_examples_of_the_help_are_valid(called, capsys):
    for example in [e for verb in ("train", "synth") for e in VERBS[verb].examples]:
        assert main(example.split()[1:]) == 0, example
    assert called["train"]["model"]["dropout"] == 0.2


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("changecap 0.")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["trian"], "'train'"),
        (["synth", "pair=3"], "'pairs'"),
        (["train", "model=mmodalc"], "'mmodalcc'"),
        (["train", "data=second"], "'second_cc'"),
        (["train", "experiment=dmo"], "'demo'"),
        (["train", "model.name=mmodal"], "'mmodalcc'"),
        (["train", "model.drop=0.1"], "'model.dropout'"),
        (["train", "model.inputs=rgb"], "'inputs'"),
        (["train", "dropout=0.1"], "'model.dropout'"),
        (["train", "backbone.wights=none"], "'backbone.weights'"),
        (["train", "data.synth.pair=3"], "'data.synth.pairs'"),
        (["evaluate", "checkpoint=x", "data.rot=y"], "'data.root'"),
        (["train", "dat=synth"], "'data'"),
        (["train", "--debgu"], "'--debug'"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_nearest(capsys, called, arguments, meant):
    assert f"did you mean {meant}?" in fails(capsys, arguments, 2)
    assert not called


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["synth"], "synth needs out=..."),
        (["caption", "b=x"], "caption needs checkpoint=...; for example: changecap caption"),
        (["train", "data=second_cc"], "train needs data.root=..."),
        (["synth", "folder"], "expected key=value, got 'folder'"),
        (["synth", "=x"], "expected key=value, got '=x'"),
        (["synth", "out=a", "out=b"], "out is given twice: 'a' and 'b'"),
        (["synth", "--out=a"], "Settings are written out=a"),
        (["synth", "out="], "out must be text, got ''"),
        (["synth", "out=x", "pairs=many"], "pairs must be a whole number, got 'many'"),
        (["synth", "out=x", "pairs=1.5"], "pairs must be a whole number, got '1.5'"),
        (["synth", "out=x", "pairs=null"], "pairs must be a whole number, got 'null'"),
        (["synth", "out=x", "val=few"], "val must be a whole number or null, got 'few'"),
        (["synth", "out=x", "seed=-1"], "seed must be at least 0, got -1"),
        (["evaluate", "checkpoint=x", "data.size=0"], "data.size must be at least 1, got 0"),
        (["synth", "out=x", "pairs=inf"], "pairs must be a whole number, got 'inf'"),
        (["train", "lr=nan"], "lr must be a number, got 'nan'"),
        (["train", "preload=maybe"], "preload must be true or false, got 'maybe'"),
        (["train", "backbone.options=deep"], "backbone.options must be {a: mapping} or null, got 'deep'"),
        (["train", "resume=runs/a", "lr=1", "seed=2"], "leave out lr, seed"),
        (["score", "references=a", "hypotheses=b", "format=yaml"], "format must be text or json, got 'yaml'"),
        (["score", "references=a", "hypotheses=b", "units=words,ids"], "units must be words or ids, got 'words,ids'"),
        (["score", "references=a", "hypotheses=b", "units=ids"], "units=ids and vocabulary=FILE, the map of words"),
        (["score", "references=a", "hypotheses=b", "vocabulary=c"], "units=ids and vocabulary=FILE, the map of words"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(capsys, called, arguments, said):
    assert said in fails(capsys, arguments, 2)
    assert not called


@pytest.mark.parametrize("first", range(0, len(STRANGE), 4))
def test_any_file_name_arrives_as_it_was_written(monkeypatch, first):
    arrived = {}
    monkeypatch.setattr("changecap.metrics.score_files", lambda **paths: arrived.update(paths) or {"notes": []})
    keys = ("references", "hypotheses", "changed", "out", "documents", "vocabulary")
    values = dict(zip(keys, STRANGE[first:] + STRANGE, strict=False))
    assert main(["score", "format=json", "units=ids", *(f"{key}={value}" for key, value in values.items())]) == 0
    assert arrived == {key: Path(value) for key, value in values.items()}


def test_a_name_with_interpolation_marks_is_taken_literally_beside_real_ones(called):
    main(["train", "out=runs/${seed}", r"data.root=\${out}", "model.name=mmodalcc"])
    assert called["train"]["out"] == "runs/${seed}"
    assert called["train"]["data"]["root"] == r"\${out}"


def test_numbers_truth_values_and_null_keep_their_kind(called):
    main(["synth", "out=x", "pairs=1e3", "size=32", "val=null", "test=5", "seed=12345678901234567890"])
    wanted = {"out": "x", "pairs": 1000, "size": 32, "seed": 12345678901234567890, "val": None, "test": 5}
    assert called["synth"] == wanted | {"workers": None}
    assert type(called["synth"]["pairs"]) is int
    main(["train", "lr=1", "preload=false", "steps=7", "model.decoder_heads=null", "model.released=true"])
    config = called["train"]
    assert (config["lr"], type(config["lr"]), config["preload"], config["steps"]) == (1.0, float, False, 7)
    assert config["model"] == {"name": "mmodalcc", "decoder_heads": None, "released": True}


def test_options_of_a_backbone_are_a_mapping_or_its_keys(called):
    wanted = {"depths": [1, 2.5], "layer": "a ${b}", "norm": True, "rate": 0.001}
    main(["train", "backbone.options={depths: [1, 2.5], layer: 'a ${b}', norm: true, rate: 1e-3}"])
    assert called["train"]["backbone"]["options"] == wanted
    keys = ["depths=[1, 2.5]", "layer=a ${b}", "norm=true", "rate=1e-3"]
    called.clear()
    assert main(["train", *(f"backbone.options.{key}" for key in keys)]) == 0
    assert called["train"]["backbone"]["options"] == wanted


def test_training_gets_the_defaults_of_its_yaml(called, capsys):
    assert main(["train"]) == 0
    assert capsys.readouterr().out == "run: runs/x\nnext: changecap evaluate checkpoint=runs/x\n"
    face = yaml.safe_load((FACES / "train.yaml").read_text().replace("1e-4", "0.0001"))
    config = called["train"]
    assert config.keys() == (face.keys() - {"defaults"}) | {"data", "model"}
    assert config["out"] == "runs/mmodalcc"
    assert config["data"] == yaml.safe_load((FACES / "data" / "synth.yaml").read_text())
    for key in face.keys() - {"defaults", "out"}:
        assert config[key] == face[key], key


def test_the_command_line_goes_before_an_experiment(called):
    main(["train", "experiment=demo", "steps=3", "backbone.options.stem_width=2"])
    config = called["train"]
    assert (config["steps"], config["batch"], config["out"]) == (3, 8, "runs/demo")
    options = {"channels": [32, 48, 96, 192], "stem_width": 2, "stem_type": "deep"}
    assert config["backbone"]["options"] == options


def test_a_resumed_run_is_asked_for_alone(called):
    main(["train", "resume=runs/a", "device=cpu"])
    assert called == {"train": {"resume": "runs/a", "device": "cpu"}}


def test_data_are_chosen_as_a_group(called):
    main(["train", "data=second_cc", "data.root=SECOND", "data.palette=nearest"])
    data = {"name": "second_cc", "root": "SECOND", "size": 256, "palette": "nearest", "pack": False}
    assert called["train"]["data"] == data | {"bands": "1,2,3", "scale": None}


@pytest.mark.parametrize("name", ["second_cc", "levir_cc", "dubai_cc", "folder", "chg2cap_tokens"])
def test_bands_and_scale_of_a_data_set_are_taken_as_text(called, name):
    main(["train", f"data={name}", "data.root=x", "data.bands=4,3,2", "data.scale=0,3000"])
    assert called["train"]["data"].items() >= {"bands": "4,3,2", "scale": "0,3000"}.items()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("no image a.png"), 1, "error: no image a.png"),
        (OSError(28, "No space left on device", "x"), 1, "error: [Errno 28] No space left on device: 'x'"),
        (
            ZeroDivisionError("float"),
            1,
            "error: ZeroDivisionError: float (a fault of changecap's: run again with --debug",
        ),
        (KeyboardInterrupt("stopped at step 3"), 130, "stopped at step 3"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_failure_shows_its_traceback_on_request_only(monkeypatch, capsys, error, status, said):
    def fail(**kwargs):
        raise error

    monkeypatch.setattr("changecap.data.synthetic.write", fail)
    assert fails(capsys, ["synth", "out=x"], status).startswith(f"changecap: {said}")
    assert main(["synth", "out=x", "--debug"]) == status
    assert "Traceback" in capsys.readouterr().err


def test_notes_of_the_library_are_shown_once_and_on_stderr(monkeypatch, capsys):
    import logging

    log = logging.getLogger("changecap.data.dataset")
    monkeypatch.setattr("changecap.data.synthetic.write", lambda **kwargs: log.info("a note"))
    for _ in range(2):
        main(["synth", "out=x"])
        assert capsys.readouterr().err == "a note\n"


def test_scores_are_a_table_or_json(tmp_path, capsys):
    references, hypotheses, out = (tmp_path / f"{name}, 1.json" for name in ("r", "h", "out"))
    references.write_text(json.dumps({"a": ["a house is built on the left"], "b": ["there is no difference"]}))
    hypotheses.write_text(json.dumps({"a": "a house is built on the left", "b": "there is no difference"}))
    files = [f"references={references}", f"hypotheses={hypotheses}"]
    assert main(["score", *files, f"out={out}"]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["all", "pairs", "change", "no-change"]
    assert table.splitlines()[1].split() == ["Bleu_1", "1.0000", "1.0000", "1.0000"]
    assert [line for line in table.splitlines() if line.startswith("SPICE not computed: ")]
    assert main(["score", *files, "format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    assert "no file" in fails(capsys, ["score", files[0], "hypotheses=nothing.json"], 1)


def test_what_is_amiss_with_the_ids_is_said_beside_the_scores(tmp_path, capsys):
    references, hypotheses = tmp_path / "r.json", tmp_path / "h.json"
    references.write_text(json.dumps({"7": ["a house"], "8": ["a road"]}))
    hypotheses.write_text(json.dumps([{"image_id": 7, "caption": "a house"}, {"image_id": 9, "caption": "a"}]))
    assert main(["score", f"references={references}", f"hypotheses={hypotheses}", "format=json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["counts"]["extra_ids"] == 1
    assert said.err.splitlines() == [
        "note: 1 id without a hypothesis, scored as an empty sentence: '8'",
        "note: 1 id in the hypotheses only, scored as without references: '9'",
    ]


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_parity_fails_where_a_check_does(monkeypatch, capsys, ok, status):
    monkeypatch.setattr(
        "changecap.evaluation.parity.parity", lambda fixture, checkpoint: [Check(f"logits of {fixture}", 0.5, 1e-4, ok)]
    )
    assert main(["parity", "fixture=some/where"]) == status
    assert "logits of some/where" in capsys.readouterr().out
    assert main(["parity", "fixture=some/where", "format=json"]) == status
    assert json.loads(capsys.readouterr().out)[0]["ok"] is ok


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of two steps on simulated pairs, made by the command line alone."""
    root = tmp_path_factory.mktemp("cli") / "lr=1, $x"
    numbers = {"pairs": 24, "size": 32, "seed": 1, "val": 4, "test": 6}
    assert main(["synth", f"out={root / 'data'}", "workers=1", *(f"{k}={v}" for k, v in numbers.items())]) == 0
    data = [f"data.root={root / 'data'}", "data.size=32", *(f"data.synth.{k}={v}" for k, v in numbers.items())]
    small = ["model.dim=16", "backbone.options={channels: [8, 8, 8, 8], stem_width: 8}", "device=cpu"]
    small += ["data.pack=false"]
    arguments = ["train", "experiment=demo", f"out={root / 'a, b (1)'}", "steps=2", "validate_every=1", "batch=4"]
    assert main([*arguments, *data, *small]) == 0
    return root / "a, b (1)"


def test_a_run_is_evaluated_by_its_folder_alone(run, capsys):
    assert main(["evaluate", f"checkpoint={run}", "device=cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("test split: 6 pairs")
    assert f"report: {run / 'test' / 'report.html'}\n" in said
    assert "nearest by maps" in said
    assert "validation" in (run / "test" / "report.html").read_text().lower()
    assert len(json.loads((run / "test" / "hypotheses.json").read_text())) == 6
    measured = json.loads((run / "best" / "evaluation.json").read_text())
    assert (measured["split"], measured["pairs"], measured["data"]) == ("test", 6, "second_cc")


def test_an_evaluation_takes_another_split_folder_and_size(run, tmp_path, capsys):
    arguments = ["split=val", f"out={tmp_path}", "limit=2", "baselines=false", "report=false", "maps=predicted"]
    data = ["data=second_cc", f"data.root={run.parent / 'data'}", "data.size=48", "data.pack=true"]
    assert (
        main(
            [
                "evaluate",
                f"checkpoint={run / 'last'}",
                "device=cpu",
                "beams=2",
                "decode.length_penalty=1",
                *arguments,
                *data,
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert said.startswith("val split: 2 pairs")
    assert "rgb + maps (predicted maps); beams: 2; length_penalty: 1.0; " in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json", "hypotheses.json", "references.json"]
    assert [p.name[:7] for p in (run.parent / "data" / ".changecap").iterdir()] == ["val-48-"]


def test_a_slip_in_the_data_folder_of_an_evaluation_simulates_nothing(run, tmp_path, capsys):
    said = fails(capsys, ["evaluate", f"checkpoint={run}", f"data.root={tmp_path / 'datta'}"], 1)
    assert "set data.root" in said
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_that_cannot_search_so_says_it_before_reading_data(run, tmp_path, capsys):
    said = fails(capsys, ["evaluate", f"checkpoint={run}", f"data.root={tmp_path / 'none'}", "decode.top_k=5"], 1)
    assert "top_k change how words are drawn" in said


def test_data_simulated_otherwise_are_refused(run, capsys):
    said = fails(capsys, ["evaluate", f"checkpoint={run}", "data.synth.seed=9"], 1)
    assert "'seed': 9" in said
    assert "give another data.root" in said


def test_a_pair_is_captioned_in_words_or_json(run, capsys):
    folder = run.parent / "data" / "test"
    name = next((folder / "rgb" / "A").iterdir()).name
    kinds = {"a": "rgb/A", "b": "rgb/B", "sem_a": "sem/A", "sem_b": "sem/B"}
    pictures = [f"{key}={folder / kind / name}" for key, kind in kinds.items()]
    assert main(["caption", f"checkpoint={run}", "device=cpu", *pictures]) == 0
    text, facts, words = capsys.readouterr().out.splitlines()
    assert main(["caption", f"checkpoint={run}", "device=cpu", "format=json", *pictures]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == text == " ".join(word["word"] for word in found["words"])
    assert facts == f"log-probability {found['log_probability']:.2f} · {'' if found['changed'] else 'un'}changed"
    assert all(0 < word["probability"] < 1 for word in found["words"])
    assert words.split()[1::2] == text.split()
    assert "needs a land-cover map" in fails(capsys, ["caption", f"checkpoint={run}", *pictures[:2]], 1)


def test_a_finished_run_resumes_to_itself(run, capsys):
    before = (run / "last" / "config.json").read_text()
    assert main(["train", f"resume={run}"]) == 0
    assert f"run: {run}\n" in capsys.readouterr().out
    assert (run / "last" / "config.json").read_text() == before
    assert "already holds a run" in fails(capsys, ["train", f"out={run}", *_data(run)], 1)


def _data(run):
    stored = json.loads((run / "config.json").read_text())["data"]
    return [f"data.root={stored['root']}", *(f"data.synth.{k}={v}" for k, v in stored["synth"].items())]


def test_a_folder_without_a_checkpoint_is_named(tmp_path, capsys):
    assert f"no checkpoint in {tmp_path}" in fails(capsys, ["evaluate", f"checkpoint={tmp_path}"], 1)


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_has_a_yaml_that_builds_and_repeats_no_default(name):
    config = yaml.safe_load((FACES / "model" / f"{name}.yaml").read_text())
    assert config.pop("name") == name
    defaults = inspect.signature(zoo.model_class(name)).parameters
    assert [key for key, value in config.items() if defaults[key].default == value] == []
    small = {key: 16 for key in ("dim",) if key in defaults}
    zoo.create_model(name, vocab=10, **config | small, backbone={"name": "features", "channels": 4})


@pytest.mark.parametrize("file", sorted((FACES / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_builds_and_repeats_no_default(file, called):
    main(["train", f"experiment={file.stem}", "data.root=data"])
    config = called["train"]
    arguments = {key: value for key, value in config["backbone"].items() if value is not None and key != "weights"}
    with torch.device("meta"):  # sizes without their memory
        model = zoo.create_model(vocab=10, image_size=config["data"]["size"], backbone=arguments, **config["model"])
    face = yaml.safe_load(file.read_text().replace("1e-", "1.0e-"))
    chosen = [item for item in face.pop("defaults", []) if isinstance(item, dict)]
    main(["train", "data.root=data", *(f"{k.split('/')[-1]}={v}" for item in chosen for k, v in item.items())])
    plain = called["train"]
    for key, default in inspect.signature(type(model)).parameters.items():
        plain["model"].setdefault(key, default.default)
    repeated = []
    for key, value in face.items():
        inner = value.items() if isinstance(value, dict) else [(None, value)]
        repeated += [(key, k) for k, v in inner if (plain[key] if k is None else plain[key][k]) == v]
    assert repeated == []


def test_what_is_null_by_default_has_a_stated_kind(called):
    """A key of unknown kind would take a number for text, or the other way round."""
    from changecap.cli.entry import _compose, _groups, _kinds

    for verb in VERBS:
        kinds = _kinds(_compose(verb, {}), _groups(verb))
        assert [key for key, kind in kinds.items() if not kind.free and type(None) in kind.types] == []


def _start(*arguments, **options):
    return subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True, **options)


def test_the_module_is_the_command():
    process = _start("-m", "changecap", "trian", stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("changecap: error: unknown verb 'trian', did you mean 'train'?")


def test_help_does_not_wait_for_torch():
    code = "import sys; from changecap.cli import main; main(['synth', '--help']); sys.exit('torch' in sys.modules)"
    process = _start("-c", code, stdout=subprocess.PIPE)
    assert "changecap synth out=" in process.communicate(timeout=60)[0]
    assert process.returncode == 0


def test_a_reader_that_has_gone_is_no_traceback():
    gone, ours = os.pipe()
    os.close(gone)
    process = _start("-m", "changecap", stdout=ours)
    os.close(ours)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 1
