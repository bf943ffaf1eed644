"""Pixels to pixels: what is done to a pair of images and its maps before a captioner sees them."""

from .chain import Chain, build
from .corrupt import corrupt
from .pair import Pair

__all__ = ["Chain", "Pair", "build", "corrupt"]
