"""Pixels to pixels: what is done to a pair of images and its maps before a captioner sees them."""

from .blur import BlurGap, blur_gap, equalise
from .illuminate import Illumination, illuminate
from .pair import Pair

__all__ = ["BlurGap", "Illumination", "Pair", "blur_gap", "equalise", "illuminate"]
