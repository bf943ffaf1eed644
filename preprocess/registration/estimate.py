"""The names of the profiles, where the steps of a chain look for them."""

from .estimation import PROFILES

__all__ = ["PROFILES"]
