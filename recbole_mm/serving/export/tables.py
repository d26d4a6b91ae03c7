"""Users and items as Parquet files, for other systems to load and for the tokens."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from torch import Tensor


def write_table(file: Path, columns: dict[str, object], vectors: Tensor | None) -> None:
    """Writes columns (n,), and vectors (n, d) as a column ``vector`` of lists of d numbers."""
    table = pd.DataFrame(columns)
    if vectors is None:
        duckdb.from_df(table).write_parquet(str(file))
        return
    names = [f"v{i}" for i in range(vectors.shape[1])]
    table = pd.concat([table, pd.DataFrame(vectors.numpy(), columns=names, copy=False)], axis=1)
    listed = ", ".join([*(f'"{column}"' for column in columns), f"[{', '.join(names)}] AS vector"])
    duckdb.from_df(table).project(listed).write_parquet(str(file))


def read_column(file: Path, column: str) -> np.ndarray:
    """A column of a Parquet file, in the order of its rows."""
    return duckdb.read_parquet(str(file)).project(f'"{column}"').fetchnumpy()[column]
