"""What an evaluation counts: which items are masked, which are negatives, and which are kept from training (cold items)."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.sampler import RepeatableSampler, Sampler
from recbole.utils import ModelType

from recbole_mm.data.samplers import UsedItems
from recbole_mm.data.tokens import item_tokens
from recbole_mm.errors import InputError, listed
from recbole_mm.evaluation.full_sort import full_sort_loader
from recbole_mm.evaluation.histories import MaskedHistories, without_items
from recbole_mm.evaluation.popularity import training_pairs

PARTS = ("warm", "cold")
PHASES = ("train", "valid", "test")


def find_cold_items(config, dataset) -> torch.Tensor:
    """The ids of the items that ``cold_items`` names or ``cold_item_ratio`` draws: int64 (n,) in ascending order, empty without either.
    An item's lot depends on its token and the seed alone. Beside items that a checkpoint knows, all new ones are cold.
    A stored split has its own.

    Raises:
        InputError: the file of cold items is not there, or names items that the data set does not have.
    """
    stored = getattr(dataset, "stored", None)
    if stored is not None:
        return stored["cold_items"]
    tokens = item_tokens(dataset)
    if config["cold_items"]:
        file = Path(config["cold_items"])
        if not file.is_file():
            raise InputError(f"cold_items: there is no file {file}; write one that holds one item token per line")
        wanted = file.read_text(encoding="utf-8").split("\n")
        ids = {token: i for i, token in enumerate(tokens)}
        unknown = [token for token in wanted if token and token not in ids]
        if unknown:
            raise InputError(f"cold_items: {file}: {len(unknown)} tokens are no items of this data set: {listed(unknown[:5])}")
        return torch.tensor(sorted({ids[token] for token in wanted if token}), dtype=torch.int64)
    if not config["cold_item_ratio"]:
        return torch.zeros(0, dtype=torch.int64)
    first_new = getattr(dataset, "first_new_item", None) or len(tokens)
    lots = [blake2b(f"{config['seed']}\0{token}".encode()).digest() for token in tokens[1:first_new]]
    n = round(config["cold_item_ratio"] * len(lots))
    return torch.from_numpy(np.concatenate([np.sort(np.argsort(np.array(lots))[:n] + 1), np.arange(first_new, len(tokens))]))


def hold_out(training, cold_items: torch.Tensor) -> None:
    """Removes the interactions with cold items from the training part of a data set, and from the histories in it.

    Raises:
        InputError: there are no others.
    """
    interactions, lengths = training.inter_feat, getattr(training, "item_list_length_field", None)
    if lengths in interactions:
        suffix = training.config["LIST_SUFFIX"]
        training.inter_feat = without_items(interactions, cold_items, training.iid_field, lengths, suffix)
    else:
        training.inter_feat = interactions[~torch.isin(interactions[training.iid_field], cold_items)]
    if not len(training.inter_feat):
        raise InputError(f"all interactions of the training part are with the {len(cold_items)} cold items")


class _AmongItems:
    """A mixin for RecBole's samplers: the distribution ``uniform`` is one over some items instead of all. ``popularity`` stays as it is.

    Args:
        items: their ids, int64 (n,).
    """

    def __init__(self, items: np.ndarray, *args) -> None:
        self.items = items
        super().__init__(*args)

    def _uni_sampling(self, sample_num: int) -> np.ndarray:
        return self.items[np.random.randint(0, len(self.items), sample_num)]


class SamplerAmongItems(_AmongItems, Sampler):
    """RecBole's Sampler over some items."""


class RepeatableSamplerAmongItems(_AmongItems, RepeatableSampler):
    """RecBole's RepeatableSampler over some items."""


def training_items_sampler(config, dataset, parts: Sequence) -> Sampler | RepeatableSampler:
    """The sampler of a training part's negatives that draws among that part's own items.

    Args:
        parts: the training, validation and test part of ``dataset``.
    """
    items, arguments = np.unique(parts[0].inter_feat[parts[0].iid_field].numpy()), config["train_neg_sample_args"]
    kind, source = (RepeatableSamplerAmongItems, dataset) if config["repeatable"] else (SamplerAmongItems, list(parts))
    return kind(items, list(PHASES), source, arguments["distribution"], arguments["alpha"]).set_phase("train")


