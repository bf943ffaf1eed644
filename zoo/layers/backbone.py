"""The image trunk: any of timm's by name, cut at one feature map."""

from collections.abc import Mapping
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Backbone(nn.Module):
    """Images ``(B, C, H, W)`` in [0, 1] to one feature map ``(B, channels, h, w)``.

    Args:
        name: a timm model, or ``"features"``: the inputs are feature maps already and pass unchanged.
        stride: pixels per step of the wanted map; the trunk is cut at the deepest map that has it.
        in_chans: input channels.
        freeze: leading blocks of the trunk (as timm orders them) that are not trained; their BatchNorm stays at its
            running statistics.
        normalise: ``"weights"`` by the mean and deviation that timm states for the trunk's weights,
            ``"image"`` to mean 0 and deviation 1 per image and channel, ``"none"``.
        pool: average the map to this grid (``None``: as it comes).
        weights: a file of weights for the trunk, read by timm, which also fits the first convolution to ``in_chans``.
        channels: of the feature maps, for ``name="features"`` only.
        options: more keyword arguments of the timm model.

    Raises:
        ValueError: unknown name, or the trunk has no map of that stride.
    """

    def __init__(
        self,
        name: str = "resnet101",
        *,
        stride: int = 16,
        in_chans: int = 3,
        freeze: int = 0,
        normalise: str = "weights",
        pool: int | None = None,
        weights: str | None = None,
        channels: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.pool, self.normalise = stride, pool, "none"
        self.features = name == "features"
        self.trunk: nn.Module = nn.Identity()
        self.frozen: list[nn.Module] = []
        if self.features:
            if channels is None:
                raise ValueError("backbone 'features' needs channels, the width of the maps it will be given")
            self.channels, self.stride = channels, 1
            return
        if normalise not in ("weights", "image", "none"):
            raise ValueError(f"normalise must be 'weights', 'image' or 'none', got {normalise!r}")
        self.normalise = normalise
        self.trunk, self.channels = _trunk(name, stride, in_chans, weights, dict(options or {}))
        config = timm.get_pretrained_cfg(name)
        mean, std = (config.mean, config.std) if config and in_chans == 3 else ((0.0,), (1.0,))
        self.mean = nn.Buffer(torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.frozen = [part for _, part in list(self.trunk.named_children())[:freeze]]
        for part in self.frozen:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; frozen blocks stay in evaluation."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The feature map ``(B, channels, h, w)`` of ``x``."""
        if self.normalise == "weights":
            x = (x - self.mean) / self.std
        elif self.normalise == "image":
            std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
            x = (x - mean) / (std + 1e-3)  # a flat image must not blow up
        maps = self.trunk(x)
        x = maps[0] if isinstance(maps, list) else maps
        return x if self.pool is None else F.adaptive_avg_pool2d(x, self.pool)

    def grid(self, image_size: int) -> int:
        """Side of the map for square images of ``image_size`` pixels."""
        return self.pool or -(-image_size // self.stride)


def _trunk(
    name: str, stride: int, in_chans: int, weights: str | None, options: dict[str, Any]
) -> tuple[nn.Module, int]:
    """The timm trunk cut at the deepest map of ``stride``, and the width of that map."""
    if not timm.is_model(name):
        raise ValueError(f"unknown backbone {name!r}; timm.list_models() lists {len(timm.list_models())} names")
    info = timm.create_model(name, features_only=True, in_chans=in_chans, **options).feature_info
    reductions = info.reduction()
    if stride not in reductions:
        raise ValueError(f"backbone {name!r} has no map of stride {stride}, only {sorted(set(reductions))}")
    level = max(i for i, r in enumerate(reductions) if r == stride)
    source = {} if weights is None else {"pretrained": True, "pretrained_cfg_overlay": {"file": weights}}
    model = timm.create_model(
        name, features_only=True, out_indices=(info.out_indices[level],), in_chans=in_chans, **source, **options
    )
    return model, model.feature_info.channels()[-1]


def token_grid(x: Tensor) -> Tensor:
    """A map ``(B, C, h, w)`` as row-major tokens ``(B, h·w, C)``."""
    return x.flatten(2).transpose(1, 2)
