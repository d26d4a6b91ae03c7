"""The interactions: their number and density, repeated ones, time stamps, and whether their items are in the ``.item`` file."""

from collections import Counter

import numpy as np
import pandas as pd

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.report import Report


def check_interactions(data: AuditedData, report: Report) -> None:
    numbers, inter = report.numbers["interactions"], data.inter
    nameless = int(inter[["user", "item"]].isna().any(axis=1).sum())
    whole = inter.dropna(subset=["user", "item"])
    user, item = pd.factorize(whole["user"])[0], pd.factorize(whole["item"])[0]
    numbers.update(_counts(user, item))
    if data.dataset is not None and len(data.dataset.inter_feat) != len(inter):
        dataset = data.dataset
        fields = (dataset.uid_field, dataset.iid_field)
        kept = _counts(*(np.unique(np.asarray(dataset.inter_feat[field]), return_inverse=True)[1] for field in fields))
        numbers["after_filtering"] = {name: kept[name] for name in ("users", "items", "interactions", "k_core")}
    if nameless:
        report.add("warning", "interactions.nameless", f"{nameless:,} interactions lack a user or an item (RecBole reads '', NA, null "
                   "and the like as missing)", "complete or remove them: every run leaves them out")  # fmt: skip
    _check_repeated(whole, user, item, numbers, report, data.config["rm_dup_inter"])
    _check_times(data, numbers, report)
    _check_item_file(data, numbers, report)


def _counts(user: np.ndarray, item: np.ndarray) -> dict[str, object]:
    """Counts of interactions given as user and item numbers, int (n,) each. ``k_core`` is the largest k for which every user and every
    item has at least k interactions."""
    by_user, by_item = np.bincount(user), np.bincount(item)
    pairs = len(np.unique(user.astype(np.int64) * len(by_item) + item))
    return {
        "users": len(by_user), "items": len(by_item), "interactions": len(user), "sparsity": 1 - pairs / (len(by_user) * len(by_item)),
        "k_core": int(min(by_user.min(), by_item.min())),
        "interactions_per_user": _spread(by_user), "interactions_per_item": _spread(by_item),
    }  # fmt: skip


def _spread(degrees: np.ndarray) -> dict[str, float]:
    return {"min": int(degrees.min()), "median": float(np.median(degrees)), "max": int(degrees.max())}


def _check_repeated(whole: pd.DataFrame, user: np.ndarray, item: np.ndarray, numbers: dict, report: Report, removed: str | None) -> None:
    again = pd.Series(user.astype(np.int64) * (item.max() + 1) + item).duplicated().to_numpy()
    numbers["repeated_pairs"] = int(again.sum())
    if again.any():
        first = whole[again].iloc[0]
        report.add("info" if removed else "warning", "interactions.repeated",
                   f"{again.sum():,} interactions repeat a (user, item) pair, the first of them {first['user']} with {first['item']}",
                   f"rm_dup_inter: {removed} removes them" if removed else "they may be in two parts of the split (split.shared_pairs): "
                   "set rm_dup_inter: first (with benchmark_filename: repair these files)")  # fmt: skip


def _check_times(data: AuditedData, numbers: dict, report: Report) -> None:
    """Time stamps matter where the split is by time."""
    if "time" not in data.inter:
        return
    time = data.inter["time"]
    numbers["without_time_stamp"] = int(time.isna().sum())
    if data.config["benchmark_filename"] or data.config["eval_args"]["order"] != "TO":
        return
    if time.nunique() <= 1:
        report.add("error", "interactions.constant_time", f"all interactions have the same {data.config['TIME_FIELD']}, and eval_args "
                   "order is TO", "the split would follow the order of the file: give real time stamps, or set order: RO")  # fmt: skip
    elif time.isna().any():
        report.add("warning", "interactions.no_time", f"{time.isna().sum():,} interactions have no time stamp, and eval_args order is TO",
                   "RecBole gives them the mean time: complete them, or remove them")  # fmt: skip


def _check_item_file(data: AuditedData, numbers: dict, report: Report) -> None:
    if data.table is None:
        return
    listed = data.table[data.config["ITEM_ID_FIELD"]]
    without, idle = data.rows < 0, set(listed) - set(data.tokens)
    numbers.update(item_file_rows=len(listed), items_not_in_item_file=int(without.sum()), item_file_only=len(idle))
    if without.any():
        most = 2 * without.sum() > len(without)
        report.add("error" if most else "warning", "items.not_in_item_file",
                   f"{without.sum():,} of {len(without):,} items have no row in the .item file", "they have neither picture nor text: "
                   + ("the two files name their items differently" if most else "add their rows"), data.named(without))  # fmt: skip
    if idle:
        report.add("info", "items.idle", f"{len(idle):,} items of the .item file are not in the catalogue: they have no interaction "
                   "after filtering", "nothing, unless they should be recommended (load_col: {item: [item_id]})", sorted(idle))  # fmt: skip
    twice = [token for token, n in Counter(listed).items() if n > 1]
    if twice:
        report.add("error", "items.duplicate_token", f"{len(twice):,} items are in the .item file more than once",
                   "a run stops because of them: keep the right row of each", twice)  # fmt: skip
