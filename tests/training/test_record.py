"""A finished run leaves a record, and each test user's metrics."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from recbole_mm import run
from recbole_mm.testing.planted import settings, write_features, write_planted

KEYS = {
    "CLIPRec": {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "encoder_training": "pretrained"},
    "BPR": {},
    "SASRec": {"train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 8},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = write_planted(tmp_path_factory.mktemp("record") / "shop", n_users=24, n_items=48)
    write_features(folder)
    saved = {"checkpoint_dir": str(folder.parent / "saved"), "metrics": ["Recall", "NDCG", "Hit", "ItemCoverage"], "topk": [5, 10]}
    return {model: run(model, "shop", config_dict=settings(folder, epochs=2, **saved, **keys)) for model, keys in KEYS.items()}


@pytest.mark.parametrize("model", KEYS)
def test_the_record_says_what_was_run_and_what_came_out(results, model):
    result = results[model]
    record = json.loads(Path(result["files"]["record"]).read_text(encoding="utf-8"))
    assert result["files"]["record"] == result["files"]["checkpoint"].replace(".pth", ".json")
    assert (
        record["model"] == model and record["test"] == dict(result["test_result"]) and record["valid"] == dict(result["best_valid_result"])
    )
    assert record["asked"]["epochs"] == 2 and record["settings"]["learning_rate"] and record["popularity"] == result["popularity"]
    assert record["data"]["n_users"] == 24 and record["data"]["n_items"] == 48 and record["cost"] == result["cost"]


@pytest.mark.parametrize("model", KEYS)
def test_metrics_per_user_have_the_means_that_are_reported(results, model):
    table = duckdb.read_parquet(results[model]["files"]["users"]).df()
    n_rows = table["items"].map(len) if model == "SASRec" else 1
    for metric, value in results[model]["test_result"].items():
        if not metric.startswith("itemcoverage"):
            assert np.average(table[metric], weights=np.ones(len(table)) * n_rows) == pytest.approx(value, abs=1e-4)
    assert "itemcoverage@5" not in table and len(table) == table["user"].nunique()


def test_ranks_tell_which_items_were_found(results):
    table = duckdb.read_parquet(results["CLIPRec"]["files"]["users"]).df()
    found = table["ranks"].map(lambda ranks: sum(0 < rank <= 5 for rank in ranks))
    assert (found / table["items"].map(len)).tolist() == pytest.approx(table["recall@5"].tolist()) and found.sum() > 0
    assert set(np.concatenate(table["has_a"].tolist())) == {True}


def test_the_data_have_the_same_fingerprint_in_all_runs_on_one_split(results):
    prints = {json.loads(Path(results[model]["files"]["record"]).read_text())["data"]["fingerprint"] for model in ("CLIPRec", "BPR")}
    assert len(prints) == 1
