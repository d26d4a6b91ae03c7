"""The data set and the data loaders that a configuration asks for, for our models and for RecBole's."""

import sys
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path

import recbole.data.utils as recbole_data
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.sampler import KGSampler
from recbole.sampler.sampler import AbstractSampler
from recbole.utils import InputType, ModelType, set_color

from recbole_mm.config.data_fit import check_against_data, check_files
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.data.check_dataset import check_dataset
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.data.demo import write_demo
from recbole_mm.data.reading import recbole_dataset
from recbole_mm.data.samplers import create_samplers
from recbole_mm.data.sequential_dataset import our_dataset
from recbole_mm.data.tokens import user_tokens
from recbole_mm.errors import recbole_complaints, recboles_own_failures
from recbole_mm.evaluation.chunks import auto_eval_batch_size
from recbole_mm.evaluation.full_sort import full_sort_loader
from recbole_mm.evaluation.histories import HISTORIES
from recbole_mm.evaluation.protocol import PHASES, find_cold_items, hold_out, masked_by_history, masked_by_training, training_items_sampler
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.training.batches import CommonBatches, QuickBatches
from recbole_mm.training.negative_sampler import NegativeSampler, popularity_weights, uniform_weights
from recbole_mm.training.sequence_batches import SequenceBatches


def create_dataset(
    config: MultiModalConfig, vocabulary: Mapping[str, Sequence[str]] | None = None, parts: Mapping[str, torch.Tensor] | None = None
):
    """Reads the data set: for our models a MultiModalDataset or MultiModalSequentialDataset, for RecBole's models RecBole's own class. The
    data set ``demo`` is drawn where it does not exist yet. Nothing is ever downloaded.

    Args:
        vocabulary: the tokens of a checkpoint by their ids, which the data set takes over (see ``KnownVocabulary``).
        parts: the split that a checkpoint stores (see ``StoredSplit``).

    Raises:
        InputError: a folder, file or column is not there.
    """
    find_dataset(config)
    return read_dataset(config, vocabulary, parts)


def read_dataset(
    config: MultiModalConfig, vocabulary: Mapping[str, Sequence[str]] | None = None, parts: Mapping[str, torch.Tensor] | None = None
):
    """``create_dataset``, where ``find_dataset`` has had its say already."""
    with recboles_own_failures(), recbole_complaints():
        if is_ours(config.model_class):
            kind = our_dataset(config["MODEL_TYPE"])
            return kind(config, vocabulary, config.model_class.ranks_new_items(config), parts)
        return recbole_dataset(config["model"], config["MODEL_TYPE"])(config, vocabulary, parts=parts)


def data_preparation(config: MultiModalConfig, dataset) -> tuple:
    """Splits a data set and makes the loaders of its parts, as RecBole's function of this name does, under the settings of the evaluation
    protocol. ``dataset.cold_items`` are then the ids of the cold items, int64 (n,), and ``eval_batch_size: auto`` is a number in the
    configuration.

    Returns:
        The training, validation and test loader.

    Raises:
        InputError: the settings and the data allow no split, or the cold items cannot be had.
    """
    if config["eval_batch_size"] == "auto":
        config["eval_batch_size"] = auto_eval_batch_size(config, dataset.item_num)
    check_against_data(config, dataset)
    with recboles_own_failures(), recbole_complaints():
        dataset.cold_items = find_cold_items(config, dataset)
        train_data, valid_data, test_data = _loaders(config, dataset)
        if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
            masks = bool(config["mask_history"])  # which RecBole's own checkpoints lack
            if isinstance(test_data, FullSortEvalDataLoader):
                getLogger().info(f"evaluation of sequences: {HISTORIES[masks]} (mask_history: {masks})")
            if masks:
                valid_data, test_data = masked_by_history(config, train_data, valid_data, test_data)
        elif config["mask_valid_items"] is False and isinstance(test_data, FullSortEvalDataLoader):
            test_data = masked_by_training(config, train_data, test_data)
    return train_data, valid_data, test_data


def everything(config: MultiModalConfig, dataset) -> AbstractDataLoader:
    """A training loader of all interactions of a data set that ``data_preparation`` has split: those for validation and test as well, and
    those with cold items."""
    whole, nothing = dataset.copy(dataset.inter_feat), dataset.copy(dataset.inter_feat[:0])
    whole.cold_items = dataset.cold_items[:0]
    parts = [whole, nothing, nothing]
    with recboles_own_failures(), recbole_complaints():
        return _training_loader(config, whole, parts, create_samplers(config, whole, parts)[0])


def training_dataset(config: MultiModalConfig) -> MultiModalDataset:
    """The training part of the split that a run of this configuration has, as a data set with all items."""
    return data_preparation(config, create_dataset(config))[0].dataset


