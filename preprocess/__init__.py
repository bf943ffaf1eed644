"""Pixels to pixels: what is done to a pair of images and its maps before a captioner sees them."""

from .corruption import corrupt
from .illumination import Illumination, illuminate
from .pair import Pair
from .pipeline import Chain, build
from .registration import Registration, register
from .resample import warp, warp_pair
from .sharpness import BlurGap, blur_gap, equalise

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
