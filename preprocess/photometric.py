"""Light and blur that are drawn for each date of a pair: what two flights over one place differ in."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from . import operators, sharpness
from .corruption import as_float
from .pair import Pair
from .step import Parameters, Step, probability

DATES = ("each", "both", "a", "b")


class PerDate(Step):
    """Something between ``low`` and ``high`` happens to a date with probability ``p``.

    ``dates``: ``"each"`` of them draws for itself, ``"both"`` get the same, or ``"a"`` or ``"b"`` alone gets it.
    """

    draws = 6  # for each date: whether, how much, and one more
    limits = (-math.inf, math.inf)

    def __init__(self, low: float, high: float, p: float, dates: str) -> None:
        super().__init__()
        least, most = self.limits
        if not (least <= low <= high <= most):
            raise ValueError(f"low and high must be in order and in [{least}, {most}], got low={low}, high={high}")
        if dates not in DATES:
            raise ValueError(f"dates must be one of {', '.join(DATES)}, got {dates!r}")
        self.low, self.high, self.p, self.dates = low, high, probability("p", p), dates

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`."""
        images, record = {"a": pair.a, "b": pair.b}, Parameters()
        for date, x in images.items():
            if self.dates not in ("each", "both", date):
                continue
            of_date = u[:, 3:] if date == "b" and self.dates != "both" else u[:, :3]
            happens, drawn = of_date[:, 0] < self.p, self._drawn(of_date[:, 1:])
            images[date] = self._changed(x, happens, drawn)
            # what does not happen is not a number in the record
            record |= {f"{name}_{date}": value.where(happens, torch.nan) for name, value in drawn.items()}
        return Pair(images["a"], images["b"], pair.sem_a, pair.sem_b), record

    def _changed(self, x: Tensor, happens: Tensor, drawn: Parameters) -> Tensor:
        """Images ``x`` after what was drawn, where it ``happens`` ``(B,)``; the others cost nothing."""
        if happens.all():
            return as_float(partial(self._change, **drawn), x)
        if not happens.any():
            return x
        rows = happens.nonzero()[:, 0]
        own, place = {name: value[rows] for name, value in drawn.items()}, rows.to(x.device)
        return x.index_copy(0, place, as_float(partial(self._change, **own), x[place]))

    @abstractmethod
    def _drawn(self, u: Tensor) -> Parameters:
        """What ``_change`` takes, ``(B,)`` each, by numbers ``u`` ``(B, 2)``."""

    @abstractmethod
    def _change(self, x: Tensor, **drawn: Tensor) -> Tensor:
        """Images ``x`` ``(B, 3, H, W)`` in [0, 1] after what was drawn."""

    def _between(self, u: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * u


class Gamma(PerDate):
    """Raise to a power between ``low`` and ``high``, even on a logarithmic scale."""

    limits = (0.01, 100.0)

    def __init__(self, low: float = 0.6, high: float = 1.7, p: float = 1.0, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"exponent": self.low * (self.high / self.low) ** u[:, 0]}

    def _change(self, x: Tensor, **drawn: Tensor) -> Tensor:
        return operators.gamma(x, **drawn)


class Brightness(PerDate):
    """Add between ``low`` and ``high``, saturating at black and white."""

    limits = (-1.0, 1.0)

    def __init__(self, low: float = -0.15, high: float = 0.15, p: float = 1.0, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"shift": self._between(u[:, 0])}

    def _change(self, x: Tensor, **drawn: Tensor) -> Tensor:
        return operators.brightness(x, **drawn)


class _Blur(PerDate):
    """What is drawn is in pixels of an image of side 256, so that it means the same at any size.

    ``_blurred`` takes images, what was drawn in their own pixels, and the largest of it there can be.
    """

    _blurred: Callable[..., Tensor]

    def _change(self, x: Tensor, **drawn: Tensor) -> Tensor:
        pixels = min(x.shape[-2:]) / 256
        size, *angle = drawn.values()
        return self._blurred(x, size * pixels, *angle, self.high * pixels)


class GaussianBlur(_Blur):
    """Blur by a standard deviation between ``low`` and ``high``, in pixels of an image of side 256."""

    limits = (0.0, 32.0)
    _blurred = staticmethod(sharpness.gaussian)

    def __init__(self, low: float = 0.0, high: float = 2.0, p: float = 0.5, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"sigma": self._between(u[:, 0])}


class MotionBlur(_Blur):
    """Average over a straight path of any direction and a length between ``low`` and ``high``, pixels as above."""

    limits = (0.0, 64.0)
    _blurred = staticmethod(sharpness.motion)

    def __init__(self, low: float = 5.0, high: float = 15.0, p: float = 0.5, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"length": self._between(u[:, 0]), "angle": 180 * u[:, 1]}


class Defocus(_Blur):
    """Blur by a disc, as a lens out of focus does, of a radius between ``low`` and ``high``, pixels as above."""

    limits = (0.0, 32.0)
    _blurred = staticmethod(sharpness.defocus)

    def __init__(self, low: float = 0.5, high: float = 3.0, p: float = 0.5, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"radius": self._between(u[:, 0])}
