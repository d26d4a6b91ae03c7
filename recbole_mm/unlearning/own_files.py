"""The files of a data set are their owner's: nothing is taken out of them, and those that still hold the forgotten are named."""

import glob
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
from recbole.utils import FeatureType

from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.check_columns import kinds_of
from recbole_mm.data.column_cache import ENCODINGS, LARGE
from recbole_mm.data.loaded_columns import IDS
from recbole_mm.data.quick_file import read_quickly
from recbole_mm.errors import InputError
from recbole_mm.feature.formats import open_rows
from recbole_mm.feature.row_tokens import row_tokens
from recbole_mm.unlearning.contents import pictures_alone
from recbole_mm.unlearning.names import Names


def atomic_files(config, folder: Path) -> list[Path]:
    """The atomic files of a data set in its folder."""
    found = sorted(folder.glob(f"{glob.escape(config['dataset'])}.*"))
    return [path for path in found if path.suffix.removeprefix(".") in IDS and path.is_file()]


def atomic_that_hold(config, folder: Path, names: Names) -> list[Path]:
    """Those of them that still hold what is forgotten."""
    return [path for path in atomic_files(config, folder) if _holds(config, path, names)]


def files_that_hold(config, folder: Path, names: Names) -> list[Path]:
    """The atomic files, feature files and pictures of a data set that still hold what is forgotten."""
    files = config["feature_files"] or {}
    features = [folder / file for modality, file in files.items() if names.items & _rows(config, modality, folder / file, folder, names)]
    pictures = sorted(path for path in pictures_alone(config, folder, names.items) if path.is_file())
    return [*atomic_that_hold(config, folder, names), *features, *pictures]


def _holds(config, path: Path, names: Names) -> bool:
    columns = _columns(config, path, [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]])
    users, items = (columns.get(config[key]) for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"))
    if any(column is not None and column.isin(own).any() for column, own in ((users, names.users), (items, names.items))):
        return True
    if users is None or items is None or not names.pairs:
        return False
    some = users.isin({user for user, _ in names.pairs}) & items.isin({item for _, item in names.pairs})
    return not names.pairs.isdisjoint(zip(users[some], items[some], strict=True))


def _columns(config, path: Path, fields: Sequence[str]) -> Mapping[str, pd.Series]:
    """Columns of tokens by their names, as far as the file has them and can be read."""
    with suppress(InputError, OSError):
        kinds = kinds_of(config, path)
        if path.stat().st_size >= LARGE and (config["encoding"] or "utf-8").lower() in ENCODINGS:
            wanted = {name: FeatureType.TOKEN if name in fields else None for name in kinds}
            quick = read_quickly(path, wanted, config["field_separator"])
            if quick is not None:
                return {name: pd.Series(column) for name, column in quick.items()}
        cells = read_atomic_file(path, config["field_separator"], config["encoding"] or "utf-8").columns
        return {name: pd.Series(cells[name], dtype=object) for name in fields if name in cells}
    return {}


def _rows(config, modality: str, path: Path, folder: Path, names: Names) -> set[str]:
    """The item tokens of a feature file's rows, as far as it can be read."""
    with suppress(InputError, OSError):
        found, ids = open_rows(path, modality, config["ITEM_ID_FIELD"]), config["feature_ids"]
        own = ids.get(modality) if isinstance(ids, Mapping) else ids
        return set(found.tokens or row_tokens(path, found.count, own, folder, config["ITEM_ID_FIELD"], names.items))
    return set()
