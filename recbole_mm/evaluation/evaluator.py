"""RecBole's Evaluator, which computes the metrics of rankings for all rows at once."""

from collections import OrderedDict

import numpy as np
import torch
from recbole.evaluator import metrics as recboles
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.evaluator import Evaluator
from torch import Tensor

from recbole_mm.evaluation.metrics import OF_COUNTS, OF_HITS, OF_ITEMS, gauc


class RankingEvaluator(Evaluator):
    """RecBole's Evaluator. Metrics of labels, and those that users have written, are computed by their own classes, on the CPU."""

    def evaluate(self, dataobject: DataStruct) -> OrderedDict[str, float]:
        """The metrics by name, rounded as RecBole rounds them.

        Args:
            dataobject: what a ``RankingCollector`` has kept.
        """
        result = OrderedDict()
        for metric in self.metrics:
            if self.is_recboles(metric):
                values = self._values(metric, dataobject)
                result.update({name: round(np.float64(value), self.config["metric_decimal_place"]) for name, value in values.items()})
            else:
                result.update(self.metric_class[metric].calculate_metric(on_cpu(dataobject)))
        return result

    def per_row(self, metric: str, dataobject: DataStruct) -> dict[str, Tensor]:
        """``metric@k`` -> the values (n,) whose means are one of RecBole's metrics; {} for one that asks for no relevant items."""
        if metric not in OF_HITS:
            return {}
        hits, n_relevant = dataobject["rec.topk"].double().tensor_split([-1], dim=1)
        values = OF_HITS[metric](hits, n_relevant.squeeze(1))
        return {f"{metric}@{k}": values[:, k - 1] for k in self.config["topk"]}

    def _values(self, metric: str, dataobject: DataStruct) -> dict[str, float]:
        if metric == "gauc":
            return {metric: gauc(dataobject["rec.meanrank"])}
        if metric in OF_HITS:
            return {name: float(values.mean()) for name, values in self.per_row(metric, dataobject).items()}
        items = dataobject["rec.items"]
        if metric in OF_ITEMS:
            counts = dataobject["data.count_items"]
            of_item = OF_ITEMS[metric](counts, int(max(items.max(), *counts)) + 1, self.config["tail_ratio"]).to(items.device)
            return {f"{metric}@{k}": float(of_item[items[:, :k]].mean()) for k in self.config["topk"]}
        shown = {k: torch.unique(items[:, :k], return_counts=True)[1].double() for k in self.config["topk"]}
        return {f"{metric}@{k}": OF_COUNTS[metric](times, dataobject["data.num_items"]) for k, times in shown.items()}

    def is_recboles(self, metric: str) -> bool:
        """Whether it is one of RecBole's own metrics of rankings."""
        return type(self.metric_class[metric]).__module__ == recboles.__name__ and metric in {"gauc", *OF_HITS, *OF_COUNTS, *OF_ITEMS}


def on_cpu(struct: DataStruct) -> DataStruct:
    """What was kept, as RecBole's metrics take it."""
    copy = DataStruct()
    for key, value in struct._data_dict.items():
        copy.set(key, value.cpu() if torch.is_tensor(value) else value)
    return copy
