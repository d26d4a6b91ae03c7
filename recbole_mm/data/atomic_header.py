"""The header of an atomic file, and what is wrong with one that is none."""

from pathlib import Path

from recbole_mm.errors import InputError

KINDS = ("token", "token_seq", "float", "float_seq")
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}


def read_header(path: Path, line: str, separator: str) -> dict[str, str]:
    """The type of every column by its name, from the first line of a file.

    Raises:
        InputError: a cell is not ``name:type``, or a name is there twice.
    """
    kinds: dict[str, str] = {}
    for cell in line.split(separator):
        parts = _parts(cell)
        if parts is None:
            raise InputError(f"{path}: line 1: {_fault(line, cell, separator)}")
        name, kind = parts
        if name in kinds:
            raise InputError(f"{path}: line 1: field {name!r} appears twice; rename or remove one of the two.")
        kinds[name] = kind
    return kinds


def unquoted(cell: str) -> str:
    """The cell without its csv quotes, if it is one well-formed quoted cell, which `"a" and "b"` is not."""
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _parts(cell: str) -> tuple[str, str] | None:
    """Name and type of a header cell; None where it is not of the form ``name:type``."""
    name, _, kind = (part.strip() for part in unquoted(cell.strip()).partition(":"))
    return (name, kind) if name and kind and ":" not in kind else None


def _fault(line: str, cell: str, separator: str) -> str:
    """Why a cell of a header is not ``name:type``: the cells have another separator, or no types, or both."""
    said = f"header cell {unquoted(cell.strip())!r} is not name:type"
    if not cell.strip():
        return f"{said}: the line begins or ends with a separator, or has two of them in a row"
    for other, name in SEPARATORS.items():
        cells = [_parts(part) for part in line.split(other)]
        if other != separator and len(cells) > 1 and all(parts and parts[1].lower() in KINDS for parts in cells):
            return f"{said}, because the cells are separated by {name}; set field_separator: {_yaml(other)} or separate them by " \
                   f"{SEPARATORS.get(separator, repr(separator))}"  # fmt: skip
    if ":" in line:
        return f"{said}; write e.g. title:token_seq, and check that field_separator is the one the file uses."
    between = max(SEPARATORS, key=line.count)
    between = between if between in line else separator
    example = " and ".join(f"{unquoted(name.strip())}:token" for name in line.split(between)[:2])
    other = f", separated by {SEPARATORS.get(separator, repr(separator))} (or set field_separator: {_yaml(between)})"
    return (
        f"{said}: a header names types as well, such as {example}{other if between != separator else ''}; recbole-mm prepare makes a data "
        "set of a table without types"
    )


def _yaml(separator: str) -> str:
    return f"'{separator}'" if separator != "\t" else '"\\t"'
