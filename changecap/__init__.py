"""changecap: two images of one place at two dates go in, a sentence that says what changed comes out."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ablation import ablate as ablate
    from .captioner import Caption as Caption
    from .captioner import Captioner as Captioner
    from .captioner import create_model as create_model
    from .captioner import load as load
    from .metrics import score as score

__version__ = metadata.version("changecap")

# Public name -> module, loaded at first use: the command line must answer before torch is there.
_PUBLIC = {
    "Caption": ".captioner",
    "Captioner": ".captioner",
    "ablate": ".ablation",
    "create_model": ".captioner",
    "load": ".captioner",
    "score": ".metrics",
}
__all__ = ["Caption", "Captioner", "ablate", "create_model", "load", "score"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
