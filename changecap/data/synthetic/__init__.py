"""The embedded data set: a simulator of remote-sensing scenes that change, with captions and the facts behind them."""

from .render import render_pair
from .write import PARAMETERS, parameters_of, write

__all__ = ["PARAMETERS", "parameters_of", "render_pair", "write"]
