"""Slices of the users and of their test items: known right answers, and the results that an evaluation of parts gives."""

import numpy as np
import pandas as pd
import pytest

from recbole_mm import run
from recbole_mm.results.records import read_record
from recbole_mm.results.slices import slices
from recbole_mm.testing.planted import settings, write_features, write_planted

DCG = 1 / np.log2(np.arange(2, 12))


def table(**columns) -> pd.DataFrame:
    """Three users: the first has two items in the test, at the ranks 1 and 3; the second one at rank 2; the third one beyond the list."""
    return pd.DataFrame({
        "user": ["a", "b", "c"], "n_training": [2, 5, 9], "rankings": 1, "recall@2": [0.5, 1.0, 0.0], "ndcg@2": [0.5, 0.4, 0.0],
        "items": [["x", "y"], ["x"], ["z"]], "ranks": [[1, 3], [2], [0]], "counts": [[7, 0], [7], [3]],
        "has_image": [[True, False], [True], [False]], **dict.fromkeys(("hit@2", "hit@3", "precision@2", "mrr@3", "ndcg@3", "map@3"), 0.0),
        **columns,
    })  # fmt: skip


def found(users: pd.DataFrame, metrics=None) -> pd.DataFrame:
    rows = slices(users, metrics)
    return rows.assign(slice=rows["slice"].str.partition(" ")[0]).set_index(["by", "slice"])


def test_slices_of_users_are_means_over_their_users():
    rows = found(table())
    assert rows.loc[("all", "all"), "recall@2"] == 0.5 and rows.loc[("all", "all"), "interactions"] == 4
    assert rows.loc["activity", "recall@2"].to_dict() == {"few": 0.5, "some": 1.0, "many": 0.0}
    assert rows.loc["activity", "ndcg@2"].to_dict() == {"few": 0.5, "some": 0.4, "many": 0.0}


def test_in_a_slice_of_items_only_those_are_relevant():
    rows = found(table(), ["recall@2", "hit@3", "precision@2", "mrr@3", "ndcg@3", "map@3"])
    warm, cold = rows.loc[("training", "warm")], rows.loc[("training", "cold")]
    assert (warm["users"], warm["interactions"], cold["users"], cold["interactions"]) == (3, 3, 1, 1)
    assert warm["recall@2"] == pytest.approx(2 / 3) and warm["precision@2"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert warm["mrr@3"] == pytest.approx((1 + 1 / 2 + 0) / 3) and warm["ndcg@3"] == pytest.approx((1 + DCG[1] + 0) / 3)
    assert cold["recall@2"] == 0 and cold["hit@3"] == 1 and cold["mrr@3"] == pytest.approx(1 / 3)
    assert cold["ndcg@3"] == pytest.approx(DCG[2]) and np.isnan(cold["map@3"])
    assert rows.loc["image", "hit@3"].to_dict() == {"with": 1.0, "without": 0.5}


def test_equally_popular_items_and_equally_active_users_stay_together():
    rows = found(table(n_training=[4, 4, 4]))
    assert rows.loc["activity", "users"].to_dict() == {"few": 3}
    assert rows.loc["popularity", "interactions"].to_dict() == {"tail": 2, "middle": 2} and slices(table())["slice"][5] == "middle (7)"


def test_several_rankings_of_a_user_count_apart():
    rows = found(table(rankings=[2, 1, 1]), ["hit@2"])
    assert rows.loc[("training", "warm"), "hit@2"] == pytest.approx((1 + 1 + 0) / 3)
    assert found(table(rankings=[2, 1, 1], counts=[[7, 7], [7], [3]]), ["hit@2"]).loc[("training", "warm"), "hit@2"] == 0.5


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = write_planted(tmp_path_factory.mktemp("slices") / "shop", n_users=60, n_items=48)
    write_features(folder)
    keys = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "cold_item_ratio": 0.2}
    keys |= {
        "metrics": ["Recall", "NDCG", "Hit", "MRR", "Precision"],
        "topk": [5, 40],
        "valid_metric": "Recall@5",
        "encoder_training": "pretrained",
    }
    keys |= {"eval_args": {"split": {"RS": [0.6, 0.1, 0.3]}, "order": "RO"}, "checkpoint_dir": str(folder.parent / "saved")}
    return read_record(run("CLIPRec", "shop", config_dict=settings(folder, epochs=2, use_id=False, **keys))["files"]["record"])


def test_where_every_item_is_relevant_a_slice_gives_the_metrics_of_the_evaluation(record):
    rows = found(record.users())
    everything = slices(record.users().assign(has_image=lambda users: users["items"].map(lambda items: [True] * len(items))))
    whole = everything[everything["by"] == "image"].iloc[0]
    for metric, value in record.test.items():
        assert rows.loc[("all", "all"), metric] == pytest.approx(value, abs=1e-4) and whole[metric] == pytest.approx(value, abs=1e-4)


def test_warm_and_cold_items_are_those_of_the_evaluation_of_parts(record):
    """Its ranks are at least as good, since it masks the test items of the other part; k 40 nearly holds all items."""
    rows = found(record.users())
    for part in ("warm", "cold"):
        for metric, value in record.parts[part].items():
            assert rows.loc[("training", part), metric] <= value + 1e-4
        assert rows.loc[("training", part), "recall@5"] == pytest.approx(record.parts[part]["recall@5"], abs=0.15)
