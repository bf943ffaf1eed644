"""Trunks of all kinds give one map, of the size that they say, or say which sizes they take."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.layers.backbone import Backbone

VIT = {"embed_dim": 24, "depth": 3, "num_heads": 2}
SWIN = {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
SMALL = {  # one of each way in which timm reads maps: name, stride, options
    "cnn": ("resnet10t", 8, {"channels": (8, 12, 16, 20), "stem_width": 8}),
    "vit": ("vit_tiny_patch16_224", 16, VIT),
    "swin": ("swin_tiny_patch4_window7_224", 16, SWIN),
    "eva": ("eva02_tiny_patch14_224", 14, VIT),
    "rounds down": ("convnext_atto", 32, {"dims": (8, 8, 8, 8), "depths": (1, 1, 1, 1)}),
}
torch.manual_seed(0)
TRUNKS = {kind: Backbone(name, stride=s, options=options).eval() for kind, (name, s, options) in SMALL.items()}


def small(kind, **kwargs):
    name, stride, options = SMALL[kind]
    torch.manual_seed(0)
    return Backbone(name, **{"stride": stride, "options": options} | kwargs).eval()


@pytest.mark.parametrize("kind", SMALL)
@settings(max_examples=12, deadline=None)
@given(steps=st.tuples(st.integers(1, 4), st.integers(1, 4)), more=st.integers(0, 31))
def test_every_size_gives_a_map_with_rows_and_columns_where_they_belong(kind, steps, more):
    trunk = TRUNKS[kind]
    step = 32 if kind == "swin" else trunk.stride
    height, width = (step * s for s in steps)
    if kind in ("cnn", "rounds down"):
        height, width = height + more % step, width + more % step
    with torch.no_grad():
        shape = trunk(torch.rand(2, 3, height, width)).shape
    assert shape == (2, trunk.channels, trunk.grid(height), trunk.grid(width))


def test_the_grid_is_what_the_trunk_makes_of_a_size_and_no_quotient():
    assert TRUNKS["rounds down"].grid(250) == 7
    assert TRUNKS["cnn"].grid(100) == 13
    assert small("vit", pool=5).grid(224) == 5
    assert small("vit", resize=64).grid(256) == 4
    assert Backbone("features", channels=4).grid(9) == 9


def test_asking_for_the_grid_changes_nothing():
    trunk = small("cnn").train()
    before = {k: v.clone() for k, v in trunk.state_dict().items()}
    trunk.grid(64)
    assert trunk.training
    assert all(module.training for module in trunk.trunk.modules())
    assert all(v.equal(before[k]) for k, v in trunk.state_dict().items())


def test_the_grid_is_known_before_there_are_weights():
    with torch.device("meta"):
        assert small("vit").grid(64) == 4
    trunk = small("cnn")
    trunk.trunk.conv1.to("meta")  # only some have none yet
    assert trunk.grid(64) == 8


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        ("cnn", (7, 64), r"'resnet10t' with stride 8 takes no images of 7 x 64 pixels: they must be as large"),
        ("vit", (64, 15), r"stride 16 takes no images of 64 x 15 pixels"),
        ("vit", (32, 40), r"stride 16 takes no images of 32 x 40 pixels: they must be multiples of its patches' 16"),
        ("swin", (64, 66), r"stride 16 takes no images of 64 x 66 pixels: they must be multiples of its patches' 4"),
    ],
)
def test_a_size_that_a_trunk_does_not_take_is_named_with_its_stride(kind, size, said):
    with pytest.raises(ValueError, match=said):
        TRUNKS[kind](torch.rand(1, 3, *size))


def test_a_trunk_of_one_size_says_so_and_takes_others_by_option_or_resized():
    name, options = "beit_base_patch16_224", VIT
    fixed = Backbone(name, options=options).eval()
    with pytest.raises(ValueError, match=r"no images of 64 x 64 pixels: it was made for 224 x 224"):
        fixed.grid(64)
    x = torch.rand(1, 3, 64, 48)
    assert Backbone(name, options=options | {"img_size": (64, 48)})(x).shape == (1, 24, 4, 3)
    assert Backbone(name, options=options, resize=224)(x).shape == (1, 24, 14, 14)


def test_a_size_that_only_timm_knows_is_refused_when_the_grid_is_asked_for():
    trunk = Backbone("hiera_tiny_224", stride=32, options={"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1)})
    with pytest.raises(ValueError, match=r"'hiera_tiny_224' with stride 32 takes no images of 64 x 64.*timm says"):
        trunk.grid(64)


def test_a_vit_gives_its_patch_tokens_after_the_final_norm():
    x = torch.rand(2, 3, 48, 64)
    trunk = small("vit", normalise="none")
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True, **VIT).eval()
    whole.load_state_dict(trunk.trunk.model.state_dict())
    torch.nn.init.normal_(trunk.trunk.model.norm.weight)
    whole.norm = trunk.trunk.model.norm
    tokens = whole.forward_features(x)[:, whole.num_prefix_tokens :]
    torch.testing.assert_close(trunk(x), tokens.transpose(1, 2).unflatten(2, (3, 4)))


def test_a_vit_keeps_its_whole_depth():
    trunk = small("vit")
    assert len(trunk.trunk.model.blocks) == VIT["depth"]


def test_position_codes_of_a_vit_reach_every_size():
    trunk = small("vit")
    torch.nn.init.normal_(trunk.trunk.model.pos_embed)
    x = torch.rand(1, 3, 1, 1).expand(1, 3, 32, 48)  # flat: only the position tells tokens apart
    tokens = trunk(x).flatten(2)[0]
    assert torch.cdist(tokens.T, tokens.T).add(torch.eye(6) * 9).min() > 1e-2


def test_a_stride_that_a_vit_lacks_is_named_with_that_of_its_patches():
    with pytest.raises(ValueError, match=r"no map of stride 32, only \[16\]"):
        small("vit", stride=32)
    assert small("vit", stride=8, options=VIT | {"patch_size": 8})(torch.rand(1, 3, 32, 32)).shape[-2:] == (4, 4)


@pytest.mark.parametrize("antialias", [True, False])
def test_resized_input_is_what_the_trunk_sees_of_a_resized_image(antialias):
    resized, plain = small("vit", resize=48, antialias=antialias), small("vit")
    x = torch.rand(1, 3, 100, 70)
    smaller = torch.nn.functional.interpolate(x, (48, 48), mode="bilinear", antialias=antialias)
    torch.testing.assert_close(resized(x), plain(smaller), atol=1e-5, rtol=1e-4)


def test_a_frozen_vit_learns_nothing_and_half_of_one_the_later_half():
    def learnt(freeze):
        trunk = small("vit", freeze=freeze).train()
        return {name.removeprefix("trunk.model.") for name, p in trunk.named_parameters() if p.requires_grad}

    assert learnt(99) == set()
    half = learnt(2)  # the patches and the first block
    assert not any(name.startswith(("patch_embed", "pos_embed", "cls_token", "blocks.0")) for name in half)
    assert {name.split(".")[1] for name in half if name.startswith("blocks")} == {"1", "2"}
    assert "norm.weight" in half


def test_weights_are_taken_by_timms_names_and_what_lies_behind_the_cut_is_told():
    trunk = small("cnn")
    whole = timm.create_model("resnet10t", num_classes=3, channels=(8, 12, 16, 20), stem_width=8).eval()
    left = trunk.load_trunk(whole.state_dict())
    assert {name.split(".")[0] for name in left} == {"layer3", "layer4", "fc"}
    x = torch.rand(1, 3, 40, 56)
    wanted = whole.forward_intermediates((x - trunk.mean) / trunk.std, indices=[2], intermediates_only=True)[0]
    torch.testing.assert_close(trunk(x), wanted)


def test_missing_and_misshapen_weights_are_named():
    trunk = small("cnn")
    state = trunk.trunk.state_dict()
    with pytest.raises(ValueError, match=r"'resnet10t' lacks 1 weights: layer1\.0\.bn1\.bias"):
        trunk.load_trunk({k: v for k, v in state.items() if k != "layer1.0.bn1.bias"})
    with pytest.raises(ValueError, match=r"layer1\.0\.bn1\.bias of backbone 'resnet10t' must be \(8,\), got \(5,\)"):
        trunk.load_trunk(state | {"layer1.0.bn1.bias": torch.zeros(5)})


def test_an_unknown_backbone_and_a_stride_it_lacks_are_named():
    with pytest.raises(ValueError, match="unknown backbone 'resnet1000'"):
        Backbone("resnet1000")
    with pytest.raises(ValueError, match=r"no map of stride 7, only \[2, 4, 8, 16, 32\]"):
        small("cnn", stride=7)


@pytest.mark.parametrize(("kind", "side"), [("vit", 32), ("swin", 64)])
@pytest.mark.parametrize("mode", [{}, {"pre_norm": True}, {"released": True}], ids=str)
def test_mmodalcc_captions_through_a_trunk_of_transformers(kind, side, mode):
    name, stride, options = SMALL[kind]
    backbone = {"name": name, "stride": stride, "options": options}
    small = {"image_size": side, "dim": 16, "heads": 2, "dropout": 0.0}
    model = zoo.create_model("mmodalcc", vocab=9, backbone=backbone, **small, **mode).train()
    a, b = torch.rand(2, 2, 3, side, 2 * side)
    sem_a, sem_b = torch.randint(0, 7, (2, 2, side, 2 * side))
    logits = model(torch.randint(0, 9, (2, 5)), a, b, sem_a, sem_b)
    assert logits.shape == (2, 5, 9)
    logits.square().mean().backward()
    assert (
        model.backbones["rgb"]
        .trunk.get_parameter("layers_0.blocks.0.mlp.fc1.weight" if kind == "swin" else "model.blocks.0.mlp.fc1.weight")
        .grad.any()
    )


def test_weights_of_torchvision_see_images_normalised_as_imagenet():
    x = torch.rand(1, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = small("vit", normalise="none")((x - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    torch.testing.assert_close(small("vit", normalise="imagenet")(x), by_hand)
    assert not torch.allclose(small("vit")(x), by_hand, atol=1e-3)
