"""The steps that a chain is made of, each a module from pair to pair.

Some always act; the others are augmentations and act in training mode only, as dropout does. Geometry is drawn once for
all four tensors; light and blur for each date.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from . import blur, operators, recipe
from .blur import KINDS, blur_gap, equalise
from .corrupt import as_float
from .illuminate import METHODS, illuminate
from .pair import Pair
from .registration import register
from .registration.estimate import PROFILES
from .registration.motion import MODELS
from .turns import turned, turns
from .warp import warp_pair

DATES = ("each", "both", "a", "b")

Parameters = dict[str, Tensor]


class Step(nn.Module, ABC):
    """What a chain is made of.

    ``draws`` is how many uniform numbers a sample the step wants; a step that wants none always acts. ``turns`` says
    whether it mirrors, transposes or turns images, so that captions have to follow.
    """

    draws = 0
    turns = False
    words: Mapping[str, Sequence[str]] = {}  # of parameters that count in a list of words: the list

    @abstractmethod
    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """The changed batched ``pair`` and what was done to it, by numbers ``u`` ``(B, draws)`` in [0, 1) on the CPU.

        Parameters are on the CPU too; of a step that turns images one is called ``turn``, ``(B, 2, 2)``.
        """


class Register(Step):
    """Bring date b onto the grid of date a; see :func:`preprocess.register`. A pair that is refused stays as it is."""

    def __init__(self, model: str = "auto", profile: str = "accurate") -> None:
        super().__init__()
        if model not in ("auto", *MODELS) or profile not in PROFILES:
            known = f"model: auto, {', '.join(MODELS)}; profile: {', '.join(PROFILES)}"
            raise ValueError(f"expected one of {known}; got model={model!r}, profile={profile!r}")
        self.model, self.profile = model, profile

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`."""
        found = register(*_floats(pair), self.model, self.profile)
        record = {"matrix": found.matrix, "confidence": found.confidence, "ok": found.ok}
        return warp_pair(pair, found)[0], {key: value.cpu() for key, value in record.items()}