def find_dataset(config: MultiModalConfig) -> None:
    """Checks that the files of the data set are there, after drawing ``demo`` where it does not exist yet.

    Raises:
        InputError: as for ``create_dataset``.
    """
    folder = Path(config["data_path"])
    ranks = Ranks.current()
    if config["dataset"] == "demo" and ranks.rank == 0 and not folder.exists():
        print(f"Drawing the demo shop into {folder} ...", file=sys.stderr)
        write_demo(folder)
    ranks.wait()
    check_dataset(config)
    check_files(config)


def _loaders(config: MultiModalConfig, dataset) -> tuple:
    """RecBole's loaders of freshly split parts, without the cold items' interactions in training and with our negatives. Nothing is read
    from or written to RecBole's pickled data sets and loaders, which would not notice other rows, pictures, texts or cold items."""
    parts = dataset.build()
    if len(dataset.cold_items):
        hold_out(parts[0], dataset.cold_items)
    train_sampler, valid_sampler, test_sampler = create_samplers(config, dataset, parts)
    valid, test = (full_sort_loader(config, recbole_data.get_dataloader(config, phase)) for phase in PHASES[1:])
    _log_settings("Training", "train_batch_size", config["train_batch_size"] * Ranks.current().world, config, "train_neg_sample_args")
    _log_settings("Evaluation", "eval_batch_size", config["eval_batch_size"], config, "eval_args")
    return (
        _training_loader(config, dataset, parts, train_sampler),
        valid(config, parts[1], valid_sampler, shuffle=False),
        test(config, parts[2], test_sampler, shuffle=False),
    )


def _training_loader(config: MultiModalConfig, dataset, parts: Sequence, sampler: AbstractSampler | None) -> AbstractDataLoader:
    among_training = sampler is not None and (config["negative_items"] == "training" or len(parts[0].cold_items))
    loader = CommonBatches if is_ours(config.model_class) else recbole_data.get_dataloader(config, "train")
    if getattr(parts[0], "has_user_rows", False):
        return SequenceBatches(config, parts[0], sampler and _negatives(config, dataset, parts, among_training), config["shuffle"])
    if config["fast_loop"] and _can_be_quick(config, loader):
        return QuickBatches(config, parts[0], sampler and _negatives(config, dataset, parts, among_training), config["shuffle"])
    if among_training:
        sampler = training_items_sampler(config, dataset, parts)
    knowledge = [_triples_sampler(config, dataset)] if config["MODEL_TYPE"] == ModelType.KNOWLEDGE else []
    return loader(config, parts[0], sampler, *knowledge, shuffle=config["shuffle"] or bool(knowledge))


def _can_be_quick(config: MultiModalConfig, loader: type[AbstractDataLoader]) -> bool:
    """Whether QuickBatches has the batches that a loader of RecBole's would have. The log says where a setting is against it."""
    if not (issubclass(loader, CommonBatches) or loader is TrainDataLoader and config["MODEL_TYPE"] == ModelType.GENERAL):
        return False
    reasons = {
        "train_neg_sample_args: dynamic": config["train_neg_sample_args"].get("dynamic"), "repeatable: True": config["repeatable"],
        "transform": config["transform"], "several processes": not config["single_spec"] and not is_ours(config.model_class),
        "its input_type": config["MODEL_INPUT_TYPE"] not in (InputType.PAIRWISE, InputType.POINTWISE),
    }  # fmt: skip
    against = [reason for reason, holds in reasons.items() if holds]
    if against:
        getLogger().info(f"training batches are made by RecBole's loader ({', '.join(against)})")
    elif config["worker"]:
        getLogger().info(f"worker: {config['worker']} has no effect on training batches, which are made many at a time")
    return not against


def _negatives(config: MultiModalConfig, dataset, parts: Sequence, among_training: bool) -> NegativeSampler:
    """RecBole's popularity of an item is its number of interactions in all parts."""
    (users, items), arguments, n = _pairs(parts[0]), config["train_neg_sample_args"], dataset.item_num
    if arguments["distribution"] == "popularity":
        weights = popularity_weights(torch.cat([_pairs(part)[1] for part in parts]), n, dataset.user_num, arguments["alpha"])
    else:
        weights = uniform_weights(torch.arange(1, n), n)
    if among_training:
        weights *= uniform_weights(items, n)
    return NegativeSampler(users, items, dataset.user_num, weights, user_tokens(dataset), config["device"])


def _pairs(part) -> tuple[torch.Tensor, torch.Tensor]:
    return part.inter_feat[part.uid_field], part.inter_feat[part.iid_field]


def _triples_sampler(config: MultiModalConfig, dataset) -> KGSampler:
    arguments = config["train_neg_sample_args"]
    return KGSampler(dataset, arguments["distribution"], arguments["alpha"])


def _log_settings(phase: str, key: str, size: int, config: MultiModalConfig, other_key: str) -> None:
    """The line of RecBole's log on a phase's batches."""
    parts = ((f"[{phase}]: ", "pink"), (key, "cyan"), (" = ", None), (f"[{size}]", "yellow"), (f" {other_key}", "cyan"), (": ", None),
             (f"[{config[other_key]}]", "yellow"))  # fmt: skip
    getLogger().info("".join(set_color(text, colour) if colour else text for text, colour in parts))
