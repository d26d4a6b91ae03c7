"""What the keys of a data set must hold that choose its rows and columns, and which columns are read where nobody says so."""

from collections.abc import Mapping

from recbole_mm.config.intervals import INTERVALS, interval_hint, is_interval
from recbole_mm.config.kinds import COUNT, NAMES, SWITCH, Kind, is_name, is_name_mapping, is_number
from recbole_mm.errors import InputError, listed

FIELDS = {
    "user_id": "USER_ID_FIELD", "item_id": "ITEM_ID_FIELD", "rating": "RATING_FIELD", "timestamp": "TIME_FIELD",
    "head_id": "HEAD_ENTITY_ID_FIELD", "relation_id": "RELATION_ID_FIELD", "tail_id": "TAIL_ENTITY_ID_FIELD",
    "entity_id": "ENTITY_ID_FIELD",
}  # fmt: skip
"""The columns that RecBole's own ``load_col`` names, each with the key that gives it another name."""
COUNTED = ("user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval", "relation_kg_num_interval")
PARTS = Kind("list", "three different parts in the order training, validation, test, such as [train, valid, test] for the files "
             "<dataset>.train.inter and so on", lambda v: NAMES.accepts(v) and len(v) == 3 == len(set(v)) and all(v))  # fmt: skip
LENGTHS = Kind("dict", "a mapping from column to length, such as {tags: 10}",
               lambda v: isinstance(v, Mapping) and all(map(is_name, v)) and all(map(COUNT.accepts, v.values())))  # fmt: skip
WEIGHTS = Kind("dict", "a mapping from a column of ids to a column of numbers", is_name_mapping)
KINDS = {
    "benchmark_filename": PARTS, "seq_len": LENGTHS, "preload_weight": WEIGHTS, "normalize_field": NAMES, "normalize_all": SWITCH,
    "numerical_features": NAMES, "kg_reverse_r": SWITCH,
    **{f"alias_of_{ids}": NAMES for ids in ("user_id", "item_id", "entity_id", "relation_id")}, **dict.fromkeys(COUNTED, INTERVALS),
}  # fmt: skip


def check_data_keys(settings: Mapping) -> None:
    """Checks the values of keys that RecBole reads without a check of its own.

    Raises:
        InputError: naming every key that holds something else, and what it may be.
    """
    complaints = [kind.complaint(key, settings[key]) for key, kind in KINDS.items()
                  if settings.get(key) is not None and not kind.accepts(settings[key])]  # fmt: skip
    complaints += [*_of_val_interval(settings.get("val_interval")), *_of_threshold(settings.get("threshold"))]
    if complaints:
        raise InputError("; ".join(complaints))


def separators(settings: Mapping) -> dict[str, str]:
    """The keys of separators that hold a tab as two characters, which is how shells and single quotes in YAML pass it on."""
    return {key: "\t" for key in ("field_separator", "seq_separator") if settings.get(key) == r"\t"}


def default_columns(load_col: object, settings: Mapping) -> object:
    """RecBole's own ``load_col`` under the names that the fields have in the settings. A file of which ``unload_col`` leaves columns out is
    read but for these."""
    if not isinstance(load_col, Mapping):
        return load_col
    names = {column: settings.get(key) or column for column, key in FIELDS.items()}
    unloaded = settings.get("unload_col") if isinstance(settings.get("unload_col"), Mapping) else {}
    return {
        suffix: "*" if suffix in unloaded else [names.get(column, column) for column in columns] if isinstance(columns, list) else columns
        for suffix, columns in load_col.items()
    }


def with_features(load_col: object, settings: Mapping) -> object:
    """A default ``load_col`` that also names the items' columns which the model reads as features, as RecBole's SASRecF and S3Rec do."""
    selected = settings.get("selected_features") or settings.get("item_attribute")
    columns = [selected] if isinstance(selected, str) else selected
    if not columns or not NAMES.accepts(columns) or not isinstance(load_col, Mapping) or load_col.get("item") == "*":
        return load_col
    item = load_col.get("item") or [settings["ITEM_ID_FIELD"]]
    return {**load_col, "item": list(dict.fromkeys([*item, *columns]))}


def sequential_order(settings: Mapping, given: Mapping) -> object:
    """``eval_args`` of a sequential model, which is split by time where nobody says anything else.

    Args:
        settings: the merged settings.
        given: those that somebody has set, rather than the property files.

    Raises:
        InputError: somebody does.
    """
    value, said = settings["eval_args"], given.get("eval_args", {})
    if not (isinstance(value, Mapping) and isinstance(said, Mapping)):
        return value
    if said.get("order", "TO") != "TO":
        raise InputError(f"eval_args: order {said['order']}: a sequential model reads interactions in the order of time; set order: TO")
    return {**value, "order": "TO"}


def _of_val_interval(wanted: object) -> list[str]:
    if wanted is None:
        return []
    if not isinstance(wanted, Mapping) or not all(map(is_name, wanted)):
        return [f"val_interval '{wanted}': a mapping from column to interval, such as {{rating: '[4,inf)'}}"]
    odd = {column: value for column, value in wanted.items() if not (is_interval(value) or _is_list_of_cells(value))}
    words = f"{INTERVALS.words}, or, for a column of tokens, a list of them"
    return [f"val_interval: {column} '{value}': {words}{interval_hint(value)}" for column, value in odd.items()]


def _of_threshold(wanted: object) -> list[str]:
    if wanted is None or isinstance(wanted, Mapping) and len(wanted) == 1 and all(map(is_name, wanted)) and is_number(*wanted.values()):
        return []
    several = f", and not {listed(map(str, wanted))}" if isinstance(wanted, Mapping) and len(wanted) > 1 else ""
    return [f"threshold '{wanted}': one column and the least number that counts as positive, such as {{rating: 4}}{several}"]


def _is_list_of_cells(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(is_name(cell) or is_number(cell) for cell in value)
