"""Weights of published backbones give the same maps here as where they come from."""

import re

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vision_transformer import VisionTransformer, vit_b_32
from torchvision.transforms.functional import resize

from zoo.layers.backbone import Backbone
from zoo.published import convert_trunk, rename

SMALL_VIT = {"embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": 64}


def randomise(net, size):
    """Fill ``net`` such that no weight is at a value that hides another, and its statistics fit its maps."""
    for p in net.parameters():
        p.data += 0.02 * torch.randn_like(p)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # average of all it has seen
    with torch.no_grad():
        net.train()(torch.rand(2, 3, size, size))
    return net.eval()


def theirs(net, name, children):
    """The trunk as the authors' codes build it of torchvision's ResNet, and its weights under their names."""
    trunk = nn.ModuleDict({name: nn.Sequential(*list(net.children())[:children])})
    return trunk[name], trunk.state_dict()


def agree(ours, wanted):
    torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("size", "layers", "width"),
    [(64, (1, 2, 1, 1), 8), pytest.param(256, (3, 4, 23, 3), 64, marks=pytest.mark.slow)],
    ids=["small", "resnet101"],
)
@pytest.mark.parametrize(("name", "children", "stride"), [("net", 7, 16), ("cnn", 8, 32)])
@torch.no_grad()
def test_a_resnet_under_the_authors_names_gives_the_same_map(name, children, stride, size, layers, width):
    whole = randomise(ResNet(Bottleneck, list(layers), width_per_group=width), 64)
    net, state = theirs(whole, name, children)
    options = {"layers": layers, "base_width": width}
    ours = Backbone("resnet101", stride=stride, normalise="none", options=options).eval()
    assert ours.load_trunk(convert_trunk(state)) == []
    x = torch.rand(1, 3, size, size)
    agree(ours(x), net(x))
    assert ours.grid(size) == size // stride


@torch.no_grad()
def test_a_whole_resnet_of_torchvision_fills_a_trunk_and_what_is_behind_the_cut_is_told():
    net = randomise(ResNet(BasicBlock, [1, 1, 1, 1]), 32)
    ours = Backbone("resnet18", stride=16, normalise="none", options={"layers": (1, 1, 1, 1)}).eval()
    left = ours.load_trunk(convert_trunk(net.state_dict()))
    assert {key.split(".")[0] for key in left} == {"layer4"}
    x = torch.rand(1, 3, 32, 48)
    agree(ours(x), nn.Sequential(*list(net.children())[:7])(x))


@pytest.mark.parametrize(
    ("net", "options", "antialias"),
    [
        pytest.param(lambda: VisionTransformer(64, 32, 3, 2, 24, 96), SMALL_VIT, True, id="small, antialiased"),
        pytest.param(lambda: VisionTransformer(64, 32, 3, 2, 24, 96), SMALL_VIT, False, id="small, not"),
        pytest.param(lambda: vit_b_32(weights=None), {}, False, id="vit_b_32", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_a_vit_under_the_authors_names_gives_the_same_map_of_resized_images(net, options, antialias):
    net = net()
    side = net.image_size
    state = {f"net.{key}": value for key, value in randomise(net, side).state_dict().items()}
    trunk = {"stride": 32, "normalise": "none", "resize": side, "antialias": antialias, "options": options}
    ours = Backbone("vit_base_patch32_224", **trunk).eval()
    assert ours.load_trunk(convert_trunk(state)) == []
    x = torch.rand(1, 3, 256, 256)
    patches = net._process_input(resize(x, [side, side], antialias=antialias))
    tokens = net.encoder(torch.cat([net.class_token.expand(1, -1, -1), patches], dim=1))[:, 1:]
    grid = side // 32
    agree(ours(x), tokens.transpose(1, 2).unflatten(2, (grid, grid)))
    assert ours.grid(256) == grid


def test_keys_of_something_else_are_named():
    with pytest.raises(ValueError, match=r"2 keys are not of a ResNet or ViT of torchvision: net\.9\.weight, head"):
        convert_trunk({key: torch.zeros(1) for key in ("net.9.weight", "head", "conv1.weight")})
    with pytest.raises(ValueError, match=re.escape("1 keys are not of a published mmodalcc: decoder.lstm")):
        rename("mmodalcc", ["decoder.lstm", "decoder.wdc.bias"])
