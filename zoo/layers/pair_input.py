"""What a captioner sees of a pair: images, land-cover maps, or both."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone

INPUTS = ("rgb", "maps", "both")


class PairBackbone(nn.Module):
    """Both dates of a pair to two feature maps ``(B, channels, h, w)``, for captioners that were published on images.

    Images go through the published trunk. Land-cover maps, one plane per class, go through a trunk of their own of
    the same kind, which begins with S planes in place of three; with ``inputs="both"`` its map is brought to the
    images' by a 1x1 convolution and added, so that nothing behind the trunks knows of the maps. This is not of any of
    the papers; with ``inputs="rgb"`` nothing of it is there.

    Args:
        inputs: ``"rgb"``, ``"maps"`` or ``"both"``.
        backbone: keyword arguments of :class:`Backbone`, used for both trunks.
        classes: number S of land-cover classes, the unlabelled one included.
    """

    def __init__(self, inputs: str, backbone: Mapping[str, Any], classes: int) -> None:
        super().__init__()
        if inputs not in INPUTS:
            raise ValueError(f"inputs must be 'rgb', 'maps' or 'both', got {inputs!r}")
        self.inputs, self.classes = inputs, classes
        self.trunks = nn.ModuleDict()
        if inputs != "maps":
            self.trunks["rgb"] = Backbone(**backbone)
        if inputs != "rgb":  # classes have no brightness to normalise
            self.trunks["sem"] = Backbone(**{**backbone, "in_chans": classes, "normalise": "none"})
        self.channels = self.first.channels
        self.join = nn.Conv2d(self.channels, self.channels, 1) if inputs == "both" else None

    @property
    def first(self) -> Backbone:
        """The trunk whose map the others join; an attribute would store its weights twice."""
        return cast(Backbone, next(iter(self.trunks.values())))

    def grid(self, image_size: int) -> int:
        """Side of the feature maps for square images of ``image_size`` pixels."""
        return self.first.grid(image_size)

    def forward(
        self, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Feature maps before and after ``(B, channels, h, w)``; both dates in one pass, so they share statistics.

        Raises:
            ValueError: the maps that the captioner was built for are missing.
        """
        need_maps(self.inputs, sem_a, sem_b)
        seen = [self.trunks["rgb"](torch.cat([a, b]))] if self.inputs != "maps" else []
        if sem_a is not None and sem_b is not None and self.inputs != "rgb":
            sem = torch.cat([sem_a, sem_b])
            seen.append(self.trunks["sem"](sem if self.first.features else planes(sem, self.classes)))
        if self.join is not None:
            seen = [seen[0] + self.join(seen[1])]
        before, after = seen[0].chunk(2)
        return before, after


def planes(sem: Tensor, classes: int) -> Tensor:
    """Land-cover classes ``(B, H, W)`` as one plane per class ``(B, S, H, W)``, float."""
    return F.one_hot(sem.long(), classes).permute(0, 3, 1, 2).float()


def need_maps(inputs: str, sem_a: Tensor | None, sem_b: Tensor | None) -> None:
    """Refuse a pair without the maps that a captioner built for ``inputs`` looks at.

    Raises:
        ValueError: a map is missing.
    """
    if inputs != "rgb" and (sem_a is None or sem_b is None):
        raise ValueError(f"this captioner was built with inputs={inputs!r}: it needs both maps, got none")
