"""Encoders from open_clip."""

from recbole_mm.encoder.open_clip.encoder import OpenClipEncoder

__all__ = ["OpenClipEncoder"]
