"""Pixels to pixels: what is done to a pair of images and its maps before a captioner sees them."""

from .blur import BlurGap, blur_gap, equalise
from .chain import Chain, build
from .corrupt import corrupt
from .illuminate import Illumination, illuminate
from .pair import Pair
from .registration import Registration, register
from .warp import warp, warp_pair

__all__ = [
    "BlurGap",
    "Chain",
    "Illumination",
    "Pair",
    "Registration",
    "blur_gap",
    "build",
    "corrupt",
    "equalise",
    "illuminate",
    "register",
    "warp",
    "warp_pair",
]
