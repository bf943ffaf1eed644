"""Pixels to pixels: what is done to a pair of images and its maps before a captioner sees them."""

from .chain import Chain, build
from .corrupt import corrupt
from .illuminate import Illumination, illuminate
from .pair import Pair
from .registration import Registration, register
from .warp import warp, warp_pair

__all__ = [
    "Chain",
    "Illumination",
    "Pair",
    "Registration",
    "build",
    "corrupt",
    "illuminate",
    "register",
    "warp",
    "warp_pair",
]
