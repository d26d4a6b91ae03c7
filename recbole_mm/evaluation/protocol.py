"""What an evaluation counts: which items are masked, which are negatives, and which are kept from training (cold items)."""

from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_mm.data.tokens import item_tokens
from recbole_mm.errors import InputError, listed

PARTS = ("warm", "cold")


def hold_out_cold_items(config, dataset) -> None:
    """Makes ``dataset.build()`` leave the cold items' interactions out of the training part; ``dataset.cold_items`` are their ids
    (none without ``cold_item_ratio`` and ``cold_items``).

    Raises:
        InputError: the file of cold items is not there or names items that the data set does not have.
    """
    dataset.cold_items = torch.from_numpy(_cold_items(config, dataset))
    if not len(dataset.cold_items):
        return
    build = dataset.build

    def without_cold_items() -> list:
        parts = build()
        training = parts[0].inter_feat
        parts[0].inter_feat = training[~torch.isin(training[dataset.iid_field], dataset.cold_items)]
        if not len(parts[0].inter_feat):
            raise InputError(f"all interactions of the training part are with the {len(dataset.cold_items)} cold items")
        return parts

    dataset.build = without_cold_items


def _cold_items(config, dataset) -> np.ndarray:
    tokens = item_tokens(dataset)
    if config["cold_items"]:
        file = Path(config["cold_items"])
        if not file.is_file():
            raise InputError(f"cold_items: no file {file}; it holds one item token a line")
        wanted = file.read_text(encoding="utf-8").split("\n")
        ids = {token: i for i, token in enumerate(tokens)}
        unknown = [token for token in wanted if token and token not in ids]
        if unknown:
            raise InputError(f"cold_items: {file}: {len(unknown)} tokens are no items of this data set: {listed(unknown[:5])}")
        return np.array(sorted({ids[token] for token in wanted if token}), dtype=np.int64)
    if not config["cold_item_ratio"]:
        return np.zeros(0, dtype=np.int64)
    lots = [blake2b(f"{config['seed']}\0{token}".encode()).digest() for token in tokens[1:]]
    n = round(config["cold_item_ratio"] * len(lots))
    return np.sort(np.argsort(np.array(lots))[:n] + 1)


def apply_protocol(config, train_data, valid_data, test_data) -> tuple:
    """The loaders under ``mask_valid_items`` and ``negative_items``."""
    items = train_data.dataset.inter_feat[train_data.dataset.iid_field].numpy()
    sampler = train_data._sampler
    cold = len(getattr(train_data.dataset, "cold_items", ()))
    if sampler is not None and (config["negative_items"] == "training" or cold):
        seen = np.unique(items)
        sampler._uni_sampling = lambda n: seen[np.random.randint(0, len(seen), n)]
    if config["mask_valid_items"] is False and isinstance(test_data, FullSortEvalDataLoader):
        test_data = _full_sort(config, test_data.dataset, _items_of_users(train_data.dataset))
    return train_data, valid_data, test_data


def evaluate_parts(config, trainer, train_data, test_data) -> dict[str, dict]:
    """The test result of the same model and ranking, counting as relevant only the warm or only the cold items (the others that a
    user interacted with in the test part are masked); {} without cold items."""
    cold = getattr(train_data.dataset, "cold_items", torch.zeros(0))
    if not len(cold) or not isinstance(test_data, FullSortEvalDataLoader):
        return {}
    results, whole = {}, test_data.dataset
    for part in PARTS:
        is_cold = torch.isin(whole.inter_feat[whole.iid_field], cold)
        relevant = whole.copy(whole.inter_feat[is_cold if part == "cold" else ~is_cold])
        if len(relevant.inter_feat):
            used = np.array([
                set() if history is None else {*history.tolist(), *test_data.uid2positive_item[user].tolist()}
                for user, history in enumerate(test_data.uid2history_item)
            ], dtype=object)  # fmt: skip
            results[part] = trainer.evaluate(_full_sort(config, relevant, used), load_best_model=False)
    return results


def _full_sort(config, dataset, used: np.ndarray) -> FullSortEvalDataLoader:
    return FullSortEvalDataLoader(config, dataset, SimpleNamespace(used_ids=used))


def _items_of_users(dataset) -> np.ndarray:
    """user id -> the set of items in the data set's interactions."""
    used = np.array([set() for _ in range(dataset.user_num)], dtype=object)
    users, items = dataset.inter_feat[dataset.uid_field].tolist(), dataset.inter_feat[dataset.iid_field].tolist()
    for user, item in zip(users, items, strict=True):
        used[user].add(item)
    return used
