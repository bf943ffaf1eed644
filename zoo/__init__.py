"""Captioners: tensors in, tensors out.

``create_model(name, **kwargs)`` builds one, ``list_models()`` names them all. Nothing here opens a file,
sees a word or knows a data set; the word loop, the training engine and the scores live in ``changecap``.
"""

from difflib import get_close_matches
from fnmatch import fnmatch
from importlib import import_module

from .captioner import Captioner, Memory, State

__all__ = ["Captioner", "Memory", "State", "create_model", "is_model", "list_models", "model_class"]

_CLASSES = {  # module name -> class name
    "chg2cap": "Chg2Cap",
    "mmodalcc": "MModalCC",
    "psnet": "PSNet",
    "rsiccformer": "RSICCformer",
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the known captioners that match ``pattern`` (shell wildcards), sorted."""
    return sorted(name for name in _CLASSES if fnmatch(name, pattern))


def is_model(name: str) -> bool:
    """Whether ``name`` is a known captioner."""
    return name in _CLASSES


def model_class(name: str) -> type[Captioner]:
    """The class called ``name``; its signature holds the published values.

    Raises:
        ValueError: ``name`` is not known; the message lists the known ones and the nearest.
    """
    if name not in _CLASSES:
        near = get_close_matches(name, _CLASSES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown model {name!r}, expected one of: {', '.join(list_models())}{hint}")
    found: type[Captioner] = getattr(import_module(f".{name}", __name__), _CLASSES[name])
    return found


def create_model(name: str, **kwargs: object) -> Captioner:
    """Build the captioner called ``name`` with random weights; ``kwargs`` are those of its class.

    Raises:
        ValueError: ``name`` is not known.
        TypeError: a keyword argument is not one of the class's.
    """
    return model_class(name)(**kwargs)
