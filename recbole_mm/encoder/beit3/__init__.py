"""BEiT-3 (Wang et al. 2022, arXiv 2208.10442)."""

from recbole_mm.encoder.beit3.config import BEiT3Config
from recbole_mm.encoder.beit3.encoder import BEiT3Encoder
from recbole_mm.encoder.beit3.model import BEiT3, BEiT3Output

__all__ = ["BEiT3", "BEiT3Config", "BEiT3Encoder", "BEiT3Output"]
