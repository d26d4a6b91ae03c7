"""Encoders from transformers."""

from recbole_mm.encoder.hf.encoder import HfEncoder

__all__ = ["HfEncoder"]
