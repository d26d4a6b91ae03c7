"""Which of an encoder's parameters train, by the name of a tuning."""

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.tuning.tunings import TUNINGS, tuning_class


def tune(encoder: ItemEncoder, tuning: str = "full", *, seed: int = 0, **sizes: float) -> list[str]:
    """Chooses what trains, in place: see ``Tuning.apply`` and the tunings themselves.

    Args:
        tuning: a key of ``TUNINGS``.
        seed: draws the new parameters.
        sizes: fields of tunings, such as ``lora_rank=4``; those of another tuning are left alone.

    Returns:
        The names of the parameters that train.

    Raises:
        InputError: there is no such tuning, or it cannot be applied to this encoder.
        TypeError: no tuning has a size of this name.
    """
    kind = tuning_class(tuning)
    unknown = set(sizes) - {name for each in TUNINGS.values() for name in each.keys().values()}
    if unknown:
        raise TypeError(f"no tuning has a size called {', '.join(sorted(unknown))}")
    return kind(**{name: sizes[name] for name in kind.keys().values() if name in sizes}).apply(encoder, seed)
