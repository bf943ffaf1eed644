"""Pixels to pixels: what is done to a pair of images and its maps before a captioner sees them."""

from .pair import Pair

__all__ = ["Pair"]
