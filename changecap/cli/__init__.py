"""The command line; the only place that knows Hydra."""

from .entry import main

__all__ = ["main"]
