"""Table: the features of a catalogue in one modality, which nothing changes."""

from typing import NamedTuple

from torch import Tensor


class Table(NamedTuple):
    """Features of a catalogue in one modality.

    Attributes:
        rows: (n_items, d), one row per internal item id.
        present: bool (n_items,), which items have the modality.
        fingerprint: names what made the rows.
        contents: names what they were made from; "" where ``fingerprint`` covers it.
        codes: int64 (n_items,), names each row by itself, 0 where there is none; None where ``fingerprint`` does not hang on the items.
    """

    rows: Tensor
    present: Tensor
    fingerprint: str
    contents: str = ""
    codes: Tensor | None = None
