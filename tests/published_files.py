"""Files as the authors of the models publish them, made of classes of a module that is gone afterwards."""

import json
import sys
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.vision_transformer import VisionTransformer

PARTS = {  # of each model: its image encoders, and what its checkpoint holds beside the networks
    "chg2cap": (["encoder_dict"], {}),
    "mmodalcc": (["encoder_image", "encoder_image2"], {"epoch": 17, "epochs_since_improvement": 0}),
    "psnet": (["encoder_image"], {"epoch": 3, "epochs_since_improvement": 1, "encoder_image_optimizer": None}),
    "rsiccformer": (["encoder_image"], {"epoch": 9, "epochs_since_improvement": 2, "encoder_image_optimizer": None}),
}


def resnet(widths):
    """The children of a narrow ResNet of torchvision's blocks, as many stages as ``widths``."""
    stages, before = [], 64
    for i, width in enumerate(widths):
        stride = 1 if i == 0 else 2
        down = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        first = BasicBlock(before, width, stride, down if stride > 1 or before != width else None)
        stages.append(nn.Sequential(first, BasicBlock(width, width)))
        before = width
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *stages)


def image_encoder(model, channels):
    """A network whose maps are as wide as those of the fixture."""
    if model == "psnet":
        return VisionTransformer(96, 32, 2, 12, 768, 32)
    widths = [channels >> i for i in range(4 if model == "chg2cap" else 3)]
    return resnet(widths[::-1])


@contextmanager
def scratch_module(folder):
    """A module of three classes whose source is in ``folder``; afterwards there is no such module."""
    path = folder / "models_of_the_authors.py"
    path.write_text(
        "from torch import nn\n" + "".join(f"class {c}(nn.Module): pass\n" for c in ("Image", "Net", "Part"))
    )
    spec = spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[path.stem]
        path.unlink()


def network(module, state, heads):
    """Modules of scratch classes that hold ``state`` and, where there is an attention, ``num_heads``."""
    root = module.Net()
    for key, value in state.items():
        *path, last = key.split(".")
        place = root
        for part in path:
            if part not in place._modules:
                place._modules[part] = module.Part()
            place = place._modules[part]
        if last in ("pe", "running_mean", "running_var", "num_batches_tracked"):
            place.register_buffer(last, value)
        else:
            place.register_parameter(last, nn.Parameter(value.clone()))
        if last == "in_proj_weight":
            place.num_heads = heads(key)
            place.dropout = 0.5
    return root


def write(fixture, folder, *, zipped=True, change=None):
    """Save the weights of ``fixture`` as its authors would, with a backbone; returns both files.

    ``change`` is given the content before it is saved.
    """
    config = json.loads((fixture / "config.json").read_text())
    model, theirs = config["model"], config["authors_arguments"]
    state = load_file(fixture / "state.safetensors")
    parts = {}
    for prefix in config["prefixes"].values():
        parts[prefix[:-1]] = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    torch.manual_seed(1)
    trunks, others = PARTS[model]
    content = dict(others)
    with scratch_module(folder) as module:
        name = "cnn" if model == "chg2cap" else "net"
        for part in trunks:
            encoder = module.Image()
            setattr(encoder, name, image_encoder(model, config["channels"]))
            encoder.enc_image_size = 14
            content[part] = encoder.state_dict() if model == "chg2cap" else encoder
        for part, weights in parts.items():
            if model == "chg2cap":
                content[part] = weights
                continue

            def heads(key, part=part):
                if "Scale_aware" in key:
                    return theirs["scale_aware"]["n_head"]
                return theirs["decoder" if part == "decoder" else "change_encoder"]["n_head"]

            content[part] = network(module, weights, heads)
            optimiser = torch.optim.Adam(content[part].parameters(), lr=1e-4)
            for p in content[part].parameters():
                p.grad = torch.ones_like(p)
            optimiser.step()
            for key, p in content[part].named_parameters():
                p.data.copy_(weights[key])
                p.grad = None
            content[f"{part}_optimizer"] = optimiser
        if change is not None:
            change(content)
        torch.save(content, folder / "theirs.pth", _use_new_zipfile_serialization=zipped)
    (folder / "words.json").write_text(json.dumps(config["vocabulary"]))
    return folder / "theirs.pth", folder / "words.json"
