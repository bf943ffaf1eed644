"""Backbones of torchvision, and timm's names for the same."""

import math
from typing import Any

from .table import Shapes, Table, layers, shape

# torchvision's backbones, also as the authors hold them: the children of a ResNet counted, of which 2 and 3 have no
# weights, or a whole ViT.
KEYS: Table = (
    (r"(?:(?:net|cnn)\.0|conv1)\.(\w+)", r"conv1.\1"),
    (r"(?:(?:net|cnn)\.1|bn1)\.(\w+)", r"bn1.\1"),
    (r"(?:(?:net|cnn)\.4|layer1)\.(.+)", r"layer1.\1"),
    (r"(?:(?:net|cnn)\.5|layer2)\.(.+)", r"layer2.\1"),
    (r"(?:(?:net|cnn)\.6|layer3)\.(.+)", r"layer3.\1"),
    (r"(?:(?:net|cnn)\.7|layer4)\.(.+)", r"layer4.\1"),
    (r"(?:net\.)?class_token", "cls_token"),
    (r"(?:net\.)?conv_proj\.(\w+)", r"patch_embed.proj.\1"),
    (r"(?:net\.)?encoder\.pos_embedding", "pos_embed"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(\w+)", r"blocks.\1.attn.qkv.\2"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.mlp\.0\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (r"(?:net\.)?encoder\.layers\.encoder_layer_(\d+)\.mlp\.3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"(?:net\.)?encoder\.ln\.(\w+)", r"norm.\1"),
    (r"fc\..*|(?:net\.)?heads\..*", None),  # classifiers
)

# Of a ResNet, whether its blocks are bottlenecks and how many there are before the last stage, which authors leave out.
_RESNETS: dict[tuple[bool, tuple[int, ...]], tuple[str, int]] = {
    (False, (2, 2, 2)): ("resnet18", 2),
    (False, (3, 4, 6)): ("resnet34", 3),
    (True, (3, 4, 6)): ("resnet50", 3),
    (True, (3, 4, 23)): ("resnet101", 3),
    (True, (3, 8, 36)): ("resnet152", 3),
}
_VIT = {"embed_dim": 768, "depth": 12, "num_heads": 12, "patch_size": 32, "img_size": 224, "mlp_ratio": 4.0}


def infer_trunk(shapes: Shapes, heads: int | None = None) -> dict[str, Any]:
    """Arguments of :class:`zoo.layers.backbone.Backbone` for weights of these shapes, which have timm's names.

    Args:
        shapes: of a ResNet with all its stages or without the last, of any depth, width and groups; or of a ViT.
        heads: of the ViT; 64 channels each when not given.

    Raises:
        ValueError: they are of neither.
    """
    return _vit(shapes, heads) if "cls_token" in shapes else _resnet(shapes)


def _resnet(shapes: Shapes) -> dict[str, Any]:
    bottleneck = "layer1.0.conv3.weight" in shapes
    last, expansion = ("conv3", 4) if bottleneck else ("conv2", 1)
    stages = layers(shapes, r"layer(\d)\.")
    if stages not in (3, 4):
        raise ValueError(f"a ResNet has 4 stages, or 3 of them are used, got {stages}")
    depths = tuple(layers(shapes, rf"layer{i}\.(\d+)\.") for i in range(1, stages + 1))
    name, fourth = _RESNETS.get((bottleneck, depths[:3]), ("resnet50" if bottleneck else "resnet18", 0))
    options: dict[str, Any] = {}
    if depths[3:] not in ((), (fourth,)) or not fourth:
        options["layers"] = [*depths, 1][:4]
    widths = [shape(shapes, f"layer{i}.0.{last}.weight")[0] // expansion for i in range(1, stages + 1)]
    if widths != [64, 128, 256, 512][:stages]:
        options["channels"] = [*widths, 2 * widths[-1]][:4]
    if bottleneck:
        width, of_group = shape(shapes, "layer1.0.conv2.weight")[:2]
        groups = width // of_group
        published = {"cardinality": (groups, 1), "base_width": (of_group * 64 // widths[0], 64)}
        options |= {key: value for key, (value, usual) in published.items() if value != usual}
    return {"name": name, "stride": 4 * 2 ** (stages - 1)} | ({"options": options} if options else {})


def _vit(shapes: Shapes, heads: int | None) -> dict[str, Any]:
    width, _, patch, _ = shape(shapes, "patch_embed.proj.weight")
    side = math.isqrt(shape(shapes, "pos_embed")[1] - 1) * patch
    found = {
        "embed_dim": width,
        "depth": layers(shapes, r"blocks\.(\d+)\."),
        "num_heads": heads or max(1, width // 64),
        "patch_size": patch,
        "img_size": side,
        "mlp_ratio": shape(shapes, "blocks.0.mlp.fc1.weight")[0] / width,
    }
    options = {key: value for key, value in found.items() if value != _VIT[key]}
    trunk: dict[str, Any] = {"name": "vit_base_patch32_224", "stride": patch}
    trunk |= {"options": options} if options else {}
    return trunk | ({"resize": side} if side != _VIT["img_size"] else {})
