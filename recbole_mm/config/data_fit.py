"""Settings that the data set at hand cannot meet. They are known once it has been read."""

import re
from collections.abc import Mapping
from pathlib import Path

from recbole.utils import EvaluatorType, ModelType

from recbole_mm.config.labels import is_tested_on_labels, learns_from_labels
from recbole_mm.errors import InputError


def check_files(config: Mapping) -> None:
    """Checks that the files are there that only some of RecBole's models need.

    Raises:
        InputError: there is no knowledge graph, and the model reads one.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    absent = [file for file in (f"{name}.kg", f"{name}.link") if not (folder / file).is_file()]
    if config["MODEL_TYPE"] == ModelType.KNOWLEDGE and absent:
        raise InputError(f"{config['model']} needs a knowledge graph, and there is no {' and no '.join(absent)} in {folder}: a .kg file "
                         "holds head_id, relation_id, tail_id, a .link file item_id, entity_id (all of type token)")  # fmt: skip


def check_against_data(config: Mapping, dataset) -> None:
    """Checks a configuration (RecBole's ``Config``) against the data set that was read with it.

    Raises:
        InputError: naming the key and what to do.
    """
    _check_topk(config, dataset)
    _check_labels(config, dataset)
    _check_features(config, dataset)


def _check_topk(config: Mapping, dataset) -> None:
    n = dataset.item_num - 1
    if config["eval_type"] == EvaluatorType.RANKING and max(config["topk"]) > n:
        raise InputError(f"topk {config['topk']}: the data set has {n} items; take at most {n}")
    reranked = config["reranker_CAN_NUM"]  # of GRU4RecCPR and SASRecCPR: a number, or several joined by commas
    if reranked and max(map(int, re.findall(r"\d+", str(reranked))), default=0) > n:
        raise InputError(f"reranker_CAN_NUM {reranked}: the data set has {n} items; take at most {n}")


def _check_labels(config: Mapping, dataset) -> None:
    """Labels come from a column, from ``threshold``, or, for pairs of a user and an item, from sampled negatives."""
    if config["LABEL_FIELD"] in dataset.inter_feat or config["threshold"]:
        return
    label = config["LABEL_FIELD"]
    how = f"set threshold: {{{config['RATING_FIELD']}: 4}} (a rating of at least 4 is label 1), or add a column {label}:float"
    if learns_from_labels(config):
        raise InputError(f"{config['model']} learns from labels, and the data set has none: {how}; or set train_neg_sample_args: "
                         "{distribution: uniform, sample_num: 1}, so that sampled negatives have label 0")  # fmt: skip
    if is_tested_on_labels(config):
        raise InputError(f"eval_args: mode labeled needs labels, and the data set has none: {how}; or set mode: uni100")


def _check_features(config: Mapping, dataset) -> None:
    """The columns that some of RecBole's sequential models read as features of the items."""
    for key in ("selected_features", "item_attribute"):
        named = config[key] or []
        absent = [column for column in ([named] if isinstance(named, str) else named) if column not in dataset.field2type]
        if absent:
            raise InputError(f"{config['model']} reads {named} of the items ({key}), and {dataset.dataset_name}.item has no column "
                             f"{', '.join(absent)}; set {key} to columns that it has")  # fmt: skip
