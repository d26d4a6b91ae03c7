"""Item content: pictures and texts by internal item id, and the RecBole data set that carries them."""

from recbole_mm.data.content import ItemContent
from recbole_mm.data.dataset import MultiModalDataset

__all__ = ["ItemContent", "MultiModalDataset"]
