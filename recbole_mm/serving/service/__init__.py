"""The HTTP service over a Recommender."""
