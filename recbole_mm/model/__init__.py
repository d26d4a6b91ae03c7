"""The recommenders, one file per model: ``from recbole_mm.model import VBPR``."""

from recbole_mm.config.registry import get_model, is_ours, list_models, our_models

OUR_MODELS = our_models()
"""The names of the recommenders in this folder, and the modules that define them."""

__all__ = ["OUR_MODELS", "get_model", "is_ours", "list_models"]


def __getattr__(name: str) -> type:
    if name in OUR_MODELS:
        return get_model(name)
    raise AttributeError(f"module 'recbole_mm.model' has no attribute '{name}'")
