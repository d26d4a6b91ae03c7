"""The planted shop of ``recbole_mm.testing``, by a shorter name."""

from recbole_mm.testing.planted import *  # noqa: F403
from recbole_mm.testing.planted import built, settings, write_features, write_planted  # noqa: F401
