"""Encoders of item pictures and texts: ``create_encoder("open_clip:tiny")`` builds one, ``ItemEncoder`` says what it can do.

Importing this package imports every file in it, so an encoder is added by one file (or folder) that calls ``register_backend``. A script
of a user's own may call it as well.
"""

import importlib
import pkgutil

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import create_encoder, list_backends, register_backend
from recbole_mm.encoder.joint import JointEncoder

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ItemEncoder", "JointEncoder", "create_encoder", "list_backends", "register_backend"]
