"""A data set of what an exported folder holds, over which a model is built as over the one that it was trained on."""

from collections.abc import Mapping
from logging import getLogger

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType, ModelType
from torch import Tensor

from recbole_mm.config.registry import is_ours
from recbole_mm.data.reading import recbole_dataset
from recbole_mm.data.sequential_dataset import our_dataset
from recbole_mm.items.feature_table import Table

PARTS = {"inter": "inter_feat", "user": "user_feat", "item": "item_feat", "kg": "kg_feat"}


def described(dataset: Dataset) -> dict[str, object]:
    """What ``stand_in`` needs to know of the training part of a data set besides its columns: JSON-able."""
    return {
        "fields": {name: value for name, value in vars(dataset).items() if name.endswith("_field") and isinstance(value, str | None)},
        "types": {field: kind.name for field, kind in dataset.field2type.items()},
        "sources": {field: FeatureSource(source).name for field, source in dataset.field2source.items()},
        "lengths": {field: _length(length) for field, length in dataset.field2seqlen.items()},
        "sizes": {str(field): len(tokens) for field, tokens in dataset.field2id_token.items()},
    }


def columns(dataset: Dataset, sequential: bool) -> dict[str, Tensor]:
    """The columns of the training interactions, of users and items where they have some, and of a knowledge graph. Sequential models read
    interactions in training alone, so that no more of them are kept than say which items have some."""
    parts = {part: getattr(dataset, name, None) for part, name in PARTS.items()}
    found = {f"{part}/{field}": rows[field] for part, rows in parts.items() if isinstance(rows, Interaction) for field in rows}
    if not sequential:
        return found
    kept = np.unique(found[f"inter/{dataset.iid_field}"].numpy(), return_index=True)[1]
    return {name: column[kept] if name.startswith("inter/") else column for name, column in found.items()}


def stand_in(config, about: Mapping[str, object], tensors: Mapping[str, Tensor], features: Mapping[str, tuple[Tensor, Tensor]]) -> Dataset:
    """The data set that a model of this configuration is built over.

    Args:
        about: what ``described`` gave.
        tensors: what ``columns`` gave.
        features: by modality, the features (n_items, d) of the items, and which items have it: bool (n_items,).
    """
    ours = is_ours(config.model_class)
    kind = our_dataset(config["MODEL_TYPE"]) if ours else recbole_dataset(config["model"], config["MODEL_TYPE"])
    dataset = kind.__new__(kind)
    dataset.config, dataset.dataset_name, dataset.logger = config, config["dataset"], getLogger()
    dataset._get_preset()
    vars(dataset).update(about["fields"])
    dataset.field2type = {field: FeatureType[name] for field, name in about["types"].items()}
    dataset.field2source = {field: FeatureSource[name] for field, name in about["sources"].items()}
    dataset.field2seqlen = dict(about["lengths"])
    dataset.field2id_token = {field: np.arange(size) for field, size in about["sizes"].items()}
    for part, name in PARTS.items():
        own = {key.removeprefix(f"{part}/"): column for key, column in tensors.items() if key.startswith(f"{part}/")}
        setattr(dataset, name, Interaction(own) if own else None)
    dataset.gone_items, dataset.first_new_item = torch.zeros(0, dtype=torch.int64), None
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        dataset.max_item_list_len, dataset.item_list_length_field = config["MAX_ITEM_LIST_LENGTH"], config["ITEM_LIST_LENGTH_FIELD"]
    if ours:
        dataset.ready_features = {m: Table(rows, present, fingerprint="") for m, (rows, present) in features.items()}
    return dataset


def _length(length: object) -> object:
    return [int(part) for part in length] if isinstance(length, tuple | list) else int(length)
