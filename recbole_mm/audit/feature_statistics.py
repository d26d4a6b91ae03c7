"""Statistics of the numbers in a feature file, which is read in blocks."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from recbole_mm.feature.formats import Rows, reading
from recbole_mm.feature.row_faults import CONSTANT, ZERO, faulty_rows
from recbole_mm.terminal import Bar

NUMBERS_AT_ONCE = 2**24


@dataclass(frozen=True)
class Statistics:
    """Statistics of n rows.

    Attributes:
        finite, zero, constant: bool (n,); a constant row repeats one number other than zero.
        norms: (n,), the Euclidean norms; NaN for rows that are not finite.
        duplicates: the numbers of the rows that have the same values as another row, those of the largest group first; zero
            and constant rows are left out.
        constant_columns: how many columns have the same value in all finite rows.
        width: the number of columns.
    """

    finite: np.ndarray
    zero: np.ndarray
    constant: np.ndarray
    norms: np.ndarray
    duplicates: np.ndarray
    constant_columns: int
    width: int

    def numbers(self) -> dict[str, object]:
        """For the report."""
        norms = self.norms[self.finite]
        spread = {"min": norms.min(), "median": np.median(norms), "max": norms.max()} if len(norms) else {}
        return {
            "not_finite_rows": int((~self.finite).sum()), "zero_rows": int(self.zero.sum()), "constant_rows": int(self.constant.sum()),
            "duplicate_rows": len(self.duplicates), "constant_columns": self.constant_columns,
            "norms": {name: float(value) for name, value in spread.items()},
        }  # fmt: skip


def measure(rows: Rows, modality: str, path: Path, show_progress: bool) -> Statistics:
    """Reads all rows once.

    Raises:
        InputError: the file cannot be read.
    """
    block = max(1, NUMBERS_AT_ONCE // rows.width)
    finite, zero, constant = (np.zeros(rows.count, dtype=bool) for _ in range(3))
    norms, names = np.full(rows.count, np.nan), []
    low, high = np.full(rows.width, np.inf), np.full(rows.width, -np.inf)
    with Bar(total=rows.count, desc=f"Reading {path.name}", disable=not show_progress) as bar:
        for start in range(0, rows.count, block):
            at = slice(start, min(start + block, rows.count))
            with reading(modality, path):
                values = np.ascontiguousarray(rows.read(np.arange(at.start, at.stop)))
            faults = faulty_rows(values)
            finite[at], zero[at], constant[at] = np.isfinite(values).all(1), faults[ZERO], faults[CONSTANT]
            norms[at] = np.where(finite[at], np.linalg.norm(np.where(finite[at, None], values, 0), axis=1), np.nan)
            names += [blake2b(row, digest_size=16).digest() for row in values]
            known = values[finite[at]]
            if len(known):
                low, high = np.minimum(low, known.min(0)), np.maximum(high, known.max(0))
            bar.update(at.stop - at.start)
    _, group, sizes = np.unique(np.array(names), return_inverse=True, return_counts=True)
    size = np.where(zero | constant | ~finite, 1, sizes[group])
    order = np.lexsort((np.arange(rows.count), group, -size))
    return Statistics(finite, zero, constant, norms, order[size[order] > 1], int((low == high).sum()), rows.width)