def masked_by_training(config, train_data, test_data):
    """A test loader that masks the items of the training part alone, and not those of the validation part (``mask_valid_items: False``)."""
    interactions = train_data._dataset.inter_feat
    return _full_sort(config, test_data.dataset, [(interactions[test_data.uid_field], interactions[test_data.iid_field])])


def masked_by_history(config, train_data, valid_data, test_data) -> tuple:
    """The loaders of the validation and of the test of a sequential model, which mask what a user had before (``mask_history: True``)."""
    earlier, found = [training_pairs(train_data._dataset)], []
    for loader in (valid_data, test_data):
        found.append(_full_sort(config, loader.dataset, earlier) if isinstance(loader, FullSortEvalDataLoader) else loader)
        earlier = [*earlier, training_pairs(loader.dataset)]
    return tuple(found)


def never_recommend(model: AbstractRecommender, items: torch.Tensor, field: str) -> None:
    """Lets a model score some items -inf, whoever asks: a trainer's evaluation or RecBole's ``full_sort_topk``.

    Args:
        items: their ids, int64 (n,).
        field: the column of items in a batch.
    """
    every, pairs = model.full_sort_predict, model.predict

    def full_sort_predict(interaction) -> torch.Tensor:
        scores = every(interaction)
        return scores.view(len(interaction), -1).index_fill(1, items.to(scores.device), -torch.inf).view_as(scores)

    def predict(interaction) -> torch.Tensor:
        scores = pairs(interaction)
        asked = interaction[field]
        return scores.masked_fill(torch.isin(asked, items.to(asked.device)).view_as(scores), -torch.inf)

    model.full_sort_predict, model.predict = full_sort_predict, predict


def evaluate_parts(config, trainer, train_data, test_data) -> dict[str, dict]:
    """Evaluates a trained model on the warm and on the cold items apart: only those of one part count as relevant, and the others that
    a user interacted with in the test part are masked.

    Returns:
        part ("warm", "cold") -> RecBole's result; {} without cold items.
    """
    cold = getattr(train_data._dataset, "cold_items", torch.zeros(0))
    if not len(cold) or not isinstance(test_data, FullSortEvalDataLoader):
        return {}
    results, whole = {}, test_data.dataset
    used = _masked_pairs(test_data)
    for part in PARTS:
        is_cold = torch.isin(whole.inter_feat[whole.iid_field], cold)
        relevant = whole.copy(whole.inter_feat[is_cold if part == "cold" else ~is_cold])
        if len(relevant.inter_feat):
            results[part] = trainer.evaluate(_full_sort(config, relevant, used), load_best_model=False)
    return results


def _masked_pairs(test_data: FullSortEvalDataLoader) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The users and items, in pieces, that a test masks or counts as relevant; of sequences, what a user has in earlier parts."""
    if test_data.is_sequential:
        return [test_data.earlier] if isinstance(test_data, MaskedHistories) else []
    users, lists = test_data.uid_list, (test_data.uid2history_item, test_data.uid2positive_item)
    by_user = [list(of_each[users]) for of_each in lists]
    return [(users.repeat_interleave(torch.tensor(list(map(len, items)))), torch.cat(items)) for items in by_user]


def _full_sort(config, dataset, used: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> FullSortEvalDataLoader:
    """A loader of a part, which masks what is used: users and items, in several pieces. Sequences ask ``mask_history`` whether it does."""
    sampler = SimpleNamespace(used_ids=UsedItems(used, dataset.user_num, dataset.item_num))
    sequences = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    loader = (MaskedHistories if config["mask_history"] else FullSortEvalDataLoader) if sequences else full_sort_loader(config)
    return loader(config, dataset, sampler)
