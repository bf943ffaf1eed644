"""The steps that a chain is made of, each a module from pair to pair.

Some always act; the others are augmentations and act in training mode only, as dropout does. Geometry is drawn once for
all four tensors; light and blur for each date, see :mod:`preprocess.photometric`.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from . import second_cc_augmentation
from .corruption_step import Corrupt
from .illumination import METHODS, illuminate
from .pair import Pair
from .photometric import Brightness, Defocus, Gamma, GaussianBlur, MotionBlur
from .registration import register
from .registration.estimation import PROFILES
from .registration.motion import MODELS
from .resample import warp, warp_pair
from .sharpness import KINDS, blur_gap, equalise
from .step import Parameters, Step, probability
from .symmetry import turned, turns


class Register(Step):
    """Bring date b onto the grid of date a; see :func:`preprocess.register`. A pair that is refused stays as it is.

    Where date b does not show the place it keeps the pixels that it had there: captioners take a black border for a
    change, and anything of date a would be of another light.
    """

    refine: str | None = None

    def __init__(self, model: str = "auto", profile: str = "accurate") -> None:
        super().__init__()
        if model not in ("auto", *MODELS) or profile not in PROFILES:
            known = f"model: auto, {', '.join(MODELS)}; profile: {', '.join(PROFILES)}"
            raise ValueError(f"expected one of {known}; got model={model!r}, profile={profile!r}")
        self.model, self.profile = model, profile

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`."""
        found = register(*_floats(pair), self.model, self.profile, refine=self.refine)
        record = {"matrix": found.matrix, "confidence": found.confidence, "ok": found.ok}
        if found.flow is not None and found.flow_confidence is not None:
            record |= {"flow": found.flow, "flow_confidence": found.flow_confidence}
        moved, _ = warp_pair(pair, found)
        everywhere, size = torch.ones_like(moved.b[:, :1], dtype=torch.float32), (pair.b.shape[-2], pair.b.shape[-1])
        shown = warp(everywhere, found.matrix, size, flow=found.flow)
        b = moved.b.float() + (1 - shown) * pair.b.float()
        b = b.round() if pair.b.dtype == torch.uint8 else b.clamp(0, 1)  # sums of weights are 1 but for rounding
        return moved._replace(b=b.to(pair.b.dtype)), {key: value.cpu() for key, value in record.items()}


class Relief(Register):
    """As :class:`Register`, and where that is sure also take back what relief has displaced, a smooth field of shifts.

    It is for views from different sides. A change that looks like a displacement may be taken back with it.
    """

    refine = "flow"


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
    """Blur the sharper date until both are as sharp; see :func:`preprocess.sharpness.equalise`."""

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
        self.horizontal, self.vertical = probability("horizontal", horizontal), probability("vertical", vertical)

    def _turn(self, u: Tensor) -> Tensor:
        never = torch.zeros(len(u), dtype=torch.bool)
        return turns(never, u[:, 0] < self.horizontal, u[:, 1] < self.vertical)


class Transpose(_Turning):
    """Mirror on the main diagonal with probability ``p``."""

    draws = 1

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability("p", p)

    def _turn(self, u: Tensor) -> Tensor:
        never = torch.zeros(len(u), dtype=torch.bool)
        return turns(u[:, 0] < self.p, never, never)


class Rotate90(_Turning):
    """One, two or three quarter turns clockwise, each as likely, with probability ``p``."""

    draws = 2

    def __init__(self, p: float = 0.75) -> None:
        super().__init__()
        self.p = probability("p", p)

    def _turn(self, u: Tensor) -> Tensor:
        quarters = torch.where(u[:, 0] < self.p, 1 + (3 * u[:, 1]).long(), 0)
        return turns(quarters % 2 == 1, (quarters == 1) | (quarters == 2), quarters >= 2)


class SecondCC(Step):
    """The recipe of SECOND-CC on the fly: with probability ``p`` one of its variants.

    See :mod:`preprocess.second_cc_augmentation`.
    """

    draws = 2 + second_cc_augmentation.DRAWS
    turns = True

    def __init__(self, p: float = 0.9) -> None:
        super().__init__()
        self.p = probability("p", p)

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`; ``variant`` counts in the recipe's order, -1 is none."""
        which = torch.where(u[:, 0] < self.p, (len(second_cc_augmentation.VARIANTS) * u[:, 1]).long(), -1)
        names = ["none" if i < 0 else second_cc_augmentation.VARIANTS[i] for i in which.tolist()]
        plan = second_cc_augmentation.plan(names, u[:, 2:])
        return second_cc_augmentation.apply(pair, plan), {"variant": which, "turn": plan.turn}


STEPS: Mapping[str, type[Step]] = {
    "register": Register,
    "relief": Relief,
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
    "corrupt": Corrupt,
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
