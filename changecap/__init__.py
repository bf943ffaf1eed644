"""changecap: two images of one place at two dates go in, a sentence that says what changed comes out."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference.captioner import Caption as Caption
    from .inference.captioner import Captioner as Captioner
    from .inference.captioner import create_model as create_model
    from .inference.captioner import load as load
    from .metrics import score as score
    from .robustness import ablate as ablate

__version__ = metadata.version("changecap")

# Public name -> module, loaded at first use: the command line must answer before torch is there.
_PUBLIC = {
    "Caption": ".inference.captioner",
    "Captioner": ".inference.captioner",
    "ablate": ".robustness",
    "create_model": ".inference.captioner",
    "load": ".inference.captioner",
    "score": ".metrics",
}
__all__ = ["Caption", "Captioner", "ablate", "create_model", "load", "score"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
