"""The data set that is audited, as it is on disk and as a run would read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from recbole.utils import init_seed

from recbole_mm.audit.report import Report
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.check_columns import interaction_files
from recbole_mm.data.check_dataset import check_dataset
from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.data.demo import write_demo
from recbole_mm.data.item_file import ItemFile
from recbole_mm.data.typed_cells import tokens
from recbole_mm.errors import InputError, recbole_complaints


class BareDataset(MultiModalDataset):
    """The data set of a run without pictures and texts, which an audit reads by itself, however broken they are."""

    def read_content(self) -> None:
        return None


@dataclass
class AuditedData:
    """A data set under audit.

    Attributes:
        config: the configuration of the run.
        content: what it says about pictures and texts.
        inter: the interaction files as they are. Columns: user, item and, where the files have it, time, all NaN where RecBole reads a
            missing value; part, the name of the benchmark file, or "".
        table: the columns of the ``.item`` file; None where there is no readable file.
        dataset: what a run makes of the interactions; None where it cannot.
        tokens: the tokens of the n items of the catalogue, which is what filtering leaves.
        counts: int (n,), the interactions of each item.
        rows: int (n,), the first row of each item in ``table``, -1 for none.
    """

    config: MultiModalConfig
    content: ContentSettings
    folder: Path
    inter: pd.DataFrame
    table: dict[str, list[str]] | None
    dataset: BareDataset | None
    tokens: list[str]
    counts: np.ndarray
    rows: np.ndarray

    def column(self, field: str) -> list[str]:
        """The values of a column of the ``.item`` file for the items of the catalogue, "" for items without a row."""
        values = self.table[field]
        return [values[row] if row >= 0 else "" for row in self.rows.tolist()]

    def named(self, mask: np.ndarray | Sequence[bool]) -> list[str]:
        """The tokens of the items that a mask, bool (n,), picks."""
        return [self.tokens[i] for i in np.flatnonzero(mask).tolist()]


def locate(config: MultiModalConfig) -> Path:
    """The folder of the data set. The data set ``demo`` is drawn where it does not exist yet.

    Raises:
        InputError: there is no folder, or no interaction file in it.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if name == "demo" and not folder.exists():
        write_demo(folder)
    if not folder.is_dir() or not all(file.is_file() for file in interaction_files(config)):
        check_dataset(config)
    return folder


def open_data(config: MultiModalConfig, report: Report) -> AuditedData | None:
    """Reads the tables. A table that cannot be read becomes a finding; without readable interactions the result is None."""
    folder = Path(config["data_path"])
    try:
        check_dataset(config)
        inter = _read_interactions(config)
    except InputError as error:
        report.add(
            "error", "interactions.unreadable", str(error), "repair the file, or set the key that is named; nothing else was audited"
        )
        return None
    table = _read_item_file(config, folder, report)
    dataset = _build(config, report)
    if dataset is not None:
        tokens = dataset.tokens[1:]
        ids = np.asarray(dataset.inter_feat[dataset.iid_field])
        counts = np.bincount(ids, minlength=len(tokens) + 1)[1:]
    else:
        found = inter["item"].value_counts()
        tokens, counts = [str(token) for token in found.index], found.to_numpy()
    row_of: dict[str, int] = {}
    for row, token in enumerate(table[config["ITEM_ID_FIELD"]] if table else []):
        row_of.setdefault(token, row)
    rows = np.array([row_of.get(token, -1) for token in tokens], dtype=np.int64)
    return AuditedData(config, ContentSettings.from_config(config), folder, inter, table, dataset, tokens, counts, rows)


def _read_interactions(config: MultiModalConfig) -> pd.DataFrame:
    fields = {"user": config["USER_ID_FIELD"], "item": config["ITEM_ID_FIELD"], "time": config["TIME_FIELD"]}
    frames = []
    for path, part in zip(interaction_files(config), config["benchmark_filename"] or [""], strict=True):
        file = read_atomic_file(path, config["field_separator"], config["encoding"] or "utf-8")
        columns = {name: tokens(file.columns[field]) for name, field in fields.items() if field in file.columns}
        frames.append(pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()}).assign(part=part))
    inter = pd.concat(frames, ignore_index=True)
    if inter[["user", "item"]].isna().any(axis=1).all():
        raise InputError(f"{interaction_files(config)[0]} has no interaction of a user with an item")
    if "time" in inter:
        inter["time"] = pd.to_numeric(inter["time"], errors="coerce")
    return inter


def _read_item_file(config: MultiModalConfig, folder: Path, report: Report) -> dict[str, list[str]] | None:
    path = folder / f"{config['dataset']}.item"
    if not path.is_file():
        if not config["feature_files"]:
            report.add("warning", "items.no_file", f"there is no {path}: items have neither pictures nor texts",
                       "write one (docs/own_data.md), or name ready-made features in feature_files")  # fmt: skip
        return None
    try:
        return ItemFile.of(config, folder).columns
    except InputError as error:
        report.add("error", "items.unreadable", str(error), "repair the file; pictures and texts were not audited")
        return None


def _build(config: MultiModalConfig, report: Report) -> BareDataset | None:
    init_seed(config["seed"], config["reproducibility"])
    try:
        with recbole_complaints((Exception,)):  # RecBole raises almost anything on damaged files
            dataset = BareDataset(config)
    except InputError as error:
        report.add("error", "interactions.unusable", f"a run cannot use the data set: {error}",
                   "the message says why; the files were audited without the filters")  # fmt: skip
        return None
    return dataset
