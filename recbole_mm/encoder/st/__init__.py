"""Encoders from sentence-transformers."""

from recbole_mm.encoder.st.encoder import StEncoder

__all__ = ["StEncoder"]
