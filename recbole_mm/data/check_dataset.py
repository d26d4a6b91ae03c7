"""Checks a data set before RecBole reads it: RecBole would try to download it, or fail with messages that do not help."""

from collections.abc import Mapping
from pathlib import Path

from recbole_mm.data.check_columns import check_columns, check_parts, interaction_files, kinds_of
from recbole_mm.data.loaded_columns import list_column, needed_columns
from recbole_mm.errors import InputError, listed, nearest


def check_dataset(config) -> None:
    """Checks the folder, the interaction files and their columns.

    Raises:
        InputError: one of them is missing, or a column that a key names.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if not folder.is_dir():
        others = sorted(path.name for path in folder.parent.glob("*") if path.is_dir()) if folder.parent.is_dir() else []
        raise InputError(f"no data set folder {folder} (data_path + dataset){nearest(name, others)}")
    kinds: dict[Path, dict[str, str]] = {}
    for file in interaction_files(config):
        if not file.is_file():
            raise InputError(f"no interaction file {file}")
        kinds[file] = kinds_of(config, file)
        for column, key in needed_columns(config, "inter").items():
            if column not in kinds[file] and key != "LABEL_FIELD":
                raise InputError(_without(config, file, column, key, kinds[file]))
    check_parts(config, kinds)
    check_columns(config, kinds[file])


def _without(config, file: Path, column: str, key: str, kinds: Mapping[str, str]) -> str:
    """What to do about a column that is not there."""
    said = f"{file} has no column '{column}' ({key}); it has {listed(kinds)}"
    if key == "TIME_FIELD":
        model, order = config["model"], config["eval_args"]["order"]
        needs = "a split by time (eval_args: {order: TO}) needs it" if order == "TO" else f"{model} needs it"
        return f"{said}. {needs[0].upper()}{needs[1:]}: set TIME_FIELD to the column of times"
    if column == list_column(config):
        return (
            f"{said}. With benchmark_filename, {config['model']} reads every user's history from a column {column}:token_seq; leave "
            "benchmark_filename out, and it is split by time, or take a model that is not sequential"
        )
    return said
