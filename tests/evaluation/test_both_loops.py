"""A model that stays as it is has the same metrics with ``fast_loop`` and without, in whatever form it scores and whatever is asked."""

import numpy as np
import pytest
import torch
from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric, TopkMetric
from recbole.utils import EvaluatorType

from recbole_mm.evaluation import chunks
from recbole_mm.evaluation import scores as forms
from recbole_mm.evaluation.full_sort import FullSort
from recbole_mm.evaluation.per_user import kept_per_user
from recbole_mm.evaluation.protocol import evaluate_parts
from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built

ALL = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "GAUC", "ItemCoverage", "AveragePopularity", "GiniIndex", "ShannonEntropy",
       "TailPercentage"]  # fmt: skip
KEYS = {"metrics": ALL, "valid_metric": "MRR@10", "metric_decimal_place": 10, "encoder": None}
IN_TIME = {"order": "TO", "split": {"LS": "valid_and_test"}}
LABELS = {"metrics": ["AUC", "LogLoss", "MAE", "RMSE"], "valid_metric": "AUC"}
MODELS = {
    "BPR": {}, "Pop": {}, "ItemKNN": {}, "CLIPRec": {"modalities": []}, "EASEM": {"modalities": []},
    "FM": {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}},
    "SASRec": {"train_neg_sample_args": None, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
}  # fmt: skip
SETTINGS = {"all items": {}, "sampled": {"mode": "uni20"}, "of popular ones": {"mode": "pop5"}}


def evaluated(folder, model: str, fast: bool, state: dict | None = None, mode: dict | None = None, **keys):
    """The result on test, what was kept per user, and the model, whose weights are ``state`` if they are given."""
    given = {**KEYS, **MODELS[model], "fast_loop": fast, **keys}
    given["eval_args"] = {**(IN_TIME if model == "SASRec" else {}), **({"mode": "full"} if model == "FM" else {}), **(mode or {})}
    config, network, train, _, test = built(folder, model, **given)
    if state:
        network.load_state_dict(state)
    elif hasattr(network, "solve"):
        network.solve()
    trainer = build_trainer(config, network)
    trainer.eval_collector.data_collect(train)
    set_random_state(drawn_from)
    with kept_per_user(trainer) as kept:
        result = trainer.evaluate(test, load_best_model=False)
    return result, kept, network, evaluate_parts(config, trainer, train, test)


drawn_from = random_state()


@pytest.mark.parametrize("mode", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("model", MODELS)
def test_all_metrics(planted, model, mode):
    theirs, kept, network, _ = evaluated(planted, model, fast=False, mode=mode)
    ours, found, _, _ = evaluated(planted, model, True, network.state_dict(), mode=mode)
    same(ours, theirs, kept, found)


def same(ours: dict, theirs: dict, kept, found) -> None:
    assert list(ours) == list(theirs) and ours == pytest.approx(theirs, abs=1e-6), "RecBole's GAUC is a sum of float32"
    assert found.metrics.keys() == kept.metrics.keys() and torch.equal(found.recommended, kept.recommended)
    assert all(values == pytest.approx(kept.metrics[name]) for name, values in found.metrics.items())


@pytest.mark.parametrize(
    ("model", "keys"),
    [("BPR", {"mask_valid_items": False}), ("BPR", {"cold_item_ratio": 0.25}), ("BPR", {"eval_batch_size": 1}),
     ("SASRec", {"mask_history": True}), ("SASRec", {"mask_history": True, "cold_item_ratio": 0.25, "eval_batch_size": 7})],
)  # fmt: skip
def test_protocols(planted, model, keys):
    theirs, kept, network, parts = evaluated(planted, model, fast=False, **keys)
    ours, found, _, own_parts = evaluated(planted, model, True, network.state_dict(), **keys)
    same(ours, theirs, kept, found)
    assert own_parts.keys() == parts.keys() and all(own_parts[part] == pytest.approx(parts[part], abs=1e-7) for part in parts)


def test_a_catalogue_that_is_scored_in_parts(planted, monkeypatch):
    """Items without training interactions have equal scores here, whose order does not depend on the parts."""
    _, _, network, _ = evaluated(planted, "CLIPRec", fast=False)
    state = network.state_dict()
    state["item_embedding.weight"][10:30] = 0.5
    theirs, kept, _, _ = evaluated(planted, "CLIPRec", False, state)
    monkeypatch.setattr(chunks, "ON_CPU", 100)
    monkeypatch.setattr(forms, "IN_PARTS", 7)
    monkeypatch.setattr(forms, "WHOLE", 4)
    ours, found, _, _ = evaluated(planted, "CLIPRec", True, state)
    same(ours, theirs, kept, found)


def test_metrics_of_labels(planted):
    keys = {**LABELS, "mode": {"mode": "uni5"}}
    theirs, _, network, _ = evaluated(planted, "BPR", fast=False, **keys)
    ours, found, _, _ = evaluated(planted, "BPR", True, network.state_dict(), **keys)
    assert ours == pytest.approx(theirs) and not len(found)


def test_metrics_that_users_write(planted, monkeypatch):
    """Theirs get what RecBole's collector would give them, and those of rankings are kept per user."""

    class Third(TopkMetric):
        def calculate_metric(self, dataobject):
            relevant, n_relevant = self.used_info(dataobject)
            assert relevant.dtype == bool and len(n_relevant) == len(relevant)
            return self.topk_result("third", relevant * (np.arange(relevant.shape[1]) == 2))

    class Highest(AbstractMetric):
        metric_type, metric_need = EvaluatorType.RANKING, ["rec.items"]

        def calculate_metric(self, dataobject):
            return {"highest": int(dataobject.get("rec.items").numpy().max())}

    for metric in (Third, Highest):
        name = metric.__name__.lower()
        for table, value in (("metrics_dict", metric), ("metric_information", metric.metric_need), ("metric_types", metric.metric_type)):
            monkeypatch.setitem(getattr(register, table), name, value)
    keys = {"metrics": ["Recall", "Third", "Highest"], "valid_metric": "Recall@10"}
    theirs, kept, network, _ = evaluated(planted, "BPR", fast=False, **keys)
    ours, found, _, _ = evaluated(planted, "BPR", True, network.state_dict(), **keys)
    same(ours, theirs, kept, found)
    assert "third@5" in found.metrics and ours["highest"] > 10


def batch_of(loader, index) -> tuple:
    """The users of a batch, and the pairs of a row and an item that they had, and that are relevant."""
    users, history, *relevant = loader.collate_fn(index)
    return users["user_id"].tolist(), *(sorted(zip(rows.tolist(), items.tolist(), strict=True)) for rows, items in (history, relevant))


def test_batches_are_recboles(planted):
    """Those of some users in any order as well, and the lists that a case study reads."""
    (*_, theirs), (*_, ours) = (built(planted, "BPR", **{**KEYS, "fast_loop": fast}) for fast in (False, True))
    assert isinstance(ours, FullSort) and not isinstance(theirs, FullSort) and torch.equal(ours.uid_list, theirs.uid_list)
    for index in ([3, 4, 5], [9, 2, 5, 30], list(range(len(ours.uid_list)))):
        ours_has, has = (batch_of(loader, index) for loader in (ours, theirs))
        assert ours_has == has
    for lists in ("uid2history_item", "uid2positive_item"):
        for one, other in zip(getattr(ours, lists), getattr(theirs, lists), strict=True):
            assert (one is None and other is None) or sorted(one.tolist()) == sorted(other.tolist())
    assert (ours.uid2items_num == theirs.uid2items_num).all()
