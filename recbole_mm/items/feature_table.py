"""Table: the features of a catalogue in one modality."""

from typing import NamedTuple

from torch import Tensor


class Table(NamedTuple):
    """Features of a catalogue in one modality that nothing changes: rows (n_items, d), row = item id; present, bool (n_items,);
    a fingerprint of what made them; and one of what they were made from, which is "" where the first covers it."""

    rows: Tensor
    present: Tensor
    fingerprint: str
    contents: str = ""
