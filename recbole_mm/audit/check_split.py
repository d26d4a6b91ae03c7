"""The run's own split: what of the test part is known from training, and should not be."""

import numpy as np

from recbole_mm.audit.audited_data import AuditedData, BareDataset
from recbole_mm.audit.report import Report
from recbole_mm.training.loaders import data_preparation

PARTS = ("train", "valid", "test")


def check_split(data: AuditedData, report: Report) -> BareDataset:
    """Returns the training part.

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
                advice = {"users": "nothing is known of them: keep users with more interactions (user_inter_num_interval)",
                          "items": "models of ids alone cannot rank them; report warm and cold items apart (cold_items)"}[side]  # fmt: skip
                level = "info" if cold_is_meant and side == "items" else "warning"
                share = f"{100 * counted['share_of_interactions']:.1f} % of its interactions"
                report.add(level, f"split.unseen_{side}", f"{len(unseen):,} {side} of {name} ({share}) are not in training", advice, tokens)
    _time(data, loaders, numbers)
    return loaders[0].dataset


def _shared(data: AuditedData, first: np.ndarray, second: np.ndarray, names: str, report: Report) -> None:
    width = data.dataset.item_num
    both = np.intersect1d(first[:, 0] * width + first[:, 1], second[:, 0] * width + second[:, 1])
    report.numbers["split"][f"pairs_in_{names.replace(' ', '_')}"] = len(both)
    if len(both):
        users, items = (data.dataset.id2token(field, ids) for field, ids in zip(
            (data.dataset.uid_field, data.dataset.iid_field), np.divmod(both, width), strict=True))  # fmt: skip
        report.add("error", "split.shared_pairs", f"{len(both):,} (user, item) pairs are in both {names}",
                   "such an answer is masked, or known by heart: set rm_dup_inter: first, or repair the benchmark files",
                   [f"{user} with {item}" for user, item in zip(users, items, strict=True)])  # fmt: skip


def _time(data: AuditedData, loaders: tuple, numbers: dict) -> None:
    """How much of the test part was not the future of all training (a number, not a fault: only a split by date avoids it)."""
    field = data.dataset.time_field
    if loaders[-1] is not None and field in loaders[0].dataset.inter_feat and field in loaders[-1].dataset.inter_feat:
        newest = loaders[0].dataset.inter_feat[field].max()
        older = (loaders[-1].dataset.inter_feat[field] < newest).double().mean()
        numbers["test_before_newest_training"] = {"share_of_interactions": float(older)}
