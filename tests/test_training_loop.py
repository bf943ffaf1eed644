import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save_file
from training_runs import SAME, SIZE, assert_same, at_step, describe, everything, rows, run, write_pairs

import changecap
import zoo
from changecap import data
from changecap.checkpoints import checkpoint
from changecap.errors import CheckpointError, ConfigError, DataError, WeightsUnavailableError
from changecap.training import loop as training
from changecap.training.loop import schedule, train


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """So small a model only waits for a second one; and the order of sums is the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def configured(root, tmp_path):
    def build(out="run", **changes):
        return describe(root, tmp_path / out, **changes)

    return build


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return run(describe(root, tmp_path_factory.mktemp("runs") / "whole"))


def test_a_captioner_learns_the_training_pairs(configured):
    model = {"name": "mmodalcc", "dim": 32, "heads": 2, "layers": 1, "dropout": 0.0}
    out = run(configured(steps=50, validate_every=50, model=model))
    assert rows(out)[-1]["loss"] < 0.6 < 2.5 < rows(out)[0]["loss"]


def test_a_run_folder_holds_configuration_versions_history_and_both_checkpoints(whole, root):
    assert json.loads((whole / "config.json").read_text()) == describe(root, whole)
    assert json.loads((whole / "versions.json").read_text())["torch"] == torch.__version__
    assert [row["step"] for row in rows(whole)] == [1, 2, 3, 4, 5, 6]
    assert rows(whole)[0].keys() == {"step", "loss", "lr", "captions_per_s"}
    assert [row["step"] for row in rows(whole, "validation")] == [3, 6]
    assert {"CIDEr", "Bleu_4", "ROUGE_L"} <= rows(whole, "validation")[0]["validation"].keys()
    best = max(row["validation"]["CIDEr"] for row in rows(whole, "validation"))
    assert checkpoint.read_config(whole / "best")["validation"] == {"CIDEr": best}
    assert changecap.load(whole).inputs == "both"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(configured, whole):
    again, other = (run(configured(f"run{seed}", seed=seed)) for seed in (0, 1))
    assert_same(everything(whole), everything(again))
    one, two = (checkpoint.load(out / "last")[0].state_dict()["words.head.weight"] for out in (whole, other))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("preload", [True, False])
def test_packed_pairs_train_to_the_same_weights(configured, whole, root, preload, monkeypatch):
    config = configured(preload=preload)
    config["data"]["pack"] = True
    out = run(config)
    assert_same(everything(whole), everything(out))
    assert sorted(p.name.split("-")[0] for p in (root / ".changecap").glob("*.pack")) == ["train", "val"]
    monkeypatch.setattr("changecap.data.dataset.read_rgb", None)
    run(config | {"out": f"{out}2", "steps": 1})


@pytest.mark.parametrize("step", [0, 2, 3, 5], ids="at step {}".format)  # 2 and 5 end an epoch
def test_a_run_that_sigterm_interrupts_resumes_to_the_same_weights(configured, whole, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt, match=f"stopped at step {step + 1}; go on with resume="):
            run(configured("cut"))
    cut = run(configured("elsewhere", resume=str(tmp_path / "cut")))
    assert cut == tmp_path / "cut"
    assert_same(everything(whole), everything(cut))


def test_a_run_that_breaks_between_validations_resumes_to_the_same_weights_and_history(
    configured, whole, tmp_path, monkeypatch
):
    def break_down():
        raise MemoryError

    with monkeypatch.context() as patch:
        at_step(patch, 4, break_down)
        with pytest.raises(MemoryError):
            run(configured("cut"))
    cut = tmp_path / "cut"
    assert rows(cut)[-1]["step"] == 4  # one more than was saved
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # torn
    run(configured(resume=str(cut)))
    assert_same(everything(whole), everything(cut))


def test_a_finished_run_resumes_to_nothing_more(whole):
    before = everything(whole)
    run({"resume": str(whole)})
    assert_same(before, everything(whole))


@pytest.mark.slow
def test_a_run_killed_after_its_first_save_loads_and_resumes_to_the_same_weights(configured, whole, tmp_path):
    config, killed = configured("killed"), tmp_path / "killed"
    script = (
        "import json, sys, time; from changecap.training import loop as t\n"
        "real = t._Run._step; t.torch.set_num_threads(1)\n"
        "def slow(self, *arguments): time.sleep(0.3 * (self.step > 3)); return real(self, *arguments)\n"
        "t._Run._step = slow; t.train(json.loads(sys.argv[1]), progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, json.dumps(config)])
    try:
        for _ in range(1200):
            if (killed / "last" / "config.json").exists() and rows(killed)[-1]["step"] > 3:
                break
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert checkpoint.load_training(killed / "last")["step"] == 3
    assert changecap.load(killed).size == SIZE
    run(config | {"resume": str(killed)})
    assert_same(everything(whole), everything(killed))


def test_a_second_signal_ends_the_run_at_once(configured, monkeypatch):
    def impatient():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 4, impatient)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(configured())
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_run_resumes_without_the_pretrained_weights_it_began_with(configured, monkeypatch, tmp_path):
    out = run(configured(epochs=1))
    stored = json.loads((out / "config.json").read_text())
    stored["backbone"]["weights"] = str(tmp_path / "gone.safetensors")
    (out / "config.json").write_text(json.dumps(stored | {"epochs": 2}))
    assert rows(run({"resume": str(out)}))[-1]["step"] == 6


@pytest.mark.parametrize("change", ["words", "pairs"])
def test_a_run_does_not_resume_on_other_data(configured, root, tmp_path, change):
    copy = shutil.copytree(root, tmp_path / "pairs")
    config = configured(epochs=1)
    config["data"]["root"] = str(copy)
    out = run(config)
    captions = copy / "SECOND-CC-AUG.json"
    content = json.loads(captions.read_text())
    if change == "pairs":
        del content["images"][4]  # its sentences stand elsewhere too
    captions.write_text(json.dumps(content).replace("house", "hut" if change == "words" else "house"))
    with pytest.raises(ConfigError, match=r"the data are not those that .*run was trained on: \d+ pairs and 24 words"):
        run(config | {"resume": str(out)})


@pytest.mark.parametrize("patience", [0, 2])
def test_training_stops_when_validation_no_longer_improves(configured, monkeypatch, patience):
    monkeypatch.setattr(training, "measure", lambda *_, **__: SimpleNamespace(totals=lambda: {"CIDEr": 0.5}))
    out = run(configured(validate_every=1, patience=patience))
    assert rows(out)[-1]["step"] == 2 + patience
    assert checkpoint.read_config(out / "best")["step"] == 1
    assert checkpoint.read_config(out / "last")["step"] == 2 + patience


def test_the_folder_of_another_run_is_not_overwritten(root, whole):
    before = everything(whole)
    with pytest.raises(ConfigError, match=r"whole already holds a run; go on with it by resume=.*whole, or give anot"):
        run(describe(root, whole, seed=1))
    assert_same(before, everything(whole))


def test_what_a_run_left_that_was_never_saved_does_not_enter_the_history_of_the_next(configured):
    config = configured(epochs=1)
    out = training.Path(config["out"])
    out.mkdir()
    (out / "metrics.jsonl").write_text('{"step": 1, "loss": 9}\n{"step": 2, "loss": 9}\n')
    assert [row["step"] for row in rows(run(config))] == [1, 2, 3]


def test_a_loss_that_is_no_number_never_reaches_the_weights(configured, monkeypatch):
    real = zoo.model_class("mmodalcc").decode

    def explode(self, words, memory, state=None):
        logits, state = real(self, words, memory, state)
        return logits * (math.nan if self.training and next(steps) > 12 else 1), state  # four groups a step

    steps = iter(range(100))
    monkeypatch.setattr(zoo.model_class("mmodalcc"), "decode", explode)
    with pytest.raises(ConfigError, match=r"the loss is nan .* at step 4; lower lr \(now 0.003\) or raise warmup"):
        run(configured())
    out = training.Path(configured()["out"])
    assert all(value.isfinite().all() for value in checkpoint.load(out / "last")[0].state_dict().values())
    assert [row["step"] for row in rows(out)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "cider"}, "score must be one of Bleu_1, .*CIDEr, .*got 'cider'"),
        ({"inputs": "images"}, "inputs must be one of rgb, maps, both, got 'images'"),
        ({"precision": "fp16"}, "precision must be one of auto, bf16, fp32, got 'fp16'"),
        ({"vocabulary_splits": "test"}, "vocabulary_splits must be one of train, all, got 'test'"),
        ({"batch": 0}, "batch must be a number of at least 1, got 0"),
        ({"unchanged": 1.5}, "unchanged must be a number from 0 to 1, got 1.5"),
        ({"unchanged": "few"}, "unchanged must be a number from 0 to 1, got 'few'"),
        ({"patience": None}, "patience must be a number of at least 0, got None"),
        ({"epochs": 0}, "nothing to train: give steps or epochs"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ({"model": {"name": "mmodalc"}}, "unknown model 'mmodalc'.*did you mean 'mmodalcc'"),
        ({"model": {"name": "mmodalcc", "dims": 3}}, "model 'mmodalcc' cannot be built: .*'dims'"),
        ({"backbone": {"name": "resnet10", "weights": "none"}}, "cannot be built: unknown backbone 'resnet10'"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_written(configured, change, message):
    config = configured(**change)
    with pytest.raises(ConfigError, match=message):
        run(config)
    assert not training.Path(config["out"]).exists()


def test_a_wrong_score_is_refused_before_the_data_are_read(configured):
    config = configured(score="bleu")
    config["data"]["root"] = "/nowhere"
    with pytest.raises(ConfigError, match="score must be one of"):
        run(config)


def test_weights_that_are_not_there_stop_the_run_before_the_data_are_read(configured):
    config = configured()
    config["backbone"]["weights"], config["data"]["root"] = "/nowhere/resnet.safetensors", "/nowhere"
    with pytest.raises(WeightsUnavailableError, match=r"/nowhere/resnet\.safetensors, which is no file"):
        run(config)


def test_a_run_begins_with_the_weights_of_the_file_it_was_given(configured, tmp_path):
    torch.manual_seed(5)
    given = timm.create_model("test_resnet").state_dict()
    save_file(given, tmp_path / "tiny.safetensors")
    backbone = {"name": "test_resnet", "stride": 8, "weights": str(tmp_path / "tiny.safetensors")}
    out = run(configured(steps=1, lr=0.0, backbone=backbone))
    (tmp_path / "tiny.safetensors").unlink()  # a checkpoint needs it no more
    trunk = checkpoint.load(out / "last")[0].backbones["rgb"].trunk.state_dict()
    same = [name for name, value in trunk.items() if value.ndim > 1 and torch.equal(value, given[name])]
    assert len(same) == sum(value.ndim > 1 for value in trunk.values()) > 3


def test_a_file_of_another_backbone_stops_the_run_before_the_data_are_read(configured, tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    config = configured()
    config["backbone"]["weights"], config["data"]["root"] = str(tmp_path / "other.safetensors"), "/nowhere"
    with pytest.raises(WeightsUnavailableError, match=r"other\.safetensors does not fit the backbone 'resnet10t'"):
        run(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run to resume in .*: it has no config.json"),
        ("{", "config.json is empty or broken JSON"),
        ('{"model": {}}', "is not that of a run; resume=RUN wants the folder that holds best and last"),
    ],
)
def test_only_the_folder_of_a_run_resumes(configured, tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        run(configured(resume=str(tmp_path)))


def test_a_pair_is_encoded_once_and_never_once_per_caption(configured, monkeypatch):
    model, encoded, decoded = zoo.model_class("mmodalcc"), [], []
    encode, decode = model.encode, model.decode

    def count_pairs(self, a, *rest):
        encoded.append(len(a)) if self.training else None
        return encode(self, a, *rest)

    def count_sentences(self, words, memory, state=None):
        decoded.append(int((words[:, 0] == 2).sum())) if self.training else None
        return decode(self, words, memory, state)

    monkeypatch.setattr(model, "encode", count_pairs)
    monkeypatch.setattr(model, "decode", count_sentences)
    config = configured(epochs=1)
    run(config)
    examples = data.load("second_cc", config["data"]["root"], "train").examples
    assert encoded == [8, 8, 4]
    assert sum(decoded) == sum(len(e.captions) for e in examples) > 2 * sum(encoded)


def test_grouping_captions_by_length_leaves_the_loss_as_it_is(configured, monkeypatch):
    config = {"epochs": 1, "model": {"name": "mmodalcc", "dim": 16, "heads": 2, "dropout": 0.0}}
    grouped = rows(run(configured("grouped", **config)))

    def together(self, captions):
        yield torch.arange(len(captions)), training._pad(captions, self.tokenizer.pad)

    monkeypatch.setattr(training._Run, "_sentences", together)
    padded = rows(run(configured("padded", **config)))
    assert grouped[0]["loss"] == pytest.approx(padded[0]["loss"], abs=1e-5)


def test_the_loss_is_the_mean_over_the_words_of_all_captions(configured, monkeypatch):
    config = configured(steps=1, batch=20, label_smoothing=0.1)
    words = zoo.model_class("mmodalcc").decode

    def flat(self, ids, memory, state=None):  # as if every word were equally likely
        logits, state = words(self, ids, memory, state)
        return logits * 0, state

    monkeypatch.setattr(zoo.model_class("mmodalcc"), "decode", flat)
    out = run(config)
    assert rows(out)[0]["loss"] == pytest.approx(math.log(len(changecap.load(out).vocabulary)), abs=1e-5)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    assert [schedule(step, 4, 12) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule(4, 4, 12) == 1.0
    assert schedule(8, 4, 12) == pytest.approx(0.5)
    assert schedule(6, 4, 12) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert schedule(12, 4, 12) == 0.0
    assert schedule(0, 0, 12) == 1.0


def test_the_learning_rate_of_every_step_is_that_of_the_schedule(whole):
    expected = [3e-3 * schedule(step, 2, 6) for step in range(6)]
    assert [row["lr"] for row in rows(whole)] == pytest.approx(expected)


@pytest.mark.parametrize("inputs", ["rgb", "maps"])
def test_a_captioner_trains_on_images_or_on_maps_alone(configured, inputs):
    out = run(configured(inputs=inputs, steps=1))
    assert checkpoint.read_config(out / "last")["inputs"] == changecap.load(out).inputs == inputs


def test_images_alone_need_no_maps_on_disk(configured, root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "pairs", ignore=shutil.ignore_patterns("sem"))
    config = configured(steps=1, inputs="rgb")
    config["data"]["root"] = str(copy)
    run(config)
    with pytest.raises(DataError, match=r"no land-cover map 0\.png in .*inputs=rgb"):
        run(config | {"inputs": "both", "out": str(tmp_path / "other")})


def test_the_vocabulary_is_of_the_training_split_or_of_all(configured, whole):
    every = changecap.load(run(configured(steps=1, vocabulary_splits="all"))).vocabulary.words
    assert set(every) - set(changecap.load(whole).vocabulary.words) == {"val", "test", "only"}


def test_a_vocabulary_of_all_splits_misses_none_silently(configured, root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "pairs")
    (copy / "test" / "rgb" / "A" / "0.png").unlink()
    config = configured(vocabulary_splits="all")
    config["data"]["root"] = str(copy)
    with pytest.raises(DataError, match=r"no image 0.png in .*test"):
        run(config)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_the_older_checkpoint(configured, monkeypatch):
    fsync, saved = os.fsync, []

    def full(descriptor):
        if (training.Path(configured()["out"]) / "last" / "config.json").exists():
            saved.append(1)
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="the disk is full; the one before is untouched"):
        run(configured(validate_every=2))
    monkeypatch.undo()
    out = training.Path(configured()["out"])
    assert saved
    assert checkpoint.load_training(out / "last")["step"] == 2
    assert rows(run(configured(resume=str(out))))[-1]["step"] == 6


def test_a_folder_that_cannot_be_written_is_named(configured, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match=r"the run cannot be written to .*run"):
        run(configured())


class Board:
    def __init__(self):
        self.scalars, self.closed = [], False

    def add_scalar(self, name, value, step):
        assert not self.closed
        self.scalars.append((name, step))

    def close(self):
        self.closed = True


@pytest.mark.parametrize("cut", [False, True])
def test_the_board_gets_every_number_and_is_closed_whatever_happens(configured, monkeypatch, cut):
    board = Board()
    monkeypatch.setattr("changecap.training.history._board", lambda out, step: board)
    if cut:
        at_step(monkeypatch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            run(configured())
    else:
        run(configured())
    assert {("loss", 1), ("lr", 4), ("CIDEr", 3)} <= set(board.scalars)
    assert board.closed


def test_progress_goes_to_stderr_alone(configured, capsys):
    run(configured(epochs=1, preload=False))
    assert capsys.readouterr() == ("", "")
    train(configured("shown", epochs=1), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "captions/s" in err
    assert "step 3: validation CIDEr" in err


def test_an_epoch_sees_the_share_of_unchanged_pairs_that_is_asked_for_and_others_each_time(root, tmp_path, monkeypatch):
    seen, real = [], training._Run._step

    def recorded(self, pairs, *arguments):
        seen.append((self.step, list(pairs)))
        return real(self, pairs, *arguments)

    monkeypatch.setattr(training._Run, "_step", recorded)
    run(describe(root, tmp_path / "run", unchanged=0.4, epochs=6, batch=7))
    assert [step for step, _ in seen] == list(range(12))  # 10 changed pairs and 4 of 10 others in two steps
    quiet = set()
    for epoch in range(6):
        pairs = [i for _, batch in seen[2 * epoch : 2 * epoch + 2] for i in batch]
        assert [i for i in sorted(pairs) if i % 2 == 0] == list(range(0, 20, 2))
        assert len(pairs) == len(set(pairs)) == 14
        quiet.update(i for i in pairs if i % 2)
    assert len(quiet) > 7


def test_nothing_left_to_train_on_is_said(tmp_path):
    root = write_pairs(tmp_path / "pairs")
    file = root / "SECOND-CC-AUG.json"
    told = json.loads(file.read_text())
    told["images"] = [
        entry | {"changeflag": 0, "sentences": [{"raw": SAME[0], "tokens": SAME[0].split()}]}
        for entry in told["images"]
    ]
    file.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"no pair to train on.*unchanged=0"):
        run(describe(root, tmp_path / "run", unchanged=0))
