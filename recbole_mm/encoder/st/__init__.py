"""Encoders from sentence-transformers."""

import recbole_mm.encoder.st.create  # noqa: F401  (registers the backend)
from recbole_mm.encoder.st.encoder import StEncoder

__all__ = ["StEncoder"]
