"""Image encoders from timm."""

from recbole_mm.encoder.timm.encoder import TimmEncoder

__all__ = ["TimmEncoder"]
