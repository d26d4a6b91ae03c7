"""A finished run leaves a record, and each test user's metrics."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from recbole_mm import run
from recbole_mm.quick_start import objective_function
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


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("record") / "shop", n_users=12, n_items=24)
    write_features(folder)
    return folder


def recorded(shop: Path, model: str, saved: bool = True, **keys) -> tuple[dict, dict]:
    """What a run of one epoch returns, and its record."""
    keys = {"epochs": 1, "checkpoint_dir": str(shop.parent / "saved"), **keys}
    result = run(model, "shop", config_dict=settings(shop, **keys), saved=saved)
    file = result["files"].get("record")
    return result, json.loads(Path(file).read_text(encoding="utf-8")) if file else {}


SPLIT = {"split": {"RS": [0.4, 0.2, 0.4]}, "order": "TO", "group_by": "user"}


@pytest.mark.parametrize(
    ("model", "rankings", "keys"),
    [
        ("CLIPRec", 1, {**KEYS["CLIPRec"], "eval_args": {**SPLIT, "mode": "uni10"}}),
        ("BPR", 1, {"eval_args": {**SPLIT, "mode": "uni10"}}),
        ("SASRec", 2, {**KEYS["SASRec"], "eval_args": {**SPLIT, "mode": "full"}}),
        ("DeepFM", 1, {"eval_args": {**SPLIT, "mode": "full"}, "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}),
        ("ItemKNN", 1, {}),
    ],
)
def test_every_protocol_that_ranks_items_has_metrics_per_user(shop: Path, model: str, rankings: int, keys: dict):
    result, _ = recorded(shop, model, **keys)
    table = duckdb.read_parquet(result["files"]["users"]).df()
    assert table["rankings"].max() == rankings and len(table) == 12
    for metric, value in result["test_result"].items():
        assert np.average(table[metric], weights=table["rankings"]) == pytest.approx(value, abs=1e-4)
    if rankings == 1:
        found = table["ranks"].map(lambda ranks: sum(0 < rank <= 5 for rank in ranks))
        assert (found / table["items"].map(len)).tolist() == pytest.approx(table["recall@5"].tolist())


def test_a_sequential_model_on_the_same_split_has_the_same_data(shop: Path):
    """Its rows are one more item after a history, so the first item of a user is in no row."""
    split = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}
    found = [recorded(shop, model, **KEYS[model], **split) for model in ("BPR", "SASRec", "CLIPRec")]
    assert found[0][1]["data"] == found[1][1]["data"] == found[2][1]["data"] and found[0][1]["data"]["n_training"] == 12 * 4
    tables = [duckdb.read_parquet(result["files"]["users"]).df().set_index("user").sort_index() for result, _ in found]
    for name in ("n_training", "items", "counts"):
        assert tables[0][name].map(str).equals(tables[1][name].map(str))


@pytest.mark.parametrize("model", ["FM", "CLIPRec"])
def test_a_run_that_ranks_no_items_has_a_record_alone(shop: Path, model: str):
    labels = {"metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "threshold": {"timestamp": 5}, "eval_args": {"mode": "labeled"}}
    result, record = recorded(shop, model, **KEYS.get(model, {}), **labels)
    assert "users" not in result["files"] and set(record["test"]) == {"auc", "logloss"} and record["popularity"] == {}


def test_what_has_no_number_in_json_is_null(shop: Path):
    """Without validation the best score is -inf, which other readers than Python's refuse."""
    result, record = recorded(shop, "BPR", eval_args={"split": {"RS": [0.8, 0, 0.2]}, "order": "RO"})
    assert record["best_valid_score"] is None and record["valid"] is None and record["test"] == dict(result["test_result"])
    assert "Infinity" not in Path(result["files"]["record"]).read_text()


def test_a_split_without_a_test_part(shop: Path):
    result, record = recorded(shop, "BPR", eval_args={"split": {"RS": [0.8, 0.2, 0]}, "order": "RO"})
    assert record["test"] is None and record["valid"] == dict(result["best_valid_result"]) and "users" not in result["files"]


def test_a_run_that_goes_on_takes_the_place_of_its_record_and_a_refit_is_told(shop: Path):
    first, one = recorded(shop, "CLIPRec", **KEYS["CLIPRec"])
    later, two = recorded(shop, "CLIPRec", **KEYS["CLIPRec"], epochs=2, resume=first["files"]["checkpoint"], refit=True)
    assert later["files"]["record"] == first["files"]["record"] and (one["settings"]["epochs"], two["settings"]["epochs"]) == (1, 2)
    assert two["refit"] == later["refit"] and two["data"] == one["data"] and "refit" not in one


def test_runs_without_a_checkpoint_and_trials_leave_no_record(shop: Path):
    folder = shop.parent / "trials"
    result, _ = recorded(shop, "CLIPRec", saved=False, **KEYS["CLIPRec"], checkpoint_dir=str(folder))
    assert not {"record", "users"} & result["files"].keys()
    objective_function({"model": "BPR", "dataset": "shop", **settings(shop, epochs=1, checkpoint_dir=str(folder))})
    assert {file.suffix for file in folder.iterdir()} <= {".pth"}
