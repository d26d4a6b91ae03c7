"""The floor beside a model's results: every training interaction counts, under the protocol of the run."""

import numpy as np
import pytest
import torch

from recbole_mm.evaluation.popularity import Popularity, evaluate_popularity, training_counts, unseen_share
from recbole_mm.parallel.randomness import random_state
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings

RANKED = {"topk": [5, 10], "valid_metric": "Recall@10", "metrics": ["Recall", "NDCG", "MRR"], "encoder": None}
IN_TIME = {"eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


@pytest.mark.parametrize("keys", [{}, {"eval_args": {"mode": "uni10"}}, IN_TIME, {"mask_valid_items": False}, {"cold_item_ratio": 0.2}])
def test_the_floor_is_what_a_run_of_pop_gives(planted, keys):
    keys = settings(planted, epochs=1, **RANKED, **keys)
    pop, bpr = (run(model, planted.name, config_dict=keys) for model in ("Pop", "BPR"))
    assert pop["popularity"] == {}
    assert bpr["popularity"]["test"].keys() == bpr["test_result"].keys()
    if keys.get("eval_args", {}).get("mode") != "uni10":  # where candidates are drawn, the two runs draw others
        assert bpr["popularity"] == {"valid": pop["best_valid_result"], "test": pop["test_result"]}


def test_the_floor_counts_by_hand(planted):
    config, _, train, valid, test = built(planted, "BPR", **RANKED)
    users, items = (train.dataset.inter_feat[field].numpy() for field in ("user_id", "item_id"))
    counts = np.bincount(items, minlength=train.dataset.item_num)
    assert np.array_equal(training_counts(train.dataset).numpy(), counts)
    trainer = build_trainer(config, Popularity(config, train.dataset))
    trainer.eval_collector.data_collect(train)
    found = evaluate_popularity(trainer, trainer.model, valid)
    recalls = []
    for user, item in zip(*(valid.dataset.inter_feat[field].tolist() for field in ("user_id", "item_id")), strict=True):
        open_items = [i for i in range(1, len(counts)) if i not in items[users == user]]
        better, equal = (sum(compare(counts[i], counts[item]) for i in open_items) for compare in (np.greater, np.equal))
        recalls.append((better + equal <= 10, better < 10))
    least, most = np.mean(recalls, axis=0)
    assert least <= found["recall@10"] <= most, "items with the same count may be ranked in any order"


def test_the_floor_changes_nothing(planted):
    config, model, train, _, test = built(planted, "BPR", **RANKED, eval_args={"mode": "uni10"})
    trainer = build_trainer(config, model)
    trainer.eval_collector.data_collect(train)
    drawn_from = random_state()
    before = trainer.evaluate(test, load_best_model=False)
    state, floor = random_state(), Popularity(config, train.dataset)
    first = evaluate_popularity(trainer, floor, test, drawn_from)
    now = random_state()
    assert now["numpy"] == state["numpy"] and now["python"] == state["python"] and torch.equal(now["torch"], state["torch"])
    assert trainer.model is model and evaluate_popularity(trainer, floor, test, drawn_from) == first
    assert evaluate_popularity(trainer, model, test, drawn_from) == before, "the candidates are those of the trainer's evaluation"


def test_all_items_of_a_sequence_count(planted):
    keys = {**RANKED, **IN_TIME, "train_neg_sample_args": None}
    _, _, general, *_ = built(planted, "BPR", **{**keys, "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}})
    _, _, sequential, *_ = built(planted, "SASRec", **keys)
    assert torch.equal(training_counts(sequential.dataset), training_counts(general.dataset))


def test_no_floor_where_items_are_not_ranked(planted):
    labels = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}, "threshold": {"timestamp": 4}}
    result = run("FM", planted.name, config_dict=settings(planted, epochs=1, **{**RANKED, **labels, "load_col": IN_TIME["load_col"]}))
    assert result["popularity"] == {} and result["test_result"].keys() == {"auc"}


def test_the_share_of_unseen_items(planted):
    _, _, train, _, test = built(planted, "BPR", **RANKED, cold_item_ratio=0.25)
    cold = set(train.dataset.cold_items.tolist())
    items = test.dataset.inter_feat["item_id"].tolist()
    share = unseen_share(test.dataset, training_counts(train.dataset))
    assert share >= sum(item in cold for item in items) / len(items) > 0
