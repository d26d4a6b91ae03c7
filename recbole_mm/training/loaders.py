"""Data sets and loaders of a configuration: RecBole's, over our models and RecBole's alike."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import recbole.data.utils as recbole_data
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.data.demo import write_demo
from recbole_mm.data.preflight import check_dataset
from recbole_mm.errors import recbole_complaints
from recbole_mm.evaluation.protocol import apply_protocol, hold_out_cold_items
from recbole_mm.parallel.ranks import Ranks

SCORES_AT_ONCE = 2**24
PAIRS_AT_ONCE = 2**16


def create_dataset(config: MultiModalConfig):
    """A MultiModalDataset for our models, RecBole's data set for RecBole's. ``demo`` is drawn where it does not exist yet.

    Raises:
        InputError: a folder, file or column that is not there. Nothing is ever downloaded.
    """
    find_dataset(config)
    with recbole_complaints():
        if not is_ours(config.model_class):
            return recbole_data.create_dataset(config)
        return MultiModalDataset(config)


def data_preparation(config: MultiModalConfig, dataset) -> tuple:
    """RecBole's, with ``eval_batch_size: auto`` resolved for this data set and model."""
    if config["eval_batch_size"] == "auto":
        config["eval_batch_size"] = _auto_eval_batch_size(config, dataset.item_num)
    if is_ours(config.model_class):
        config["dataloaders_save_path"] = "/nonexistent: pickled loaders do not notice changed pictures and texts"
    with recbole_complaints(), _batches_of_all(config):
        hold_out_cold_items(config, dataset)
        return apply_protocol(config, *recbole_data.data_preparation(config, dataset))


def training_dataset(config: MultiModalConfig) -> MultiModalDataset:
    """The data set with the interactions of the training part alone, of the split that a run of this configuration has."""
    return data_preparation(config, create_dataset(config))[0].dataset


def find_dataset(config: MultiModalConfig) -> None:
    """Draws ``demo`` where it does not exist yet, and sees that a data set's files are there.

    Raises:
        InputError: as ``create_dataset``.
    """
    folder = Path(config["data_path"])
    ranks = Ranks.current()
    if config["dataset"] == "demo" and ranks.rank == 0 and not folder.exists():
        print(f"Drawing the demo shop into {folder} ...", file=sys.stderr)
        write_demo(folder)
    ranks.wait()
    check_dataset(config)


@contextmanager
def _batches_of_all(config: MultiModalConfig) -> Iterator[None]:
    """The processes that train together have every batch in common; each of them adds ``train_batch_size`` to it."""
    own = config["train_batch_size"]
    config["train_batch_size"] = own * Ranks.current().world
    try:
        yield
    finally:
        config["train_batch_size"] = own


def _auto_eval_batch_size(config: MultiModalConfig, n_items: int) -> int:
    full_sort = config.model_class.full_sort_predict is not AbstractRecommender.full_sort_predict
    if not full_sort or set(config["eval_args"]["mode"].values()) != {"full"}:
        return min(PAIRS_AT_ONCE, max(4096, 100 * SCORES_AT_ONCE // n_items))
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        return max(1, SCORES_AT_ONCE // n_items)
    return max(SCORES_AT_ONCE, n_items)
