"""Backbones of torchvision, and timm's names for the same."""

from .table import Table

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
