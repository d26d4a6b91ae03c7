"""recbole_mm: RecBole items with pictures and words, and the encoders that read them, trained inside the recommender."""

from recbole_mm import compat

compat.install()

__version__ = "0.1.0"
__all__ = ["run", "__version__"]


def __getattr__(name: str) -> object:
    if name == "run":
        from recbole_mm.quick_start import run

        return run
    raise AttributeError(f"module 'recbole_mm' has no attribute '{name}'")
