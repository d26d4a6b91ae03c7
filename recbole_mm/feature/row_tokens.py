"""Which item each row of a feature file belongs to, if the file itself does not say: from an id file, or by row number."""

import csv
import re
from collections.abc import Set
from pathlib import Path

from recbole_mm.errors import InputError

BY_ROW = "row"
MMREC = "i_id_mapping.csv"
BESIDE = (".ids.txt", ".ids.csv", ".ids.tsv", ".tokens", ".tokens.txt")
WHOLE = re.compile("0|[1-9][0-9]*")
HELP = (
    "set feature_ids to a file that names the rows (one item token per line; or a .csv / .tsv with a header), "
    "or to 'row' where row i belongs to item token i"
)


def row_tokens(path: Path, count: int, ids: str | None, folder: Path, item_field: str, catalogue: Set[str]) -> list[str]:
    """The item token of each of the ``count`` rows of a feature file.

    Args:
        ids: ``feature_ids``: an id file (relative to ``folder``), ``row`` (row i belongs to item token i), or None for a file beside
            ``path`` (``<stem>.ids.txt`` and the like, or MMRec's ``i_id_mapping.csv``).
        item_field, catalogue: the data set's item column and tokens, which tell the columns of an id file apart.

    Raises:
        InputError: there is no id file, it cannot be read, or it does not name every row once.
    """
    if ids == BY_ROW:
        return _numbers(path, count, catalogue)
    if ids is not None:
        file = folder / ids
    else:
        beside = [path.with_name(path.stem + suffix) for suffix in BESIDE] + [path.with_name(MMREC)]
        file = next((name for name in beside if name.is_file()), None)
        if file is None:
            raise InputError(f"{path} does not say which item a row belongs to: {HELP}")
    lines = _lines(file)
    tokens = _from_table(file, lines, item_field, catalogue) if file.suffix.lower() in (".csv", ".tsv") else lines
    if len(tokens) != count:
        raise InputError(f"{path} has {count} rows, but {file} names {len(tokens)}")
    return tokens


def _numbers(path: Path, count: int, catalogue: Set[str]) -> list[str]:
    odd = min((token for token in catalogue if not WHOLE.fullmatch(token)), default=None)
    if odd is not None:
        raise InputError(f"feature_ids: row: item token {odd} is not a row number of {path}")
    largest = max(map(int, catalogue))
    if largest >= count:
        raise InputError(f"feature_ids: row: {path} has {count} rows (0 to {count - 1}), but there is an item {largest}")
    return [str(row) for row in range(count)]


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"feature_ids: {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"feature_ids: {file} is not UTF-8 at byte {error.start}") from error
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _from_table(file: Path, lines: list[str], item_field: str, catalogue: Set[str]) -> list[str]:
    separator = "\t" if "\t" in lines[0] else ","
    names, *rows = csv.reader(lines, delimiter=separator)
    odd = next((number for number, row in enumerate(rows, start=2) if len(row) != len(names)), None)
    if odd is not None:
        raise InputError(f"{file}: line {odd} has {len(rows[odd - 2])} cells, the header has {len(names)}")
    columns = dict(zip((name.partition(":")[0] for name in names), zip(*rows, strict=True), strict=True)) if rows else {}
    if len(columns) == 2:
        (first, tokens), (second, numbers) = columns.items()
        if sorted(numbers, key=lambda n: (len(n), n)) == [str(i) for i in range(len(rows))]:
            return _from_mapping(file, {first: tokens, second: numbers}, numbers, item_field, catalogue)
    name = item_field if item_field in columns else next(iter(columns)) if len(columns) == 1 else None
    if name is None:
        raise InputError(f"{file} has columns {', '.join(columns)}: call the column of item tokens {item_field}, in row order; "
                         "or give two columns, the token and its row number (0, 1, ...)")  # fmt: skip
    return list(columns[name])


def _from_mapping(
    file: Path, columns: dict[str, tuple[str, ...]], numbers: tuple[str, ...], item_field: str, catalogue: Set[str]
) -> list[str]:
    """Tokens in the order of their row numbers. The item tokens of the data set may be in either column of the mapping."""
    fitting = [name for name, values in columns.items() if not catalogue.isdisjoint(values)]
    if item_field not in columns and len(fitting) > 1:
        raise InputError(f"{file}: the data set's items are found in both columns, {' and '.join(columns)}; set feature_ids to 'row' "
                         "if item tokens are row numbers, or else to a file with one token per line")  # fmt: skip
    name = item_field if item_field in columns else (fitting or list(columns))[0]
    tokens = [""] * len(numbers)
    for token, row in zip(columns[name], numbers, strict=True):
        tokens[int(row)] = token
    return tokens
