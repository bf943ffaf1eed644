import json
import socket
import time

import pytest
import torch
from huggingface_hub import constants

import changecap
import zoo
from changecap import Captioner
from changecap.checkpoints import checkpoint, weights
from changecap.errors import CheckpointError, ConfigError, WeightsUnavailableError
from changecap.language.vocabulary import Vocabulary

WORDS = Vocabulary.build(["a house is built"])
BACKBONE = {"name": "resnet10t", "stride": 8, "options": {"channels": [8, 12, 16, 20], "stem_width": 8}}
MODEL = {"name": "rsiccformer", "image_size": 32, "dim": 16, "heads": 2, "layers": 1, "backbone": BACKBONE}
CONFIG = {"model": MODEL, "inputs": "rgb", "size": 32, "data": {"name": "synth", "root": "/home/someone/secret"}}
COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """No network and an empty cache."""

    def refuse(address, timeout=None):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(weights, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def captioner():
    torch.manual_seed(0)
    return Captioner(zoo.create_model(vocab=len(WORDS), **MODEL).eval(), WORDS, CONFIG)


def publish(captioner, hub, repository):
    """Save ``captioner`` where the hub's client keeps what it downloaded."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    captioner.save(folder / "snapshots" / COMMIT)
    return folder / "snapshots" / COMMIT


def test_a_saved_captioner_has_the_files_of_the_hub(captioner, tmp_path):
    captioner.save(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"config.json", "model.safetensors", "vocabulary.json", "README.md"}
    captioner.save(tmp_path / "saved")  # and is replaced
    assert changecap.load(tmp_path / "saved").vocabulary.words == WORDS.words


def test_the_card_says_what_is_known_and_what_is_not(captioner, tmp_path):
    captioner.config["validation"] = {"CIDEr": 1.25}
    captioner.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: changecap\n")
    for part in (
        "# rsiccformer",
        "seen at 32 x 32 pixels",
        f"{len(WORDS)} words",
        "CIDEr 1.2500",
        "Licence",
        '"synth"',
    ):
        assert part in card
    assert "secret" not in card
    captioner.config["validation"] = {"CIDEr": None}
    captioner.save(tmp_path / "saved")
    assert "none recorded; `changecap evaluate`" in (tmp_path / "saved" / "README.md").read_text()


def test_a_captioner_in_the_cache_works_without_a_network(captioner, hub):
    publish(captioner, hub, "someone/houses")
    loaded = changecap.load("hf-hub:someone/houses")
    a, b = torch.rand(2, 3, 32, 32)
    assert loaded(a, b) == captioner(a, b)


def test_a_model_is_created_with_its_weights_in_the_cache_or_from_a_folder(captioner, hub, tmp_path):
    folder = publish(captioner, hub, "changecap/rsiccformer")
    for pretrained in (True, "hf-hub:changecap/rsiccformer", str(folder)):
        model = changecap.create_model("rsiccformer", pretrained=pretrained)
        assert not model.training
        assert all(torch.equal(x, y) for x, y in zip(model.parameters(), captioner.model.parameters(), strict=True))


def test_a_model_that_is_not_pretrained_takes_its_arguments():
    arguments = {key: value for key, value in MODEL.items() if key != "name"}
    assert changecap.create_model("rsiccformer", vocab=9, **arguments).words.head.bias.shape == (9,)
    with pytest.raises(ConfigError, match="pretrained weights settle dim, heads"):
        changecap.create_model("rsiccformer", pretrained=True, dim=3, heads=1)
    with pytest.raises(ValueError, match="unknown model 'rsicformer'"):
        changecap.create_model("rsicformer", pretrained=True)


def test_weights_of_another_model_are_refused(captioner, tmp_path):
    captioner.save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match="holds a rsiccformer, not a psnet"):
        changecap.create_model("psnet", pretrained=str(tmp_path / "saved"))


@pytest.mark.parametrize("partly", [False, True])
def test_without_network_and_cache_the_ways_out_are_named_at_once(captioner, hub, partly):
    if partly:
        (publish(captioner, hub, "changecap/rsiccformer") / "model.safetensors").unlink()
    start = time.perf_counter()
    with pytest.raises(WeightsUnavailableError) as caught:
        changecap.create_model("rsiccformer", pretrained=True)
    assert time.perf_counter() - start < 2
    tried = "changecap/rsiccformer on the hub, which cannot be reached"
    ways = ("give the folder of a captioner", f"fill the cache {hub}", "or train one with changecap train")
    for part in (tried, *ways):
        assert part in str(caught.value)


def test_weights_that_were_altered_in_the_cache_are_an_error(captioner, hub):
    path = publish(captioner, hub, "someone/houses") / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: SHA-256"):
        changecap.load("hf-hub:someone/houses")


def test_a_configuration_that_points_outside_its_folder_is_refused(captioner, hub):
    path = publish(captioner, hub, "someone/houses") / "config.json"
    content = json.loads(path.read_text())
    content["files"]["weights"]["file"] = "../../elsewhere.safetensors"
    content["sha256"] = checkpoint._hash_json({k: v for k, v in content.items() if k != "sha256"})
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="elsewhere"):
        changecap.load("hf-hub:someone/houses")


@pytest.mark.parametrize("name", ["", "houses", "a/b/c", "../x/y", "some one/x", "a//b"])
def test_what_is_no_repository_is_told(name):
    with pytest.raises(ConfigError, match="expected hf-hub:organisation/name"):
        changecap.load(f"hf-hub:{name}")


def test_what_the_hub_sends_is_what_is_loaded(captioner, hub, monkeypatch, tmp_path):
    captioner.save(tmp_path / "saved")
    asked = []

    def download(repository, name, cache_dir):
        asked.append((repository, name))
        return str(tmp_path / "saved" / name)

    monkeypatch.setattr(weights, "_answers", lambda url: True)
    monkeypatch.setattr(weights, "hf_hub_download", download)
    assert changecap.load("hf-hub:someone/houses").vocabulary.words == WORDS.words
    assert asked == [("someone/houses", x) for x in ("config.json", "model.safetensors", "vocabulary.json")]
