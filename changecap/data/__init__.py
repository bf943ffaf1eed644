"""Data sets: files in, pairs with their captions out. One reader per format, one dataset class for all."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..io.bands import RGB, Bands, Scale
from ..io.json_file import read_json
from ..io.sources import Stored
from .example import Example

if TYPE_CHECKING:
    from preprocess import Chain

    from .dataset import PairDataset

__all__ = ["READERS", "Example", "Stored", "arguments", "ensure", "load", "reader"]

READERS = {  # data.name -> module
    "second_cc": "second_cc",
    "levir_cc": "levir_cc",
    "dubai_cc": "dubai_cc",
    "folder": "folder",
    "hdf5": "hdf5",
    "chg2cap_tokens": "chg2cap_tokens",
}


def load(
    name: str,
    root: str | Path,
    split: str,
    size: int | None = None,
    maps: bool = True,
    palette: str = "strict",
    bands: Bands = RGB,
    scale: Scale = None,
    pack: bool = False,
    workers: int = 2,
    progress: bool = False,
    prepare: "Chain | None" = None,
) -> "PairDataset":
    """Split ``split`` of the data set in folder ``root``, which is laid out as format ``name``.

    Args:
        name: a key of :data:`READERS`.
        root: the folder.
        split: ``train``, ``val`` or ``test``.
        size: side in pixels that everything is resized to; ``None`` keeps the files' own.
        maps: whether land-cover maps are read.
        palette: ``strict`` or ``nearest``, what is done about a colour off the palette.
        bands: of GeoTIFFs, those that are red, green and blue; see :class:`changecap.io.geotiff.Scene`.
        scale: of GeoTIFFs, the numbers that become 0 and 255.
        pack: read from one memory-mapped file of decoded pairs, which is written the first time.
        workers: threads that decode for the pack.
        progress: show a bar while they do.
        prepare: what is done to each pair in its own size, before it is resized.

    Raises:
        ConfigError: the format is not known.
        DataError: the data set is incomplete or broken.
    """
    read = reader(name).read
    from .dataset import PairDataset

    dataset = PairDataset(read(Path(root), split, maps), split, size, maps, palette, bands, scale, prepare)
    if pack:
        dataset.pack(Path(root), workers, progress)
    return dataset


def arguments(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration ``data`` says to :func:`load`; what it has no key for, as HDF5 has no bands, is left out.

    Whether there is a pack is for the caller to say, who knows how often the pairs are read.
    """
    return {key: data[key] for key in ("name", "root", "size", "palette", "bands", "scale") if key in data}


def reader(name: str) -> ModuleType:
    """The module that reads format ``name``: ``read(root, split, maps, report)`` and ``splits(root)``.

    Raises:
        ConfigError: the format is not known.
    """
    if name not in READERS:
        raise ConfigError(f"unknown data set format data.name={name!r}, expected one of: {', '.join(READERS)}")
    return import_module(f".formats.{READERS[name]}", __name__)


def ensure(data: Mapping[str, Any], progress: bool = True) -> None:
    """Write the simulated data set that ``data`` describes, unless it is there; data without ``synth`` are let alone.

    Args:
        data: ``root``, and in ``synth`` the arguments of :func:`changecap.data.synthetic.write`.
        progress: show a bar.

    Raises:
        ConfigError: the folder holds something else, or data simulated with other numbers.
        DataError: its record is broken, or the numbers do not fit together.
    """
    if not (numbers := data.get("synth")):
        return
    from .synthetic import PARAMETERS, parameters_of, write

    root = Path(data["root"])
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        write(root, **numbers, progress=progress)
        return
    record, wanted = root / PARAMETERS, parameters_of(**numbers)
    if not record.is_file():
        raise ConfigError(
            f"{root} is there and was not simulated, it has no {PARAMETERS}; "
            "read it with data=second_cc, or give another data.root"
        )
    found = read_json(record, remedy=f"remove {root}, and it will be simulated anew")
    if found != wanted:
        raise ConfigError(
            f"{root} was simulated with {found}, and {wanted} is asked for; "
            "give another data.root, or remove the folder, and it will be simulated anew"
        )
