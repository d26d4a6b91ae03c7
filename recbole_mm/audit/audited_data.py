"""The data set as it lies on disk and as a run would take it: what every part of an audit looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from recbole.utils import init_seed

from recbole_mm.audit.report import Report
from recbole_mm.data.check_dataset import check_dataset
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.data.demo import write_demo
from recbole_mm.data.text import read_item_table
from recbole_mm.errors import InputError, one_line, recbole_complaints


class BareDataset(MultiModalDataset):
    """The run's data set without its pictures and texts, which an audit reads by itself and however broken they are."""

    def read_content(self) -> None:
        return None


@dataclass
class AuditedData:
    """A data set under audit.

    Attributes:
        inter: the interaction files as they are: columns user, item (NaN where RecBole reads a missing value), time (NaN likewise;
            absent without such a column), part (the benchmark file, else "").
        table: the columns of the ``.item`` file; None without a readable one.
        dataset: what a run makes of the interactions (None where it cannot).
        tokens, counts: of the n catalogue items, after filtering: their tokens, and their interactions.
        rows: int (n,), the first row of each item in ``table``, -1 for none.
    """

    config: object
    folder: Path
    inter: pd.DataFrame
    table: dict[str, list[str]] | None
    dataset: BareDataset | None
    tokens: list[str]
    counts: np.ndarray
    rows: np.ndarray

    def column(self, field: str) -> list[str]:
        """A column of the ``.item`` file by catalogue item, "" for items without a row."""
        values = self.table[field]
        return [values[row] if row >= 0 else "" for row in self.rows.tolist()]

    def named(self, mask: np.ndarray | Sequence[bool]) -> list[str]:
        """The tokens of the items that a bool (n,) picks."""
        return [self.tokens[i] for i in np.flatnonzero(mask).tolist()]


def locate(config) -> Path:
    """The data set's folder; ``demo`` is drawn where it does not exist yet.

    Raises:
        InputError: no folder, or no interaction file in it.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if name == "demo" and not folder.exists():
        write_demo(folder)
    if not folder.is_dir() or not all(file.is_file() for file in interaction_files(config)):
        check_dataset(config)
    return folder


def interaction_files(config) -> list[Path]:
    """The data set's ``.inter`` file, or those of ``benchmark_filename``."""
    folder, name = Path(config["data_path"]), config["dataset"]
    return [folder / f"{name}{part and '.'}{part}.inter" for part in config["benchmark_filename"] or [""]]


def open_data(config, report: Report) -> AuditedData | None:
    """Reads the tables. Those that cannot be read are findings; None where interactions are among them."""
    folder = Path(config["data_path"])
    try:
        check_dataset(config)
        inter = _read_interactions(config)
    except InputError as error:
        report.add("error", "interactions.unreadable", str(error), "repair it, or set the key that is named; nothing else was audited")
        return None
    table = _read_items(config, folder / f"{config['dataset']}.item", report)
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
    return AuditedData(config, folder, inter, table, dataset, tokens, counts, rows)


def _read_interactions(config) -> pd.DataFrame:
    fields = {config["USER_ID_FIELD"]: "user", config["ITEM_ID_FIELD"]: "item", config["TIME_FIELD"]: "time"}
    frames = []
    for file, part in zip(interaction_files(config), config["benchmark_filename"] or [""], strict=True):
        wanted = lambda cell: cell.partition(":")[0] in fields  # noqa: E731
        try:
            frame = pd.read_csv(file, sep=config["field_separator"], usecols=wanted, dtype=str, encoding=config["encoding"] or "utf-8")
        except (ValueError, OSError) as error:
            raise InputError(f"{file} cannot be read ({one_line(error)})") from error
        frame.columns = [fields[cell.partition(":")[0]] for cell in frame.columns]
        frames.append(frame.assign(part=part))
    inter = pd.concat(frames, ignore_index=True)
    if inter[["user", "item"]].isna().any(axis=1).all():
        raise InputError(f"{interaction_files(config)[0]} has no interaction of a user with an item")
    if "time" in inter:
        inter["time"] = pd.to_numeric(inter["time"], errors="coerce")
    return inter


def _read_items(config, file: Path, report: Report) -> dict[str, list[str]] | None:
    if not file.is_file():
        if not config["feature_files"]:
            report.add("warning", "items.no_file", f"there is no {file}: items have neither pictures nor texts",
                       "write one (docs/data.md), or name ready-made features in feature_files")  # fmt: skip
        return None
    try:
        table = read_item_table(file, config["field_separator"], config["encoding"] or "utf-8")
        if config["ITEM_ID_FIELD"] not in table:
            raise InputError(f"{file} has no column '{config['ITEM_ID_FIELD']}' (ITEM_ID_FIELD); it has {', '.join(table)}")
    except InputError as error:
        report.add("error", "items.unreadable", str(error), "repair the file; pictures and texts were not audited")
        return None
    return table


def _build(config, report: Report) -> BareDataset | None:
    init_seed(config["seed"], config["reproducibility"])
    try:
        with recbole_complaints((Exception,)):  # RecBole raises almost anything on damaged files
            dataset = BareDataset(config)
    except InputError as error:
        report.add("error", "interactions.unusable", f"a run cannot be made of it: {error}",
                   "see the message; the files were audited unfiltered")  # fmt: skip
        return None
    return dataset
