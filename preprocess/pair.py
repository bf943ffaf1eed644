"""A pair of images with its land-cover maps: what happens to one happens to all four."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Pair(NamedTuple):
    """Two dates of one place.

    ``a`` (before) and ``b`` (after) are images ``(B, 3, H, W)``, uint8 or float in [0, 1]; ``sem_a`` and ``sem_b`` are
    land-cover classes ``(B, H, W)``, integers, or ``None``. A single sample lacks the batch axis.
    """

    a: Tensor
    b: Tensor
    sem_a: Tensor | None = None
    sem_b: Tensor | None = None

    def check(self) -> "Pair":
        """This pair, if its shapes agree.

        Raises:
            ValueError: they do not; the message states them.
        """
        images, maps = (self.a, self.b), [m for m in (self.sem_a, self.sem_b) if m is not None]
        ok = self.a.ndim in (3, 4) and self.a.shape[-3] == 3 and self.a.shape == self.b.shape
        wanted = (*self.a.shape[:-3], *self.a.shape[-2:])
        if not ok or len(maps) == 1 or any(m.shape != wanted for m in maps):
            shapes = [tuple(x.shape) for x in (*images, *maps)]
            raise ValueError(f"a pair is two images (B, 3, H, W) and two maps (B, H, W) or none, got shapes {shapes}")
        if any(m.is_floating_point() for m in maps):
            raise ValueError(f"maps are integer classes, got {[m.dtype for m in maps]}")
        return self

    def to(self, device: torch.device | str) -> "Pair":
        """The pair on ``device``."""
        return Pair(*(None if x is None else x.to(device) for x in self))  # type: ignore[arg-type]

    def float(self) -> "Pair":
        """Images as float in [0, 1], maps as int64."""
        # a division that casts each byte itself takes six times as long
        a, b = (x.float().div_(255) if x.dtype == torch.uint8 else x.float() for x in (self.a, self.b))
        return Pair(a, b, *(None if m is None else m.long() for m in (self.sem_a, self.sem_b)))

    def resize(self, size: int) -> "Pair":
        """Images bilinear with antialiasing, maps by nearest neighbour, to ``size`` x ``size`` pixels."""
        if self.a.shape[-2:] == (size, size):
            return self
        sem_a, sem_b = (None if m is None else _resize_map(m, size) for m in (self.sem_a, self.sem_b))
        return Pair(_resize_image(self.a, size), _resize_image(self.b, size), sem_a, sem_b)

    def unsqueeze(self) -> "Pair":
        """A batch of this one sample."""
        return Pair(*(None if x is None else x.unsqueeze(0) for x in self))  # type: ignore[arg-type]

    def squeeze(self) -> "Pair":
        """The one sample of this batch; undoes :meth:`unsqueeze`."""
        return Pair(*(None if x is None else x.squeeze(0) for x in self))  # type: ignore[arg-type]

    @staticmethod
    def stack(pairs: Sequence["Pair"]) -> "Pair":
        """Samples of one size as a batch."""
        columns = zip(*pairs, strict=True)
        return Pair(*(None if column[0] is None else torch.stack(column) for column in columns))  # type: ignore[arg-type]


def _resize_image(x: Tensor, size: int) -> Tensor:
    batched = x if x.ndim == 4 else x.unsqueeze(0)
    out = F.interpolate(batched.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
    if x.dtype == torch.uint8:
        out = out.round().clamp(0, 255).to(torch.uint8)
    return out if x.ndim == 4 else out[0]


def _resize_map(x: Tensor, size: int) -> Tensor:
    rows, columns = (((torch.arange(size, device=x.device) + 0.5) * n / size).long() for n in x.shape[-2:])
    return x[..., rows[:, None], columns]
