"""The split of a run: which test interactions are known from training and should not be."""

import numpy as np

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.report import Report
from recbole_mm.training.loaders import data_preparation

PARTS = ("train", "valid", "test")
ADVICE = {
    "users": "nothing is known about them: keep only users with more interactions (user_inter_num_interval)",
    "items": "models that use only ids cannot rank them; report warm and cold items separately (cold_items)",
}


def check_split(data: AuditedData, report: Report) -> None:
    """Splits the data as a run would and compares the parts.

    Raises:
        InputError: the settings and the data allow no split.
    """
    dataset, numbers = data.dataset, report.numbers["split"]
    loaders = data_preparation(data.config, dataset)
    fields = (dataset.uid_field, dataset.iid_field)
    parts = {name: np.stack([loader.dataset.inter_feat[field].numpy() for field in fields], axis=1)
             for name, loader in zip(PARTS, loaders, strict=True) if loader is not None}  # fmt: skip
    numbers.update({name: {"interactions": len(part), "users": len(np.unique(part[:, 0])), "items": len(np.unique(part[:, 1]))}
                    for name, part in parts.items()})  # fmt: skip
    names = list(parts)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            _shared(data, parts[first], parts[second], f"{first} and {second}", report)
    cold_is_meant = len(dataset.cold_items) > 0
    for name in names[1:]:
        for side, column in (("users", 0), ("items", 1)):
            seen = np.isin(parts[name][:, column], parts["train"][:, column])
            unseen = np.unique(parts[name][~seen, column])
            counted = {side: len(unseen), "share_of_interactions": float(1 - seen.mean()) if len(seen) else 0.0}
            numbers[f"{name}_{side}_unseen"] = counted
            if len(unseen):
                tokens = dataset.id2token(fields[column], unseen).tolist()
                advice = ADVICE[side]
                level = "info" if cold_is_meant and side == "items" else "warning"
                share = f"{100 * counted['share_of_interactions']:.1f} % of its interactions"
                report.add(level, f"split.unseen_{side}", f"{len(unseen):,} {side} of {name} ({share}) are not in training", advice, tokens)
    _test_before_training(data, loaders, numbers)


def _shared(data: AuditedData, first: np.ndarray, second: np.ndarray, names: str, report: Report) -> None:
    width = data.dataset.item_num
    both = np.intersect1d(first[:, 0] * width + first[:, 1], second[:, 0] * width + second[:, 1])
    report.numbers["split"][f"pairs_in_{names.replace(' ', '_')}"] = len(both)
    if len(both):
        users, items = (data.dataset.id2token(field, ids) for field, ids in zip(
            (data.dataset.uid_field, data.dataset.iid_field), np.divmod(both, width), strict=True))  # fmt: skip
        report.add("error", "split.shared_pairs", f"{len(both):,} (user, item) pairs are in both {names}",
                   "such an item is masked in the evaluation, or known beforehand: set rm_dup_inter: first (with benchmark_filename: "
                   "repair these files)",
                   [f"{user} with {item}" for user, item in zip(users, items, strict=True)])  # fmt: skip


def _test_before_training(data: AuditedData, loaders: tuple, numbers: dict) -> None:
    """The share of test interactions that are older than the newest training interaction: a number and no fault, since only a split by
    date avoids it."""
    field = data.dataset.time_field
    if loaders[-1] is not None and field in loaders[0].dataset.inter_feat and field in loaders[-1].dataset.inter_feat:
        newest = loaders[0].dataset.inter_feat[field].max()
        older = (loaders[-1].dataset.inter_feat[field] < newest).double().mean()
        numbers["test_before_newest_training"] = {"share_of_interactions": float(older)}
