import errno
import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from threading import Thread

import pytest
import torch
from safetensors.torch import load_file

import zoo
from changecap.checkpoints import checkpoint
from changecap.errors import CheckpointError
from changecap.language.vocabulary import Vocabulary

ARGUMENTS = {
    "name": "mmodalcc",
    "inputs": "rgb",
    "image_size": 32,
    "dim": 16,
    "heads": 2,
    "layers": 1,
    "backbone": {"name": "resnet10t", "stride": 8, "options": {"channels": [8, 12, 16, 20], "stem_width": 8}},
}
CONFIG = {"model": ARGUMENTS, "inputs": "rgb", "size": 32}
STATE = {0: torch.ones(2)}
TRAINING = {"step": 3, "best": 0.5, "rng": torch.arange(4, dtype=torch.uint8), "optimiser": {"state": STATE}}
WORDS = Vocabulary.build(["a tree is gone", "nothing changed"])


def build(seed=0):
    torch.manual_seed(seed)
    return zoo.create_model(vocab=len(WORDS), **ARGUMENTS).eval()


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def folder(model, tmp_path):
    checkpoint.save(tmp_path / "saved", model, WORDS, CONFIG, training=TRAINING)
    return tmp_path / "saved"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def head(folder):
    return checkpoint.load(folder)[0].state_dict()["words.head.weight"]


def file_of(folder, kind):
    entry = json.loads((folder / "config.json").read_text())["files"][kind]
    return folder / entry["file"]


def rewrite(folder, **changes):
    """Alter the configuration and give it the right hash again."""
    content = json.loads((folder / "config.json").read_text()) | changes
    content["sha256"] = checkpoint._hash_json({k: v for k, v in content.items() if k != "sha256"})
    (folder / "config.json").write_text(json.dumps(content))


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_loaded_answers_as_what_was_saved(model, folder):
    loaded, vocabulary, config = checkpoint.load(folder)
    a, b = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    words = torch.randint(0, len(WORDS), (2, 5), generator=torch.Generator().manual_seed(2))
    assert not loaded.training
    assert torch.equal(loaded(words, a, b), model(words, a, b))
    assert vocabulary.words == WORDS.words
    assert {key: config[key] for key in CONFIG} == CONFIG


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_tensor_of_every_model_comes_back(name, tmp_path):
    arguments = {key: ARGUMENTS[key] for key in ("image_size", "dim", "heads", "backbone")}
    model = zoo.create_model(name, vocab=len(WORDS), **arguments).eval()
    checkpoint.save(tmp_path, model, WORDS, {"model": {"name": name, **arguments}})
    loaded = checkpoint.load(tmp_path)[0]
    for kind in ("named_parameters", "named_buffers"):  # of buffers also those that are computed, not stored
        there, wanted = dict(getattr(loaded, kind)()), dict(getattr(model, kind)())
        assert there.keys() == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(there[key], value, rtol=0, atol=0, msg=key)


def test_what_is_loaded_can_be_trained_further(tmp_path):
    backbone = ARGUMENTS["backbone"] | {"freeze": 2}
    config = CONFIG | {"model": ARGUMENTS | {"backbone": backbone}}
    model = zoo.create_model(vocab=len(WORDS), **config["model"])
    checkpoint.save(tmp_path, model, WORDS, config)
    loaded = checkpoint.load(tmp_path)[0].train()
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert [name for name, p in loaded.named_parameters() if not p.requires_grad] == frozen
    before = {name: p.detach().clone() for name, p in loaded.named_parameters()}
    words = torch.full((1, 4), WORDS.unk)
    loaded(words, *torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    torch.optim.SGD([p for p in loaded.parameters() if p.grad is not None], lr=0.1).step()
    changed = {name for name, p in loaded.named_parameters() if not torch.equal(p, before[name])}
    assert {"words.head.weight", "words.embedding.weight"} <= changed
    assert not changed & set(frozen)


def test_what_is_loaded_outlives_its_files(model, folder):
    loaded = checkpoint.load(folder)[0]
    with file_of(folder, "weights").open("r+b") as file:
        file.truncate(0)  # of a mapped file the pages would go with it
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_weights_of_half_precision_are_loaded_as_full(model, tmp_path):
    checkpoint.save(tmp_path, build().half(), WORDS, CONFIG)
    loaded = checkpoint.load(tmp_path)[0]
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.words.head.weight, model.words.head.weight, rtol=1e-3, atol=1e-3)


def test_what_another_thread_builds_during_a_load_has_memory(folder, monkeypatch):
    built, real = [], zoo.create_model

    def both(**arguments):
        thread = Thread(target=lambda: built.append(torch.nn.Linear(2, 2)))
        thread.start()
        thread.join()
        return real(**arguments)

    monkeypatch.setattr(zoo, "create_model", both)
    checkpoint.load(folder)
    assert built[0].weight.device.type == "cpu"


