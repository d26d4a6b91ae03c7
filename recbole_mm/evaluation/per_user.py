"""Each test user's metrics, and the ranks of what each interacted with in the test, beside the means that RecBole's evaluator gives."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from recbole.evaluator.base_metric import TopkMetric
from torch import Tensor

from recbole_mm.evaluation.evaluator import RankingEvaluator, on_cpu

RECOMMENDED = "rec.items"


@dataclass
class PerUser:
    """What an evaluation found, by row: a user, or, for a sequential model, an interaction of the test.

    Attributes:
        metrics: ``metric@k`` -> (n_rows,).
        recommended: item ids (n_rows, max k), the best first.
    """

    metrics: dict[str, np.ndarray] = field(default_factory=OrderedDict)
    recommended: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.recommended is None else len(self.recommended)


@contextmanager
def kept_per_user(trainer) -> Iterator[PerUser]:
    """Keeps what the evaluation within a ``with`` finds per user: of metrics that are means over users. Nothing is kept of an evaluation
    that ranks no items, nor of trainers (of decision trees) that have no collector."""
    found, evaluator, collector = PerUser(), getattr(trainer, "evaluator", None), getattr(trainer, "eval_collector", None)
    if evaluator is None or collector is None or not collector.register.need("rec.topk"):
        yield found
        return
    evaluate, needed = evaluator.evaluate, collector.register.need

    def evaluate_and_keep(struct):
        for name in evaluator.metrics:
            found.metrics |= _values(evaluator, name, struct)
        found.recommended = struct.get(RECOMMENDED).cpu()
        if not needed(RECOMMENDED):
            del struct[RECOMMENDED]
        return evaluate(struct)

    collector.register.need = lambda key: key == RECOMMENDED or needed(key)
    evaluator.evaluate = evaluate_and_keep
    try:
        yield found
    finally:
        del evaluator.evaluate, collector.register.need


def _values(evaluator, name: str, struct) -> Mapping[str, np.ndarray]:
    """The values of a metric by row, of which RecBole reports the mean; {} for one that is no mean over users, such as coverage."""
    if isinstance(evaluator, RankingEvaluator):
        if evaluator.is_recboles(name):
            return {at_k: values.cpu().numpy() for at_k, values in evaluator.per_row(name, struct).items()}
        struct = on_cpu(struct)
    metric = evaluator.metric_class[name]
    if not isinstance(metric, TopkMetric):
        return {}
    kept: dict[str, np.ndarray] = {}

    def keep(name: str, value: np.ndarray) -> dict:
        kept.update({f"{name}@{k}": value[:, k - 1] for k in metric.topk})
        return {}

    metric.topk_result = keep
    try:
        metric.calculate_metric(struct)
    finally:
        del metric.topk_result
    return {name: value for name, value in kept.items() if value.ndim == 1}


def rows_of(eval_data) -> tuple[Tensor, Tensor, Tensor]:
    """What the rows of an evaluation are about.

    Returns:
        The user of each row (n_rows,), and the row and the item of every interaction to be found, (n,) each.
    """
    dataset = eval_data._dataset
    users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
    own = getattr(eval_data, "uid_list", None)
    if own is None:
        return users, torch.arange(len(users)), items
    row_of = torch.zeros(dataset.user_num, dtype=torch.int64)
    own = torch.as_tensor(own)
    row_of[own] = torch.arange(len(own))
    pairs = torch.unique(torch.stack([row_of[users], items], 1), dim=0)
    return own, pairs[:, 0], pairs[:, 1]


def ranks_of(recommended: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """The rank of each item among what was recommended in its row, from 1: int64 (n,); 0 where it is not among it."""
    hits = recommended[rows] == items.unsqueeze(1)
    return torch.where(hits.any(1), hits.int().argmax(1) + 1, 0)
