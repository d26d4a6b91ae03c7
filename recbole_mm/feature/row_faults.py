"""Feature vectors that say nothing: all zero, one number repeated, or the same for every item."""

from collections.abc import Sequence
from logging import getLogger

import numpy as np

from recbole_mm.errors import listed
from recbole_mm.items.feature_table import Table

NAMED_IN_MESSAGE = 3
ZERO, CONSTANT = "zero", "constant"
FAULTS = {
    ZERO: ("are all zero", "leave these rows out of the file: the items then count as missing"),
    CONSTANT: ("repeat one number", "compute them again, or leave them out"),
}
"""By the name of a fault, what is said of the features of the items that have it, and what to do."""
logger = getLogger(__name__)


def faulty_rows(values: np.ndarray) -> dict[str, np.ndarray]:
    """Which of n rows of features, float (n, d), have which fault: bool (n,) by the fault's name. No row has two."""
    zero = ~values.any(1)
    return {ZERO: zero, CONSTANT: (values == values[:, :1]).all(1) & ~zero & (values.shape[1] > 1)}


def warn_of_faults(modality: str, source: str, table: Table, tokens: Sequence[str]) -> None:
    """Says in the log which features cannot tell items apart.

    Args:
        source: where they come from, for the message.
        table: the features of a catalogue.
        tokens: the tokens of its items.
    """
    values, present = table.rows.numpy(), table.present.numpy()
    n = int(present.sum())
    if n > 1 and (values == values[present.argmax()]).all(1)[present].all():
        what = "the same vector" if values.any() else "zero"
        logger.warning(f"{modality}: the features of all {n:,} items in {source} are {what}, so that they say nothing; compute them again")
        return
    for fault, rows in faulty_rows(values).items():
        ids = np.flatnonzero(rows & present).tolist()
        if ids:
            said, action = FAULTS[fault]
            named = listed(tokens[i] for i in ids[:NAMED_IN_MESSAGE]) + ", ..." * (len(ids) > NAMED_IN_MESSAGE)
            logger.warning(f"{modality}: the features of {len(ids):,} of {n:,} items in {source} {said} ({named}); {action}")
