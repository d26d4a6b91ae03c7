"""Encoders of item pictures and texts. ``create_encoder("open_clip:tiny")``; see ``ItemEncoder`` for what one can do."""

from recbole_mm.encoder import beit3 as _beit3  # noqa: F401, registers its backend
from recbole_mm.encoder import hf as _hf  # noqa: F401, registers its backend
from recbole_mm.encoder import openclip as _openclip  # noqa: F401, registers its backend
from recbole_mm.encoder import separate as _separate  # noqa: F401, registers its backend
from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import create_encoder, list_backends
from recbole_mm.encoder.vlmo import encoder as _vlmo  # noqa: F401, registers its backend

__all__ = ["ItemEncoder", "create_encoder", "list_backends"]
