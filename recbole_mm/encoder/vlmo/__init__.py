"""VLMo (Bao et al., arXiv 2111.02358): one transformer with an expert per modality."""

from recbole_mm.encoder.vlmo.config import VLMoConfig
from recbole_mm.encoder.vlmo.encoder import VLMoEncoder
from recbole_mm.encoder.vlmo.model import VLMo, VLMoOutput

__all__ = ["VLMo", "VLMoConfig", "VLMoEncoder", "VLMoOutput"]
