"""RecBole's models give stock RecBole's numbers where the loop is left to RecBole, and about those otherwise.

The expected values come from ``recbole.quick_start.run_recbole(model, "ml-100k", config_dict={"epochs": 3})`` of stock RecBole 1.2.1
in an environment where that runs: Python 3.11, numpy 1.26.4, scipy 1.11.4, pandas 2.2.3, ray 2.6.3, setuptools < 80, torch 2.13.0 (CPU)
with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1. ml-100k comes with RecBole.
"""

import pytest

from recbole_mm import run

STOCK = {
    "BPR": {
        "best_valid_score": 0.1603,
        "valid_score_bigger": True,
        "best_valid_result": {"recall@10": 0.0523, "mrr@10": 0.1603, "ndcg@10": 0.0738, "hit@10": 0.3627, "precision@10": 0.0606},
        "test_result": {"recall@10": 0.0572, "mrr@10": 0.1619, "ndcg@10": 0.0812, "hit@10": 0.3765, "precision@10": 0.0692},
    },
    "LightGCN": {
        "best_valid_score": 0.2548,
        "valid_score_bigger": True,
        "best_valid_result": {"recall@10": 0.1252, "mrr@10": 0.2548, "ndcg@10": 0.1336, "hit@10": 0.5663, "precision@10": 0.091},
        "test_result": {"recall@10": 0.1361, "mrr@10": 0.279, "ndcg@10": 0.1521, "hit@10": 0.6034, "precision@10": 0.1063},
    },
}


KEYS = {"epochs": 3, "show_progress": False, "use_gpu": False}


@pytest.mark.parametrize("model", STOCK)
def test_ml_100k(model):
    result = run(model, "ml-100k", config_dict={**KEYS, "fast_loop": False})
    assert {key: result[key] for key in STOCK[model]} == STOCK[model]


def test_the_fast_loop_differs_by_its_draws_alone():
    result = run("BPR", "ml-100k", config_dict=KEYS)["test_result"]
    assert result != STOCK["BPR"]["test_result"] and dict(result) == pytest.approx(STOCK["BPR"]["test_result"], abs=0.02)
