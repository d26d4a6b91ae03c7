"""From a checkpoint to recommendations."""

from recbole_mm.serving.recommender import Recommender

__all__ = ["Recommender"]
