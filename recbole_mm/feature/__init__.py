"""ItemFeatures: the one place a recommender asks for what its items look like and say."""

from recbole_mm.feature.features import ItemFeatures

__all__ = ["ItemFeatures"]
