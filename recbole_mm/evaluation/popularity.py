"""The floor that every model should be above: the same most popular items for every user, ranked and measured as the model is."""

from collections import OrderedDict
from copy import copy

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.model.general_recommender.pop import Pop
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_mm.parallel.randomness import random_state, set_random_state


class Popularity(Pop):
    """RecBole's Pop, which scores an item by its number of training interactions.

    RecBole counts while it trains, an item once per batch however often it is in it, and the sampled negatives as well. Here all training
    interactions are counted at once, and nothing else is.

    Args:
        dataset: the training part.
    """

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        counts = training_counts(dataset)
        self.item_cnt, self.max_cnt = counts.unsqueeze(1).to(self.device), counts.max().clamp(min=1).unsqueeze(0).to(self.device)

    def calculate_loss(self, interaction) -> Tensor:
        return torch.nn.Parameter(torch.zeros(1)).to(self.device)


def training_pairs(dataset) -> tuple[Tensor, Tensor]:
    """The interactions of a training part, as the ids of users and of items, (n,) each. Of a sequence, all items count."""
    interactions, lengths = dataset.inter_feat, getattr(dataset, "item_list_length_field", None)
    users, items = interactions[dataset.uid_field], interactions[dataset.iid_field]
    if lengths not in interactions:
        return users, items
    second = interactions[lengths] == 1  # each row is one more item after a history, and the first item of all is in a history alone
    first = interactions[f"{dataset.iid_field}{dataset.config['LIST_SUFFIX']}"][second, 0]
    return torch.cat([users, users[second]]), torch.cat([items, first])


def training_counts(dataset) -> Tensor:
    """How many interactions of a training part each item has, int64 (n_items,)."""
    return torch.bincount(training_pairs(dataset)[1], minlength=dataset.item_num)


def unseen_share(dataset, counts: Tensor) -> float:
    """The share of a part's interactions that are with items which have no interaction in training (see ``training_counts``)."""
    return float((counts[dataset.inter_feat[dataset.iid_field]] == 0).double().mean())


@torch.no_grad()
def evaluate_popularity(trainer, floor: Popularity, eval_data, drawn_from: dict | None = None) -> dict | None:
    """What a trainer's evaluation gives for the most popular items: the same masks, candidates and metrics. Neither the trainer's model nor
    the state of the random generators changes.

    Args:
        drawn_from: the state (see ``random_state``) from which the trainer's own evaluation drew its candidates, if it drew any.

    Returns:
        RecBole's result; None where items are not ranked (``mode: labeled``).
    """
    if not eval_data or trainer.config["eval_type"] != EvaluatorType.RANKING:
        return None
    ranker, now = copy(trainer), random_state()
    ranker.model, ranker.tot_item_num = floor.eval(), eval_data._dataset.item_num
    score = ranker._full_sort_batch_eval if isinstance(eval_data, FullSortEvalDataLoader) else ranker._neg_sample_batch_eval
    try:
        set_random_state(drawn_from or now)
        for batch in eval_data:
            interaction, scores, *positives = score(batch)
            trainer.eval_collector.eval_batch_collect(scores, interaction, *positives)
        result = trainer.evaluator.evaluate(trainer.eval_collector.get_data_struct())
    finally:
        set_random_state(now)
    return OrderedDict((metric, float(value)) for metric, value in result.items())
