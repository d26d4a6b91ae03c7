"""Checks the columns that settings name: a name that no file has would be silently ignored."""

from collections.abc import Mapping
from pathlib import Path

from recbole_mm.data.atomic_file import read_kinds
from recbole_mm.data.loaded_columns import filtered_columns, needed_columns
from recbole_mm.errors import InputError, listed, nearest

OF_ROWS = ("user", "item")
"""The suffixes of the files that have a row per user or item."""


def interaction_files(config) -> list[Path]:
    """The data set's ``.inter`` file, or those of ``benchmark_filename``."""
    return [_file(config, f"{part}{part and '.'}inter") for part in config["benchmark_filename"] or [""]]


def kinds_of(config, file: Path) -> dict[str, str]:
    """The types of a file's columns by their names."""
    return read_kinds(file, config["field_separator"], config["encoding"] or "utf-8")


def check_columns(config, interactions: Mapping[str, str]) -> None:
    """Checks ``load_col``, ``unload_col`` and ``val_interval`` against the headers of the files.

    Args:
        interactions: the types of the columns of the interactions, by their names.

    Raises:
        InputError: a column or file that is named is not there, or is not read.
    """
    both = {*(config["load_col"] or ())} & {*(config["unload_col"] or ())} if "load_col" in config.given_keys else ()
    if both:
        raise InputError(f"load_col and unload_col both choose columns of '{next(iter(both))}'; keep one of them")
    for key in ("load_col", "unload_col"):
        for suffix, columns in (config[key] or {}).items() if key in config.given_keys else ():
            kinds = interactions if suffix == "inter" else _kinds(config, suffix)
            if kinds is None:
                raise InputError(f"{key}: there is no file {_file(config, suffix)}; leave '{suffix}' out")
            unknown = [column for column in columns or () if columns != "*" and column not in kinds]
            if unknown:
                name = "the interactions have" if suffix == "inter" else f"{_file(config, suffix)} has"
                raise InputError(f"{key}: {name} no column '{unknown[0]}'{nearest(unknown[0], kinds)}; there are {listed(kinds)}")
    for column in filtered_columns(config):
        if column not in interactions:
            _check_filter(config, column, interactions)


def check_parts(config, kinds: Mapping[Path, Mapping[str, str]]) -> None:
    """Checks that all parts of ``benchmark_filename`` have the columns that are read of one of them.

    Raises:
        InputError: one has not.
    """
    asked = (config["load_col"] or {"inter": "*"}).get("inter", ())
    every = {column for columns in kinds.values() for column in columns}
    for column in sorted(every if asked == "*" else {*asked, *needed_columns(config, "inter")}):
        having = [file for file, columns in kinds.items() if column in columns]
        if 0 < len(having) < len(kinds):
            lacking = next(file for file in kinds if file not in having)
            raise InputError(f"{lacking} has no column '{column}', which {having[0].name} has; add it, or leave it out (load_col)")


def _check_filter(config, column: str, interactions: Mapping[str, str]) -> None:
    """A filter of users or items works on files that are read, which no filter asks for: all their rows join the catalogue."""
    loaded = config["load_col"] or dict.fromkeys(OF_ROWS, "*")
    found = [suffix for suffix in dict.fromkeys((*OF_ROWS, *loaded)) if column in (_kinds(config, suffix) or {})]
    if not found:
        known = [*interactions, *(name for suffix in OF_ROWS for name in _kinds(config, suffix) or ())]
        raise InputError(f"val_interval: no file has a column '{column}'{nearest(column, known)}; there are {listed(dict.fromkeys(known))}")
    if not any(suffix in loaded for suffix in found):
        suffix = found[0]
        ids = config["ITEM_ID_FIELD" if suffix == "item" else "USER_ID_FIELD"]
        columns = {**loaded, suffix: [ids, column]}
        written = ", ".join(f"{name}: [{', '.join(names)}]" if names != "*" else f"{name}: '*'" for name, names in columns.items())
        raise InputError(f"val_interval: '{column}' is a column of {_file(config, suffix)}, which is not read; set load_col: {{{written}}}")


def _kinds(config, suffix: str) -> dict[str, str] | None:
    """The types of a file's columns by their names; None where there is no such file."""
    file = _file(config, suffix)
    return kinds_of(config, file) if file.is_file() else None


def _file(config, suffix: str) -> Path:
    return Path(config["data_path"]) / f"{config['dataset']}.{suffix}"
