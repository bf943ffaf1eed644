"""The image trunk: any of timm's by name, convolutional or a transformer, cut at one feature map."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import Format, PatchEmbed
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

# What lets a trunk take other sizes than the one it was made for: of ViTs, whose position codes are then interpolated,
# and of Swins, which pad their windows.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})


class Backbone(nn.Module):
    """Images ``(B, C, H, W)`` in [0, 1] to one feature map ``(B, channels, h, w)``.

    The map of a ViT is its patch tokens after the final norm; class and register tokens are left out.

    Args:
        name: a timm model, or ``"features"``: the inputs are feature maps already and pass unchanged.
        stride: pixels per step of the wanted map; the trunk is cut at the deepest map that has it. A ViT has only
            that of its patches.
        in_chans: input channels.
        freeze: leading blocks of the trunk (as timm orders them; of a ViT the patch embedding with the position codes
            is the first) that are not trained; their BatchNorm stays at its running statistics.
        normalise: ``"weights"`` by the mean and deviation that timm states for the trunk's weights,
            ``"imagenet"`` by those of ImageNet, for weights of torchvision,
            ``"image"`` to mean 0 and deviation 1 per image and channel, ``"none"``.
        pool: average the map to this grid (``None``: as it comes).
        resize: side in pixels of the square that the normalised input is brought to, bilinear (``None``: as it comes).
        antialias: smooth before ``resize`` makes smaller.
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
        resize: int | None = None,
        antialias: bool = True,
        weights: str | None = None,
        channels: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.stride, self.in_chans, self.normalise = name, stride, in_chans, "none"
        self.pool, self.resize, self.antialias = pool, resize, antialias
        self.features = name == "features"
        self.trunk: nn.Module = nn.Identity()
        self.frozen: list[nn.Module] = []
        if self.features:
            if channels is None:
                raise ValueError("backbone 'features' needs channels, the width of the maps it will be given")
            self.channels, self.stride = channels, 1
            return
        if normalise not in ("weights", "imagenet", "image", "none"):
            raise ValueError(f"normalise must be 'weights', 'imagenet', 'image' or 'none', got {normalise!r}")
        self.normalise = normalise
        self.trunk, self.channels = _trunk(name, stride, in_chans, weights, dict(options or {}))
        self.channels_last = getattr(self.trunk, "output_fmt", None) == Format.NHWC
        # training is up to a third faster where the channels of a pixel lie side by side; sums come in another order
        # then, which a deep trunk blows up, so that evaluation stays as the published weights know it
        plain = self.channels_last or isinstance(self.trunk, FeatureGetterNet)
        self.layout = torch.contiguous_format if plain else torch.channels_last
        config = timm.get_pretrained_cfg(name)
        mean, std = (config.mean, config.std) if config and in_chans == 3 else ((0.0,), (1.0,))
        if normalise == "imagenet" and in_chans == 3:
            mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
        self.mean = nn.Buffer(torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self._freeze(freeze)

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; frozen blocks stay in evaluation."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The feature map ``(B, channels, h, w)`` of ``x``.

        Raises:
            ValueError: the trunk does not take images of that size.
        """
        if self.normalise in ("weights", "imagenet"):
            x = (x - self.mean) / self.std
        elif self.normalise == "image":
            std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
            x = (x - mean) / (std + 1e-3)  # a flat image must not blow up
        if self.resize is not None:
            x = F.interpolate(x, (self.resize, self.resize), mode="bilinear", antialias=self.antialias)
        if not self.features:
            self._check(x.shape[2], x.shape[3])
            x = self.trunk(x.contiguous(memory_format=self.layout) if self.training else x)[0]
            x = x.permute(0, 3, 1, 2) if self.channels_last else x
        return x if self.pool is None else F.adaptive_avg_pool2d(x, self.pool)

    def grid(self, image_size: int) -> int:
        """Side of the map for square images of ``image_size`` pixels.

        Raises:
            ValueError: the trunk does not take images of that size.
        """
        if self.features or self.pool:
            return self.pool or image_size
        side = self.resize or image_size
        self._check(side, side)
        # no formula holds for all trunks: ask a shadow of this one, whose tensors have shapes and no content
        tensors = (*self.trunk.parameters(), *self.trunk.buffers())
        shadow = deepcopy(self.trunk, {id(x): x.to("meta") for x in tensors}).eval()
        try:
            x = shadow(torch.empty(1, self.in_chans, side, side, device="meta"))[0]
        except (AssertionError, RuntimeError) as error:  # of trunks that have their own way to say it
            raise self._refusal(side, side, f"timm says: {error}") from error
        return x.shape[1 if self.channels_last else 2]

    def load_trunk(self, state: Mapping[str, Tensor]) -> list[str]:
        """Fill the trunk with weights under timm's names, those of a whole model or of a part that holds the trunk.

        The tensors of ``state`` become the trunk's own.

        Returns:
            The names of what the trunk has no use for, as it lies behind the cut.

        Raises:
            ValueError: weights are missing or have other shapes; the message names them.
        """
        inner = _inner(self.trunk)
        wanted = inner.state_dict()
        missing = [key for key in wanted if key not in state]
        if missing:
            raise ValueError(f"backbone {self.name!r} lacks {len(missing)} weights: {', '.join(missing[:5])}")
        for key, value in wanted.items():
            if state[key].shape != value.shape:
                got, ours = tuple(state[key].shape), tuple(value.shape)
                raise ValueError(f"weights {key} of backbone {self.name!r} must be {ours}, got {got}")
        inner.load_state_dict({key: state[key] for key in wanted}, assign=True)
        return [key for key in state if key not in wanted]

    def _freeze(self, count: int) -> None:
        """Exclude the first ``count`` blocks from training."""
        inner = _inner(self.trunk)
        self.frozen = _blocks(self.trunk)[:count]
        for part in self.frozen:
            part.requires_grad_(False)
        for p in inner.parameters(recurse=False) if self.frozen else ():  # class token, position codes
            p.requires_grad_(False)

    def _check(self, height: int, width: int) -> None:
        """Refuse images that the trunk does not take, before timm does so in its own words."""
        embed = getattr(_inner(self.trunk), "patch_embed", None)
        if min(height, width) < self.stride:
            raise self._refusal(height, width, "they must be as large as the stride")
        if not isinstance(embed, PatchEmbed):
            return
        if embed.strict_img_size and embed.img_size is not None and (height, width) != tuple(embed.img_size):
            raise self._refusal(height, width, f"it was made for {embed.img_size[0]} x {embed.img_size[1]}")
        if not embed.dynamic_img_pad and (height % embed.patch_size[0] or width % embed.patch_size[1]):
            raise self._refusal(height, width, f"they must be multiples of its patches' {embed.patch_size[0]}")

    def _refusal(self, height: int, width: int, why: str) -> ValueError:
        return ValueError(
            f"backbone {self.name!r} with stride {self.stride} takes no images of {height} x {width} pixels: {why}; "
            "give it other images, or bring them to a size it takes with resize"
        )


def _trunk(
    name: str, stride: int, in_chans: int, weights: str | None, options: dict[str, Any]
) -> tuple[nn.Module, int]:
    """The timm trunk cut at the deepest map of ``stride``, and the width of that map."""
    if not timm.is_model(name):
        raise ValueError(f"unknown backbone {name!r}; timm.list_models() lists {len(timm.list_models())} names")
    few = {"out_indices": options["depth"]} if options.get("depth", 3) < 3 else {}  # timm wants three maps of a ViT
    whole = timm.create_model(name, features_only=True, in_chans=in_chans, **few, **options)
    info, reductions = whole.feature_info, whole.feature_info.reduction()
    if stride not in reductions:
        raise ValueError(f"backbone {name!r} has no map of stride {stride}, only {sorted(set(reductions))}")
    level = max(i for i, r in enumerate(reductions) if r == stride)
    arguments = {"features_only": True, "out_indices": (info.out_indices[level],), "in_chans": in_chans, **options}
    if weights is not None:
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": {"file": weights}}
    if isinstance(whole, FeatureGetterNet) and set(reductions) == {stride}:  # a ViT: all maps are of one stride
        arguments["feature_cls"] = _FinalNorm
    model = _create(name, arguments, getattr(_inner(whole), "patch_embed", None))
    return model, model.feature_info.channels()[-1]


def _create(name: str, arguments: dict[str, Any], embed: nn.Module | None) -> Any:
    """The timm model, such that it takes any size where its patch embedding ``embed`` is the obstacle."""
    for more in _ANY_SIZE if isinstance(embed, PatchEmbed) and embed.strict_img_size else ():
        try:
            model = timm.create_model(name, **{**more, **arguments})
        except TypeError:  # not one of its arguments
            continue
        return model
    return timm.create_model(name, **arguments)


class _FinalNorm(FeatureGetterNet):
    """timm's reader of a ViT's maps, with the norm that timm leaves out; without it the tokens grow with depth."""

    def __init__(self, model: nn.Module, **kwargs: Any) -> None:
        super().__init__(model, norm=True, **kwargs)


def _inner(trunk: nn.Module) -> nn.Module:
    """The module whose names are timm's."""
    return trunk.model if isinstance(trunk, FeatureGetterNet) else trunk


def _blocks(trunk: nn.Module) -> list[nn.Module]:
    """What can be frozen one by one: timm's blocks, those of a ViT without what has no weights."""
    if not isinstance(trunk, FeatureGetterNet):
        return list(trunk.children())
    blocks: list[nn.Module] = []
    for part in trunk.model.children():
        blocks += part.children() if isinstance(part, nn.Sequential | nn.ModuleList) else [part]
    return [block for block in blocks if any(True for _ in block.parameters())]


def token_grid(x: Tensor) -> Tensor:
    """A map ``(B, C, h, w)`` as row-major tokens ``(B, h·w, C)``."""
    return x.flatten(2).transpose(1, 2)
