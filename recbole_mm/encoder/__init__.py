"""Encoders of item pictures and texts. ``create_encoder("open_clip:tiny")``; see ``ItemEncoder`` for what one can do.

Importing this room imports every file in it, so an encoder is added by one file (or folder) that calls ``register_backend``.
"""

import importlib
import pkgutil

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import create_encoder, list_backends, register_backend

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ItemEncoder", "create_encoder", "list_backends", "register_backend"]
