import socket
from threading import Event

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from changecap.checkpoints import weights
from changecap.checkpoints.weights import resolve, verify
from changecap.errors import WeightsUnavailableError
from zoo.layers.backbone import Backbone

TINY, REPOSITORY = "test_resnet", "timm/test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No network, empty caches; returns the hosts that were tried."""
    tried = []

    def refuse(address, timeout=None):
        tried.append(address)
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(weights, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tried


@pytest.fixture(scope="module")
def published():
    """What timm would download: a whole classifier."""
    torch.manual_seed(7)
    model = timm.create_model(TINY).eval()
    for name, value in model.state_dict().items():
        if "running" in name:
            value += 0.3
    return model


@pytest.fixture
def file(published, tmp_path):
    save_file(published.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def cache(tmp_path, content, name="model.safetensors"):
    """Put ``content`` where the hub's client keeps what it downloaded."""
    folder = tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    path = folder / "snapshots" / ("0" * 40) / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_none_is_no_file():
    assert resolve("resnet101", "none") is None


def test_a_path_is_that_file(file):
    assert resolve(TINY, str(file)) == file


@pytest.mark.parametrize("name", ["gone.safetensors", "."])
def test_a_path_that_is_no_file_is_named_with_the_ways_out(tmp_path, name):
    with pytest.raises(WeightsUnavailableError) as caught:
        resolve("resnet101", str(tmp_path / name))
    for part in ("'resnet101'", f"{tmp_path / name}, which is no file", "backbone.weights=PATH", "weights=none"):
        assert part in str(caught.value)


def test_without_a_network_the_hub_is_tried_once_and_the_ways_out_are_named(alone, tmp_path):
    with pytest.raises(WeightsUnavailableError) as caught:
        resolve("resnet101", "pretrained")
    assert alone == [("huggingface.co", 443)]
    for part in (
        "no weights for the backbone 'resnet101'",
        "timm/resnet101.a1h_in1k on the hub (model.safetensors), which cannot be reached",
        "backbone.weights=PATH",
        f"fill the cache {tmp_path / 'hub'}",
        "backbone.weights=none",
    ):
        assert part in str(caught.value)


def test_offline_mode_of_the_hub_asks_no_host(alone, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailableError, match="which cannot be reached"):
        resolve("resnet101", "pretrained")
    assert alone == []


def test_a_name_that_takes_long_to_look_up_is_not_waited_for(monkeypatch):
    asked, answer = Event(), Event()

    def hang(*_, **__):
        asked.set()
        answer.wait()
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(weights, "PATIENCE", 0.05)
    with pytest.raises(WeightsUnavailableError, match="which cannot be reached"):
        resolve("resnet101", "pretrained")
    assert asked.is_set()
    answer.set()


def test_behind_a_proxy_it_is_the_proxy_that_must_answer(alone, monkeypatch):
    monkeypatch.setattr(weights, "getproxies", lambda: {"https": "http://proxy.example:3128"})
    with pytest.raises(WeightsUnavailableError):
        resolve("resnet101", "pretrained")
    assert alone == [("proxy.example", 3128)]


@pytest.mark.parametrize("error", [RuntimeError("401 Unauthorised"), ConnectionResetError("cut off")])
def test_whatever_the_hub_answers_ends_in_one_kind_of_error_and_no_second_try(monkeypatch, error):
    calls = []

    def fail(*arguments, **options):
        calls.append(arguments)
        raise error

    monkeypatch.setattr(weights, "_answers", lambda url: True)
    monkeypatch.setattr(weights, "hf_hub_download", fail)
    with pytest.raises(WeightsUnavailableError, match=f"{REPOSITORY} on the hub .*: {error}"):
        resolve(TINY, "pretrained")
    assert calls == [(REPOSITORY, "model.safetensors")]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_cache_of_the_hub_needs_no_network(alone, tmp_path, name):
    path = cache(tmp_path, b"weights", name)
    assert resolve(TINY, "pretrained") == path
    assert alone == []


def test_the_cache_of_torch_hub_needs_no_network(alone, tmp_path):
    path = tmp_path / "torch" / "hub" / "checkpoints" / "resnet101_a1h-36d3f2aa.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert resolve("resnet101", "pretrained") == path
    assert alone == []


def test_weights_that_are_published_by_address_alone_are_tried_there(alone, tmp_path):
    with pytest.raises(
        WeightsUnavailableError, match=r"tried https?://.*seresnet18.*\.pth, which cannot be reached"
    ) as e:
        resolve("legacy_seresnet18", "pretrained")
    assert f"fill the cache {tmp_path / 'torch' / 'hub' / 'checkpoints'}" in str(e.value)
    assert len(alone) == 1


@pytest.mark.parametrize("name", ["resnet10", "features"])
def test_a_backbone_without_published_weights_says_so(alone, name):
    with pytest.raises(WeightsUnavailableError, match=f"'{name}': tried timm, which publishes no weights for it"):
        resolve(name, "pretrained")
    assert alone == []


def test_weights_from_the_cache_give_the_outputs_of_the_published_model(published, file, tmp_path):
    path = resolve(TINY, "pretrained") if cache(tmp_path, file.read_bytes()) else None
    verify(path, TINY)
    trunk = Backbone(TINY, stride=16, normalise="none", weights=str(path)).eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = published.forward_intermediates(x, indices=[-2], intermediates_only=True)[0]
    assert expected.shape == (2, trunk.channels, 4, 4)
    assert torch.equal(trunk(x), expected)


def test_seven_planes_get_the_first_convolution_of_timm(file):
    trunk = Backbone(TINY, stride=16, normalise="none", in_chans=7, weights=str(file)).eval()
    options = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}, "in_chans": 7}
    theirs = timm.create_model(TINY, **options).eval()
    x = torch.rand(2, 7, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = theirs.forward_intermediates(x, indices=[-2], intermediates_only=True)[0]
    assert torch.equal(trunk(x), expected)


def test_a_file_that_fits_is_accepted_with_or_without_its_classifier(published, file, tmp_path):
    verify(file, TINY)
    bare = {name: value for name, value in published.state_dict().items() if not name.startswith("fc.")}
    save_file(bare, tmp_path / "bare.safetensors")
    verify(tmp_path / "bare.safetensors", TINY)


def test_checking_a_file_draws_no_random_numbers(file):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    verify(file, TINY)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_that_leaves_weights_at_random_is_refused(published, tmp_path):
    path = tmp_path / "other.safetensors"
    for keep in (lambda name: not name.startswith("layer3"), lambda name: False):
        save_file({n: v for n, v in published.state_dict().items() if keep(n)} | {"x": torch.ones(1)}, path)
        with pytest.raises(
            WeightsUnavailableError, match=rf"{path} does not fit .*'{TINY}': it lacks \d+ of \d+ weights"
        ):
            verify(path, TINY)


def test_a_file_of_other_shapes_is_refused(published, tmp_path):
    path = tmp_path / "wide.safetensors"
    save_file({n: torch.cat([v, v]) if v.ndim > 1 else v for n, v in published.state_dict().items()}, path)
    with pytest.raises(WeightsUnavailableError, match=f"{path} does not fit the backbone '{TINY}': .*size mismatch"):
        verify(path, TINY)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, suffix):
    path = tmp_path / f"page{suffix}"
    path.write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(WeightsUnavailableError, match=f"{path} does not fit the backbone '{TINY}'"):
        verify(path, TINY)
