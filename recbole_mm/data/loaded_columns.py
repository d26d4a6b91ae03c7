"""Which columns of an atomic file are read: those of ``load_col`` and ``unload_col``, and those that other settings need."""

from collections.abc import Mapping
from pathlib import Path

from recbole.utils import FeatureType, ModelType

from recbole_mm.config.labels import is_tested_on_labels, learns_from_labels
from recbole_mm.data.atomic_header import KINDS
from recbole_mm.errors import InputError, listed, nearest

IDS = {
    "inter": ("USER_ID_FIELD", "ITEM_ID_FIELD"),
    "user": ("USER_ID_FIELD",),
    "item": ("ITEM_ID_FIELD",),
    "kg": ("HEAD_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "TAIL_ENTITY_ID_FIELD"),
    "link": ("ITEM_ID_FIELD", "ENTITY_ID_FIELD"),
}
"""By the suffix of a file the keys that name its columns of tokens, without which a row says nothing."""
ID_KEYS = {key for keys in IDS.values() for key in keys}
NUMBER_KEYS = ("TIME_FIELD", "LABEL_FIELD", "threshold")
"""The keys whose columns hold a number."""


def id_columns(config, source: str) -> dict[str, str]:
    """Those columns of a file of this suffix by the keys that name them."""
    return {key: config[key] for key in IDS.get(source, ()) if config[key]}


def is_split_by_time(config) -> bool:
    """Are interactions sorted by time? Sequential models do so whatever the order of the split; benchmark files stay as they are."""
    order, split = config["eval_args"]["order"], config["eval_args"]["split"]
    sorts = order == "TO" or config["MODEL_TYPE"] == ModelType.SEQUENTIAL or isinstance(split, Mapping) and "TS" in split
    return sorts and config["benchmark_filename"] is None


def list_column(config) -> str | None:
    """The column that holds a user's history in the benchmark files of a sequential model."""
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL and config["benchmark_filename"] is not None
    return f"{config['ITEM_ID_FIELD']}{config['LIST_SUFFIX']}" if sequential else None


def needed_columns(config, source: str) -> dict[str, str]:
    """The columns of a file of this suffix that a run cannot do without, each with the key that names it."""
    needed = {column: key for key, column in id_columns(config, source).items()}
    if source == "inter":
        if is_split_by_time(config):
            needed[config["TIME_FIELD"]] = "TIME_FIELD"
        needed.update(dict.fromkeys(config["threshold"] or (), "threshold"))
        if not config["threshold"] and (learns_from_labels(config) or is_tested_on_labels(config)):
            needed[config["LABEL_FIELD"]] = "LABEL_FIELD"
        if config["inter_matrix_type"] == "rating":
            needed[config["RATING_FIELD"]] = "inter_matrix_type"
        if config["time-aware"]:
            needed[config["TIME_FIELD"]] = "time-aware"
        if list_column(config):
            needed[list_column(config)] = "LIST_SUFFIX"
    return needed


def filtered_columns(config) -> tuple[str, ...]:
    """The columns that rows are filtered by. Benchmark files are not filtered."""
    return tuple(config["val_interval"] or ()) if config["benchmark_filename"] is None else ()


def columns_to_read(config, path: Path, kinds: Mapping[str, str], source: str, load: set | None, unload: set | None) -> dict[str, str]:
    """The columns of a file that are to be read, in the order of the file, each with the reason: the key that needs it, or "load_col".

    Args:
        kinds: the types of all columns of the file.
        load, unload: what ``load_col`` and ``unload_col`` say of this file; None for nothing.

    Raises:
        InputError: ``unload_col`` leaves out a needed column, or an id column is not there.
    """
    needed = dict.fromkeys(filtered_columns(config), "val_interval") | needed_columns(config, source)
    absent = next((key for key, column in id_columns(config, source).items() if column not in kinds), None)
    if absent:
        raise InputError(f"{path} has no column '{config[absent]}' ({absent}); it has {listed(kinds)}")
    left_out = next((column for column in kinds if column in needed and column in (unload or ())), None)
    if left_out:
        raise InputError(f"unload_col leaves out '{left_out}' of {path}, which {needed[left_out]} needs")
    asked = {column for column in kinds if (load is None or column in load) and column not in (unload or ())}
    return {column: "load_col" if column in asked else needed[column] for column in kinds if column in asked or column in needed}


def feature_type(path: Path, column: str, kind: str, key: str | None = None) -> FeatureType:
    """The type of a column.

    Args:
        key: the key that needs the column, if one does.

    Raises:
        InputError: RecBole has no such type, or ``key`` needs another one.
    """
    if kind.lower() not in KINDS:
        raise InputError(f"{path}: line 1: '{column}:{kind}': the type is none of {listed(KINDS)}{nearest(kind, KINDS)}")
    needed = "token_seq" if key == "LIST_SUFFIX" else "float" if key in NUMBER_KEYS else "token" if key in ID_KEYS else kind.lower()
    if needed != kind.lower():
        raise InputError(f"{path}: line 1: '{column}:{kind}' must be {column}:{needed} ({key})")
    return FeatureType(needed)
