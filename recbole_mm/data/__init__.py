"""Item content: pictures and texts by internal item id, and the RecBole data set that carries them."""

__all__ = ["ItemContent", "MultiModalDataset"]


def __getattr__(name: str) -> type:
    if name == "ItemContent":
        from recbole_mm.data.content import ItemContent

        return ItemContent
    if name == "MultiModalDataset":
        from recbole_mm.data.dataset import MultiModalDataset

        return MultiModalDataset
    raise AttributeError(f"module 'recbole_mm.data' has no attribute '{name}'")
