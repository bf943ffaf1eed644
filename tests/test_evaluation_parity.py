import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from changecap.errors import DataError
from changecap.evaluation.parity import parity, table
from zoo import published

FIXTURES = sorted((Path(__file__).parent / "golden").glob("*/public/config.json"))


@pytest.fixture(params=FIXTURES, ids=lambda p: p.parent.parent.name)
def fixture(request):
    return request.param.parent


@pytest.fixture
def copy(fixture, tmp_path):
    return Path(shutil.copytree(fixture, tmp_path / "fixture"))


def test_everything_in_the_fixture_agrees(fixture):
    checks = parity(fixture)
    assert all(check.ok for check in checks), table(checks)
    assert {"memory", "logits", "loss", "train: loss", "train: gradient norms"} <= {check.what for check in checks}


def test_a_changed_weight_is_found(copy):
    state, config = load_file(copy / "state.safetensors"), json.loads((copy / "config.json").read_text())
    names = published.rename(config["model"], list(state), config["authors_arguments"], config["channels"])
    encoder = [key for key, ours in names.items() if ours and not ours.startswith("words.")]
    state[next(key for key in encoder if state[key].is_floating_point())] += 0.1
    save_file(state, copy / "state.safetensors")
    checks = parity(copy)
    departure = next(c for c in checks if not c.ok).what
    assert departure == "memory" or departure.startswith("inside.")
    assert f"first departure: {departure}" in table(checks)


def test_a_missing_tensor_is_named(copy):
    state = load_file(copy / "state.safetensors")
    del state[next(key for key in state if key.endswith("wdc.weight"))]
    save_file(state, copy / "state.safetensors")
    with pytest.raises(DataError, match=r"words\.head\.weight"):
        parity(copy)


@pytest.mark.parametrize(("file", "tensor"), [("inputs", "b"), ("outputs", "scored"), ("outputs", "memory")])
def test_a_missing_input_or_output_is_named(copy, file, tensor):
    path = copy / f"{file}.safetensors"
    tensors = load_file(path)
    del tensors[tensor]
    save_file(tensors, path)
    with pytest.raises(DataError, match=rf"{file}\.safetensors of the fixture has no tensor {tensor}"):
        parity(copy)


def test_a_foreign_key_is_named(copy):
    state = load_file(copy / "state.safetensors")
    state["encoder_feat.stranger"] = next(iter(state.values())).clone()
    save_file(state, copy / "state.safetensors")
    with pytest.raises(ValueError, match=r"encoder_feat\.stranger"):
        parity(copy)


def test_a_wrong_sequence_is_found(copy):
    decode = json.loads((copy / "decode.json").read_text())
    mode = "beam3" if "beam3" in decode["modes"] else "greedy"  # not every published code has a beam
    decode["modes"][mode]["results"][0]["sequence"][1] = 1
    (copy / "decode.json").write_text(json.dumps(decode))
    failed = [c for c in parity(copy) if not c.ok]
    assert [c.what for c in failed] == [f"decode {mode}: sequences"]
    assert failed[0].where == "samples [0]"


def test_a_missing_or_broken_file_is_named(copy):
    (copy / "train.json").write_text("{")
    with pytest.raises(DataError, match=r"train\.json is empty or broken JSON"):
        parity(copy)
    (copy / "outputs.safetensors").unlink()
    with pytest.raises(DataError, match=r"needs outputs\.safetensors"):
        parity(copy)
