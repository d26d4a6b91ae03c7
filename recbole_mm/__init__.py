"""recbole_mm: RecBole items with pictures and words, and the encoders that read them, trained inside the recommender."""

import importlib

from recbole_mm.compat.import_hook import install

install()

__version__ = "0.1.0"
__all__ = ["ItemEncoder", "Recommender", "compare", "create_encoder", "register_backend", "run", "__version__"]

_ROOMS = {
    "run": "quick_start",
    "compare": "results.compare.compare",
    "Recommender": "serving",
    "ItemEncoder": "encoder",
    "create_encoder": "encoder",
    "register_backend": "encoder",
}


def __getattr__(name: str) -> object:
    """A public name is imported when it is first asked for, so that ``import recbole_mm`` loads nothing."""
    if name in _ROOMS:
        return getattr(importlib.import_module(f"recbole_mm.{_ROOMS[name]}"), name)
    raise AttributeError(f"module 'recbole_mm' has no attribute '{name}'")
