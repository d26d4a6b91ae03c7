"""VLMo (Bao et al. 2021, arXiv 2111.02358): one transformer with an expert a modality. Its backend registers in ``encoder.py``."""

from recbole_mm.encoder.vlmo.config import VLMoConfig
from recbole_mm.encoder.vlmo.model import VLMo, VLMoOutput

__all__ = ["VLMo", "VLMoConfig", "VLMoOutput"]
