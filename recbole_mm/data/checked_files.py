"""CheckedFiles: how atomic files become the tables of one of RecBole's data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from recbole.utils import FeatureSource, FeatureType

from recbole_mm.compat.list_columns import ListTable
from recbole_mm.data.atomic_file import AtomicFile, read_atomic_file, read_kinds
from recbole_mm.data.check_columns import OF_ROWS
from recbole_mm.data.column_cache import quick_columns
from recbole_mm.data.loaded_columns import columns_to_read, feature_type, filtered_columns, id_columns, needed_columns
from recbole_mm.data.typed_cells import is_missing, line_numbers, number_lists, numbers, rows_with, token_lists, tokens
from recbole_mm.errors import InputError

INTERACTIONS = FeatureSource.INTERACTION.value
OF_TOKENS = (INTERACTIONS, *OF_ROWS)
"""The files whose columns of tokens may be Categoricals, as far as RecBole's code goes."""
NEVER_LEFT_OUT = (INTERACTIONS, FeatureSource.KG.value, "link")
"""The files that a model which opens them cannot do without, whether ``load_col`` names them or not."""


class CheckedFiles:
    """A mixin that stands before one of RecBole's dataset classes and reads the files in its place.

    Rows without a user or an item are left out and counted, whichever file they stand in. Columns that settings need are read whether
    ``load_col`` names them or not. What cannot be read is said in one line that names the file.
    """

    read_for_filters: frozenset[str] = frozenset()
    """The columns of the interactions that nothing but ``val_interval`` asks for."""
    interaction_columns: frozenset[str] = frozenset()
    """All columns that the interactions have in their file."""

    def _load_feat(self, filepath: str, source: FeatureSource | str) -> pd.DataFrame | None:
        """The table of a file as RecBole's method makes it; None if nothing is to be read from it.

        Raises:
            InputError: the file cannot be read, or a row of it.
        """
        load, unload = self._get_load_and_unload_col(source)
        suffix = source.value if isinstance(source, FeatureSource) else source
        if load == set() and suffix not in NEVER_LEFT_OUT:
            return None
        path, separator, encoding = Path(filepath), self.config["field_separator"], self.config["encoding"] or "utf-8"
        kinds = read_kinds(path, separator, encoding)
        reasons = columns_to_read(self.config, path, kinds, suffix, load, unload)
        if not reasons:
            self.logger.warning(f"{path}: none of its columns is read (load_col)")
            return None
        needed = needed_columns(self.config, suffix)
        types = {column: feature_type(path, column, kinds[column], needed.get(column)) for column in reasons}
        besides = [f"{column} (for {reason})" for column, reason in reasons.items() if reason != "load_col"]
        if besides:
            self.logger.info(f"{path}: read besides load_col: {', '.join(besides)}")
        if suffix == INTERACTIONS:
            self.interaction_columns = frozenset(kinds)
            self.read_for_filters = frozenset(column for column, reason in reasons.items() if reason == "val_interval")
        ids = list(id_columns(self.config, suffix).values())
        columns = quick_columns(self.config, path, {column: types.get(column) for column in kinds}, ids)
        if columns is None:
            columns = self._read_carefully(read_atomic_file(path, separator, encoding), types, ids, suffix, source, needed)
        elif suffix not in OF_TOKENS:
            columns = {column: np.asarray(values) for column, values in columns.items()}
        if suffix in OF_ROWS:
            self._say_what_is_repeated(path, columns[ids[0]], ids[0])
        if source != "link":
            for column, kind in types.items():
                self._note(column, kind, source, columns[column])
        return ListTable(columns)

    def _read_carefully(
        self, file: AtomicFile, types: Mapping[str, FeatureType], ids: Sequence[str], suffix: str, source, needed: Mapping[str, str]
    ) -> dict[str, np.ndarray | pd.Series]:
        rows = self._rows_with_ids(file, ids)
        if suffix == INTERACTIONS:
            self._say_what_is_empty(file, [column for column, kind in types.items() if kind == FeatureType.FLOAT], rows)
        return {column: self._read_column(file, column, kind, rows, needed.get(column)) for column, kind in types.items()}

    def _rows_with_ids(self, file: AtomicFile, fields: Sequence[str]) -> list[int]:
        rows, said = rows_with(file, fields)
        if not rows:
            raise InputError(f"{file.path} has no rows" + (f" with {' and '.join(fields)}" if file.lines else " below its header"))
        if said:
            self.logger.warning(said)
        return rows

    def _say_what_is_repeated(self, path: Path, ids: Sequence[str], field: str) -> None:
        repeated = len(ids) - pd.Series(ids).nunique()
        if repeated:
            self.logger.warning(f"{path}: {repeated:,} of {len(ids):,} rows repeat the {field} of an earlier one, which counts")

    def _say_what_is_empty(self, file: AtomicFile, columns: Sequence[str], rows: Sequence[int]) -> None:
        """RecBole takes the mean of the other rows for an empty number. Where it decides on a split or a label, that is worth a word."""
        for column in columns:
            lines = [file.lines[row] for row in rows if is_missing(file.columns[column][row])]
            if lines and len(lines) < len(rows):
                instead = "are left out by the filter" if column in filtered_columns(self.config) else "get the mean of the others"
                self.logger.warning(f"{file.path}: {len(lines):,} of {len(rows):,} rows have no {column} and {instead}: "
                                    f"{line_numbers(lines)}")  # fmt: skip

    def _read_column(
        self, file: AtomicFile, column: str, kind: FeatureType, rows: Sequence[int], key: str | None
    ) -> np.ndarray | pd.Series:
        """The values of a column in the given rows."""
        if kind == FeatureType.FLOAT:
            return numbers(file, column, rows, key)
        cells, separator = [file.columns[column][row] for row in rows], self.config["seq_separator"]
        if kind == FeatureType.TOKEN:
            return pd.Series(tokens(cells), dtype=object)
        lists = token_lists(cells, separator) if kind == FeatureType.TOKEN_SEQ else number_lists(file, column, rows, separator)
        most = (self.config["seq_len"] or {}).get(column)
        return pd.Series([values[:most] for values in lists] if most else lists, dtype=object)

    def _note(self, column: str, kind: FeatureType, source: FeatureSource | str, values: Sequence) -> None:
        """Notes a column's type, source and length as RecBole does."""
        length = 1 if kind in (FeatureType.TOKEN, FeatureType.FLOAT) else max(map(len, values))
        self.field2source[column], self.field2type[column], self.field2seqlen[column] = source, kind, length
        if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
            self.field2bucketnum[column] = 2
