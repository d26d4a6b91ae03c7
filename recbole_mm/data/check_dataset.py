"""Checks a data set before RecBole reads it: RecBole would try to download it, or fail with messages that do not help."""

from pathlib import Path

from recbole_mm.errors import InputError, nearest


def check_dataset(config) -> None:
    """Checks the folder, the interaction files and their columns.

    Raises:
        InputError: one of them is missing.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if not folder.is_dir():
        others = sorted(path.name for path in folder.parent.glob("*") if path.is_dir()) if folder.parent.is_dir() else []
        raise InputError(f"no data set folder {folder} (data_path + dataset){nearest(name, others)}")
    parts = config["benchmark_filename"]
    files = [folder / f"{name}.inter"] if parts is None else [folder / f"{name}.{part}.inter" for part in parts]
    for file in files:
        if not file.is_file():
            raise InputError(f"no interaction file {file}")
        columns = _columns(file, config)
        by_time = parts is None and config["eval_args"]["order"] == "TO"
        for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", *(["TIME_FIELD"] if by_time else [])):
            if config[key] not in columns:
                raise InputError(f"{file} has no column '{config[key]}' ({key}); it has {', '.join(columns)}")


def _columns(file: Path, config) -> list[str]:
    try:
        with open(file, encoding=config["encoding"] or "utf-8") as lines:
            header = lines.readline().rstrip("\r\n")
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"{file} cannot be read as {config['encoding'] or 'utf-8'}; set encoding") from error
    if header.startswith("\ufeff"):
        raise InputError(f"{file} starts with a byte-order mark; save it without one")
    cells = header.split(config["field_separator"])
    for cell in cells:
        if ":" not in cell:
            raise InputError(f"{file}: header cell '{cell}' must be name:type, for example user_id:token (cells are separated by tabs)")
    return [cell.split(":")[0] for cell in cells]
