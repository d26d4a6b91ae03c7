"""The ``.item`` file of a data set, whose rows are found by item token."""

from collections.abc import Sequence
from logging import getLogger
from pathlib import Path

from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.typed_cells import rows_with
from recbole_mm.errors import InputError


class ItemFile:
    """The columns of an ``.item`` file. Rows without an item are left out, and the log counts them.

    Attributes:
        columns: the values of every column, by its name, in the order of the rows.
        ids: the item token of every row.

    Raises:
        InputError: the file cannot be read, or has no column ``id_field``.
    """

    def __init__(self, path: Path, id_field: str, separator: str, encoding: str) -> None:
        self.path = path
        file = read_atomic_file(path, separator, encoding)
        if id_field not in file.columns:
            raise InputError(f"{path} has no column '{id_field}' (ITEM_ID_FIELD); it has {', '.join(file.columns)}")
        rows, said = rows_with(file, [id_field])
        if said:
            getLogger().warning(said)
        self.columns = {name: [cells[row] for row in rows] for name, cells in file.columns.items()} if said else file.columns
        self.ids = self.columns[id_field]

    @classmethod
    def of(cls, config, folder: Path) -> "ItemFile":
        """The ``.item`` file of the data set that a configuration names, in its folder."""
        path = folder / f"{config['dataset']}.item"
        return cls(path, config["ITEM_ID_FIELD"], config["field_separator"], config["encoding"] or "utf-8")

    def column(self, field: str, key: str, rows: Sequence[int | None]) -> list[str]:
        """The values of a column in the given rows, "" where the row is None.

        Raises:
            InputError: there is no such column; the message names the configuration ``key`` that asked for it.
        """
        if field not in self.columns:
            raise InputError(f"{self.path} has no column '{field}' ({key}); it has {', '.join(self.columns)}")
        return ["" if row is None else self.columns[field][row] for row in rows]

    def rows(self, tokens: Sequence[str]) -> list[int | None]:
        """The row of every item; None for the padding item, which is the first, and for items that have no row.

        Raises:
            InputError: an item has several rows, or none of the items has one.
        """
        row_of: dict[str, int] = {}
        for row, token in enumerate(self.ids):
            if row_of.setdefault(token, row) != row:
                raise InputError(f"{self.path} has item {token} more than once: keep the right row (recbole-mm audit names all such items)")
        rows = [None, *(row_of.get(token) for token in tokens[1:])]
        without = [token for token, row in zip(tokens[1:], rows[1:], strict=True) if row is None]
        if len(without) == len(tokens) - 1:
            example = next(iter(row_of), "nothing")
            raise InputError(
                f"none of the items in the interactions is in {self.path}: the interactions name {tokens[1]}, ..., the file {example}, ..."
            )
        if without:
            getLogger().warning(f"{len(without)} of {len(tokens) - 1} items have no row in {self.path}, for example {without[0]}")
        return rows
