"""Data sets: files in, pairs with their captions out. One reader per format, one dataset class for all."""

from importlib import import_module
from pathlib import Path

from ..errors import ConfigError
from .dataset import Example, PairDataset

__all__ = ["READERS", "Example", "PairDataset", "load"]

READERS = {"second_cc": "second_cc"}  # data.name -> module with read(root, split, maps)


def load(
    name: str, root: str | Path, split: str, size: int | None = None, maps: bool = True, palette: str = "strict"
) -> PairDataset:
    """Split ``split`` of the data set in folder ``root``, which is laid out as format ``name``.

    Raises:
        ConfigError: the format is not known.
        DataError: the data set is incomplete or broken.
    """
    if name not in READERS:
        raise ConfigError(f"unknown data set format data.name={name!r}, expected one of: {', '.join(READERS)}")
    read = import_module(f".{READERS[name]}", __name__).read
    return PairDataset(read(Path(root), split, maps), split, size, maps, palette)