class Illuminate(Step):
    """Bring both dates to one light; see :func:`preprocess.illuminate`."""

    def __init__(self, method: str = "robust", onto: str = "a") -> None:
        super().__init__()
        if method not in METHODS or onto not in ("a", "common"):
            known = f"method: {', '.join(METHODS)}; onto: a, common"
            raise ValueError(f"expected one of {known}; got method={method!r}, onto={onto!r}")
        self.method, self.onto = method, onto

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`."""
        found = illuminate(*_floats(pair), self.method, self.onto)
        return _with_images(pair, found.a, found.b), {"inliers": found.inliers.cpu(), "clipped": found.clipped.cpu()}


class Equalise(Step):
    """Blur the sharper date until both are as sharp; see :func:`preprocess.blur.equalise`."""

    words: Mapping[str, Sequence[str]] = {"kind": KINDS}

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`."""
        a, b = _floats(pair)
        gap = blur_gap(a, b)
        return _with_images(pair, *equalise(a, b, gap)), {key: value.cpu() for key, value in gap._asdict().items()}


class _Turning(Step):
    turns = True

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        turn = self._turn(u)
        return turned(pair, turn), {"turn": turn}

    @abstractmethod
    def _turn(self, u: Tensor) -> Tensor:
        """How the samples are turned ``(B, 2, 2)``, by numbers ``u`` ``(B, draws)``."""


class Flip(_Turning):
    """Mirror left and right, and top and bottom, each with its probability."""

    draws = 2

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.5) -> None:
        super().__init__()
        self.horizontal, self.vertical = _probability("horizontal", horizontal), _probability("vertical", vertical)

    def _turn(self, u: Tensor) -> Tensor:
        never = torch.zeros(len(u), dtype=torch.bool)
        return turns(never, u[:, 0] < self.horizontal, u[:, 1] < self.vertical)


class Transpose(_Turning):
    """Mirror on the main diagonal with probability ``p``."""

    draws = 1

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _probability("p", p)

    def _turn(self, u: Tensor) -> Tensor:
        never = torch.zeros(len(u), dtype=torch.bool)
        return turns(u[:, 0] < self.p, never, never)


class Rotate90(_Turning):
    """One, two or three quarter turns clockwise, each as likely, with probability ``p``."""

    draws = 2

    def __init__(self, p: float = 0.75) -> None:
        super().__init__()
        self.p = _probability("p", p)

    def _turn(self, u: Tensor) -> Tensor:
        quarters = torch.where(u[:, 0] < self.p, 1 + (3 * u[:, 1]).long(), 0)
        return turns(quarters % 2 == 1, (quarters == 1) | (quarters == 2), quarters >= 2)


class _PerDate(Step):
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
        self.low, self.high, self.p, self.dates = low, high, _probability("p", p), dates

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
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


class Gamma(_PerDate):
    """Raise to a power between ``low`` and ``high``, even on a logarithmic scale."""

    limits = (0.01, 100.0)

    def __init__(self, low: float = 0.6, high: float = 1.7, p: float = 1.0, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"exponent": self.low * (self.high / self.low) ** u[:, 0]}

    def _change(self, x: Tensor, **drawn: Tensor) -> Tensor:
        return operators.gamma(x, **drawn)


class Brightness(_PerDate):
    """Add between ``low`` and ``high``, saturating at black and white."""

    limits = (-1.0, 1.0)

    def __init__(self, low: float = -0.15, high: float = 0.15, p: float = 1.0, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"shift": self._between(u[:, 0])}

    def _change(self, x: Tensor, **drawn: Tensor) -> Tensor:
        return operators.brightness(x, **drawn)


class _Blur(_PerDate):
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
    _blurred = staticmethod(blur.gaussian)

    def __init__(self, low: float = 0.0, high: float = 2.0, p: float = 0.5, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"sigma": self._between(u[:, 0])}


class MotionBlur(_Blur):
    """Average over a straight path of any direction and a length between ``low`` and ``high``, pixels as above."""

    limits = (0.0, 64.0)
    _blurred = staticmethod(blur.motion)

    def __init__(self, low: float = 5.0, high: float = 15.0, p: float = 0.5, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"length": self._between(u[:, 0]), "angle": 180 * u[:, 1]}


class Defocus(_Blur):
    """Blur by a disc, as a lens out of focus does, of a radius between ``low`` and ``high``, pixels as above."""

    limits = (0.0, 32.0)
    _blurred = staticmethod(blur.defocus)

    def __init__(self, low: float = 0.5, high: float = 3.0, p: float = 0.5, dates: str = "each") -> None:
        super().__init__(low, high, p, dates)

    def _drawn(self, u: Tensor) -> Parameters:
        return {"radius": self._between(u[:, 0])}


class SecondCC(Step):
    """The recipe of SECOND-CC on the fly: with probability ``p`` one of its variants; see :mod:`preprocess.recipe`."""

    draws = 2 + recipe.DRAWS
    turns = True

    def __init__(self, p: float = 0.9) -> None:
        super().__init__()
        self.p = _probability("p", p)

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`; ``variant`` counts in the recipe's order, -1 is none."""
        which = torch.where(u[:, 0] < self.p, (len(recipe.VARIANTS) * u[:, 1]).long(), -1)
        names = ["none" if i < 0 else recipe.VARIANTS[i] for i in which.tolist()]
        plan = recipe.plan(names, u[:, 2:])
        return recipe.apply(pair, plan), {"variant": which, "turn": plan.turn}


STEPS: Mapping[str, type[Step]] = {
    "register": Register,
    "illuminate": Illuminate,
    "equalise": Equalise,
    "flip": Flip,
    "transpose": Transpose,
    "rotate90": Rotate90,
    "gamma": Gamma,
    "brightness": Brightness,
    "gaussian_blur": GaussianBlur,
    "motion_blur": MotionBlur,
    "defocus": Defocus,
    "second_cc": SecondCC,
}


def _floats(pair: Pair) -> tuple[Tensor, Tensor]:
    a, b = (x / 255 if x.dtype == torch.uint8 else x.float() for x in (pair.a, pair.b))
    return a, b


def _with_images(pair: Pair, a: Tensor, b: Tensor) -> Pair:
    """``pair`` with images ``a`` and ``b`` in [0, 1], in the type that its own have."""
    if pair.a.dtype == torch.uint8:
        a, b = ((x * 255).round().clamp(0, 255) for x in (a, b))
    return pair._replace(a=a.to(pair.a.dtype), b=b.to(pair.b.dtype))


def _probability(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability in [0, 1], got {value!r}")
    return value