PEAK = """
import sys
def peak():  # not getrusage: its ru_maxrss begins with that of the process that started this one
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) * 1024
import changecap.inference.captioner, zoo.mmodalcc
before = peak()
captioner = changecap.load(sys.argv[1])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_load_holds_the_weights_once(tmp_path):
    config = CONFIG | {"model": ARGUMENTS | {"dim": 512, "layers": 3}}
    model = zoo.create_model(vocab=len(WORDS), **config["model"])
    checkpoint.save(tmp_path, model, WORDS, config)
    took = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, check=True, timeout=120)
    assert 0.9 < int(took.stdout) / file_of(tmp_path, "weights").stat().st_size < 1.4


def test_the_training_state_comes_back(folder):
    state = checkpoint.load_training(folder)
    assert (state["step"], state["best"]) == (3, 0.5)
    assert torch.equal(state["rng"], TRAINING["rng"])
    assert torch.equal(state["optimiser"]["state"][0], torch.ones(2))


def test_a_checkpoint_without_training_state_says_where_one_is_kept(model, tmp_path):
    checkpoint.save(tmp_path, model, WORDS, CONFIG)
    with pytest.raises(CheckpointError, match="holds no training state; resume from the run's folder"):
        checkpoint.load_training(tmp_path)


def test_nothing_in_a_checkpoint_needs_pickle(model, folder):
    weights = load_file(file_of(folder, "weights"))
    assert weights.keys() == model.state_dict().keys()
    assert json.loads(file_of(folder, "vocabulary").read_text()) == WORDS.words
    assert torch.load(file_of(folder, "training"), weights_only=True).keys() == TRAINING.keys()


def test_a_training_state_that_runs_code_is_not_run(model, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    checkpoint.save(tmp_path / "saved", model, WORDS, CONFIG, training={"bomb": Bomb()})
    with pytest.raises(pickle.UnpicklingError):
        checkpoint.load_training(tmp_path / "saved")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["weights", "vocabulary", "training"])
def test_a_missing_file_is_named(folder, kind):
    path = file_of(folder, kind)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"^{path} is missing: a checkpoint is a whole folder, copy all of it"):
        (checkpoint.load_training if kind == "training" else checkpoint.load)(folder)


@pytest.mark.parametrize("kind", ["weights", "vocabulary", "training"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_is_noticed(folder, kind, place):
    path = file_of(folder, kind)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{path} is damaged: SHA-256 .*; copy it anew"):
        (checkpoint.load_training if kind == "training" else checkpoint.load)(folder)


def test_any_flipped_bit_of_the_configuration_is_noticed(folder):
    path, unnoticed = folder / "config.json", []
    whole = path.read_bytes()
    before = json.loads(whole)
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            if checkpoint.read_config(folder) != before:  # between the tokens of JSON a bit may mean nothing
                unnoticed.append(place)
        except CheckpointError:
            pass
    assert not unnoticed


def test_a_cut_weights_file_is_noticed(folder):
    path = file_of(folder, "weights")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(folder)


def test_a_vocabulary_of_another_size_than_the_weights_is_named(folder):
    path = file_of(folder, "vocabulary")
    path.write_text(json.dumps([*WORDS.words, "extra"]))
    files = json.loads((folder / "config.json").read_text())["files"]
    files["vocabulary"]["sha256"] = checkpoint.hash_file(path)
    rewrite(folder, files=files)
    count = len(WORDS)
    with pytest.raises(CheckpointError, match=f"vocabulary has {count + 1} words, the weights were made for {count}"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "is of format 99, this version reads format 1"),
        ({"model": {"name": "nonesuch"}}, "does not build its model: ValueError: unknown model 'nonesuch'"),
        ({"model": ARGUMENTS | {"wings": 2}}, "does not build its model: .*'wings'"),
        ({"model": ARGUMENTS | {"dim": 32}}, "the weights do not fit the model: .*size mismatch"),
        ({"model": ARGUMENTS | {"layers": 2}}, "the weights do not fit the model: .*Missing key"),
        ({"files": {}}, "names no file of kind 'vocabulary'"),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_explained(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


@pytest.mark.parametrize("content", ["[1, 2]", "{}", '{"name": "mine"}', "3"])
def test_the_configuration_of_something_else_is_told_from_a_damaged_one(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*: its config\.json describes something else"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"not json"])
def test_a_broken_configuration_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{tmp_path}/config.json is (empty or broken JSON|not UTF-8)"):
        checkpoint.load(tmp_path)


def test_a_folder_that_is_no_checkpoint_says_so(tmp_path):
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(
            CheckpointError, match=f"no checkpoint in {path}: it has no config.json; train one, or give"
        ):
            checkpoint.load(path)


@pytest.mark.parametrize("own", [None, '{"steps": 6}'])
def test_the_folder_of_a_run_leads_to_its_checkpoint(model, tmp_path, own):
    if own:
        (tmp_path / "config.json").write_text(own)
    checkpoint.save(tmp_path / "last", model, WORDS, CONFIG)
    with pytest.raises(CheckpointError, match=f"no checkpoint in {tmp_path}.*; there is one in {tmp_path}/last"):
        checkpoint.load(checkpoint.best_of(tmp_path))
    checkpoint.save(tmp_path / "best", model, WORDS, CONFIG)
    with pytest.raises(CheckpointError, match=f"there is one in {tmp_path}/best"):
        checkpoint.load(tmp_path)
    assert checkpoint.best_of(tmp_path) == tmp_path / "best"
    assert checkpoint.best_of(tmp_path / "last") == tmp_path / "last"


def test_a_save_replaces_the_files_of_the_one_before_and_leaves_those_of_others(folder):
    foreign = ["README.md", "model.safetensors.index.json", "models", "training_notes.txt", "vocabulary.json"]
    for name in foreign:
        (folder / name).mkdir() if name == "models" else (folder / name).write_text("mine")
    before = names(folder)
    checkpoint.save(folder, build(1), WORDS, CONFIG)
    after = names(folder)
    assert len(after) == len(before) - 1  # no training state this time
    assert set(foreign) < set(after)
    assert torch.equal(head(folder), build(1).words.head.weight)


def test_saving_the_same_again_changes_nothing(model, folder):
    before = {name: (folder / name).read_bytes() for name in names(folder) if not name.endswith(".pt")}
    checkpoint.save(folder, model, WORDS, CONFIG, training=TRAINING)
    assert {name: (folder / name).read_bytes() for name in names(folder) if not name.endswith(".pt")} == before


def test_what_a_killed_save_left_goes_with_the_next(model, folder):
    stale = ["config.json.new", "model-0123456789abcdef.safetensors.new", "training-0123456789abcdef.pt"]
    for name in stale:
        (folder / name).write_bytes(b"half")
    checkpoint.save(folder, model, WORDS, CONFIG, training=TRAINING)
    assert not set(stale) & set(names(folder))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("after", range(4))
def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_half_written(model, folder, monkeypatch, call, after):
    real, calls = getattr(os, call), []

    def fails(*arguments):
        calls.append(arguments)
        return real(*arguments) if len(calls) <= after else full()

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(CheckpointError, match=r"written to .*: the disk is full; the one before is untouched"):
            checkpoint.save(folder, build(1), WORDS, CONFIG, training={"step": 4})
    assert not [name for name in names(folder) if name.endswith(".new")]
    assert torch.equal(head(folder), model.words.head.weight)
    assert checkpoint.load_training(folder)["step"] == 3


def test_a_full_disk_of_its_own_leaves_the_old_checkpoint(model, tmp_path):
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(1.6 * size) + 65536}", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        checkpoint.save(disk / "saved", model, WORDS, CONFIG)
        before = names(disk / "saved")
        with pytest.raises(CheckpointError, match="the disk is full; the one before is untouched"):
            checkpoint.save(disk / "saved", build(1), WORDS, CONFIG, training=TRAINING)
        assert names(disk / "saved") == before
        assert torch.equal(head(disk / "saved"), model.words.head.weight)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_made_is_named(model, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CheckpointError, match=f"no checkpoint could be written to {tmp_path}/file"):
        checkpoint.save(tmp_path / "file", model, WORDS, CONFIG)


@pytest.mark.parametrize("call", ["_write", "replace", "unlink"])
def test_a_folder_loads_wherever_a_save_breaks_off(model, folder, monkeypatch, call):
    """As a kill would: every call that changes the folder is the last one once."""

    class Killed(BaseException):
        pass

    owner = {"_write": checkpoint, "replace": os, "unlink": checkpoint.Path}[call]
    real = getattr(owner, call)
    for last in range(5):
        calls = []

        def dies(*arguments, _last=last, _calls=calls, **options):
            if len(_calls) == _last:
                if call == "_write":
                    whole = b"".join(arguments[1])
                    arguments[0].write_bytes(whole[: len(whole) // 2])
                raise Killed
            _calls.append(1)
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, dies)
            with suppress(Killed):
                checkpoint.save(folder, build(1 + last % 2), WORDS, CONFIG, training={"step": last})
        checkpoint.load(folder)
        checkpoint.load_training(folder)


KILLS = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
from test_checkpoints_checkpoint import *

torch.set_num_threads(1)  # a fork inherits no threads
folder, models, delays = checkpoint.Path(sys.argv[1]), (build(1), build(2)), random.Random(0)
for kill in range(12):
    ready, begun = os.pipe()
    child = os.fork()
    while child == 0:
        for step, model in enumerate(models):
            checkpoint.save(folder, model, WORDS, CONFIG, training=TRAINING | {"step": step})
            os.write(begun, b".")
    os.close(begun)
    os.read(ready, 1)
    time.sleep(delays.uniform(0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    expected = models[checkpoint.load_training(folder)["step"]].words.head.weight
    assert torch.equal(head(folder), expected)
print("loaded after every kill")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that are killed are forked")
def test_a_folder_loads_after_kill_9_at_any_moment_of_a_save(tmp_path):
    launch = [sys.executable, "-c", KILLS, str(tmp_path / "saved"), os.path.dirname(__file__)]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=120)
    assert done.stdout == "loaded after every kill\n", done.stderr
