"""How many scores an evaluation computes at once."""

import torch
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from recbole_mm.evaluation.scores import IN_PARTS, WHOLE, aligned
from recbole_mm.model.base import EmbeddingRecommender

ON_CPU, ON_GPU = 2**22, 2**26
"""How many scores of a row and an item are held at once. On a CPU, few enough to stay in its cache and in memory that is used again."""
SCORES_AT_ONCE = 2**24
"""The same where the evaluation is RecBole's own, and how many a few rows of a large catalogue may be together."""
PAIRS = 2**16
"""The same for models and protocols that score pairs of a user and an item one by one."""


def scores_at_once(device: torch.device) -> int:
    """How many scores are held at once."""
    return ON_CPU if device.type == "cpu" else ON_GPU


def auto_eval_batch_size(config, n_items: int) -> int:
    """What ``eval_batch_size: auto`` is, in RecBole's units: users times items, or rows of a sequential model, or pairs."""
    every = config.model_class.full_sort_predict
    if every is AbstractRecommender.full_sort_predict or set(config["eval_args"]["mode"].values()) != {"full"}:
        return min(PAIRS, max(4096, 100 * SCORES_AT_ONCE // n_items))
    if not config["fast_loop"]:
        rows = SCORES_AT_ONCE // n_items
    elif (rows := scores_at_once(config["device"]) // aligned(n_items)) < WHOLE:
        rows = IN_PARTS if every is EmbeddingRecommender.full_sort_predict else min(WHOLE, SCORES_AT_ONCE // n_items)
    return max(1, rows) * (1 if config["MODEL_TYPE"] == ModelType.SEQUENTIAL else n_items)
