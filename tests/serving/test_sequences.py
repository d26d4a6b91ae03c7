"""Sequence models in use: known users, new ones, new items, and the times of histories, from a run and from its export."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.parts import run_parts
from recbole_mm.testing.planted import settings, write_features, write_planted
from recbole_mm.training.build import build_model
from recbole_mm.training.loaders import create_dataset, data_preparation

KEYS = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "encoder": None}
SMALL = {"SASRecM": {"use_id": False}, "HSTU": {"use_id": False, "initializer_range": 0.3}, "UniSRec": {}}
"""Models over content alone. Those of HSTU's weights that read times begin near 0 by default."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("served") / "shop", n_users=16, n_items=24)
    write_features(folder)
    return folder


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "shop.inter", sep="\t").rename(columns=lambda name: name.split(":")[0])


@pytest.fixture()
def served(shop, tmp_path):
    """The recommender of a run as its seed makes it, that of its export, and the test loader."""

    def make(model: str, **keys) -> tuple[Recommender, Recommender, object]:
        asked = settings(shop, **{**KEYS, **SMALL[model], "hidden_size": 16, **keys})
        config = MultiModalConfig(model, "shop", config_dict=asked)
        data = create_dataset(config)
        data.keeps_order = True
        train, _, test = data_preparation(config, data)
        run = Recommender(run_parts(config, build_model(config, train), data, train._dataset))
        write_folder(run.parts, tmp_path / "export", {})
        return run, Recommender.load(tmp_path / "export"), test

    return make


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", SMALL)
def test_a_history_is_ranked_as_in_evaluation(served, model):
    """With the times where the model reads them, by anybody who has the history."""
    run, folder, test = served(model)
    data, net = test._dataset, run.parts.scores.model.eval()
    tokens = data.field2id_token["item_id"]
    batch = next(iter(test))[0]
    with torch.no_grad():
        expected = net.full_sort_predict(batch)
    for row in range(3):
        own = slice(int(batch["item_length"][row]))
        history, times = tokens[batch["item_id_list"][row][own]].tolist(), batch["timestamp_list"][row][own].tolist()
        for recommender in (run, folder):
            found = recommender.recommend_for(history, 24, exclude_seen=False, times=times)
            scores = expected[row][data.token2id("item_id", found["item"].tolist())].numpy()
            np.testing.assert_allclose(found["score"], scores, rtol=1e-4, atol=1e-5)
            assert len(found) == 24 and (np.diff(scores) < 1e-5).all()


@pytest.mark.parametrize("model", SMALL)
def test_a_known_user_is_somebody_with_their_history_and_its_times(served, shop, model):
    run, folder, _ = served(model)
    rows = rows_of(shop).query("user_id == 'u3'").sort_values("timestamp")
    history, times = rows["item_id"].tolist(), rows["timestamp"].tolist()
    for recommender in (run, folder):
        known = recommender.recommend(["u3"], 9).drop(columns="user")
        same(recommender.recommend_for(history, 9, times=times), known)
        stretched = recommender.recommend_for(history, 9, times=[10**time for time in times])
        apart = np.abs(stretched["score"] - known["score"]).max()
        assert apart > 1e-3 if model == "HSTU" else apart < 1e-5, "HSTU alone reads times"
        assert len(recommender.recommend_for(history, 9)) == 9, "times need not be known"
        with pytest.raises(InputError, match="2 times of .* items of the history"):
            recommender.recommend_for(history, times=times[:2])
        assert recommender.similar("i5", 1, by="a")["item"][0] != "i5" and len(recommender.similar("i5", 3)) == 3


def add_copy(recommender: Recommender, of: str) -> None:
    row = recommender._served.rows([of])
    features = recommender.parts.items.source.features().items()
    recommender.add_items([{"item_id": "copy", **{m: rows[row][0].numpy() for m, (rows, _) in features}}])


@pytest.mark.parametrize("model", SMALL)
def test_a_copy_of_an_item_is_ranked_as_the_item_is(served, shop, model):
    """No parameter belongs to an item, so it has the same score, for anybody who does not have it."""
    rows = rows_of(shop)
    nobodys = next(f"i{i}" for i in range(24) if f"i{i}" not in set(rows[rows["user_id"] == "u1"]["item_id"]) | {"i1", "i9"})
    for recommender in served(model)[:2]:
        add_copy(recommender, nobodys)
        assert recommender.similar("copy", 1)["item"][0] == nobodys
        tables = [recommender.recommend_for(["i1", "i9"], 25, exclude_seen=False, times=[2, 700]), recommender.recommend(["u1"], 25, False)]
        for table in tables:
            scores = table.set_index("item")["score"]
            assert len(scores) == 25 and scores["copy"] == pytest.approx(scores[nobodys], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("model", ["SASRecM", "UniSRec"])
def test_the_folder_ranks_what_a_user_has_as_the_run_does(served, shop, model, bias):
    """With the bias of items that come again, and with the ids of the nearest item for a new one."""
    run, folder, _ = served(model, use_id=True, repeat_bias=bias)
    own = rows_of(shop).query("user_id == 'u1'")["item_id"]
    found = []
    for recommender in (run, folder):
        add_copy(recommender, own.iloc[0])
        scores = recommender.recommend(["u1"], 25, exclude_seen=False).set_index("item")["score"]
        apart = scores["copy"] - scores[own.iloc[0]]
        assert apart > 1 if bias else abs(apart) < 1e-3, "the user does not have the copy"
        found.append(scores.sort_index())
        assert not set(recommender.recommend(["u1"], 25)["item"]) & set(own)
    pd.testing.assert_series_equal(*found, check_dtype=False, rtol=1e-4, atol=1e-5)


def test_items_that_are_gone_are_not_recommended_and_new_ones_are(served):
    run, folder, _ = served("SASRecM")
    for recommender in (run, folder):
        recommender.remove_items(["i3"])
        add_copy(recommender, "i6")
        ranked = set(recommender.recommend_for(["i1"], 30)["item"])
        assert "copy" in ranked and "i3" not in ranked and len(recommender.recommend_for(["i3", "copy"], 5)) == 5
        with pytest.raises(InputError, match="SASRecM knows none of the items of the history"):
            recommender.recommend_for(["copy"], 5)


@pytest.mark.parametrize("most", [3, 9])
@pytest.mark.parametrize("fast", [True, False])
def test_histories_of_files_that_hold_histories(tmp_path, most, fast):
    """UniSRec's files have the training rows of a user backwards, and cut what came before."""
    sequences, head = {"u": "abcdefbg", "v": "cab"}, "user_id:token\titem_id_list:token_seq\titem_id:token"
    files = {"train": [head], "valid": [head], "test": [head]}
    for user, items in sequences.items():
        for end in reversed(range(1, len(items))):
            part = {1: "test", 2: "valid"}.get(len(items) - end, "train")
            files[part].append(f"{user}\t{' '.join(items[max(0, end - most) : end])}\t{items[end]}")
    (tmp_path / "toy").mkdir()
    for part, rows in files.items():
        (tmp_path / "toy" / f"toy.{part}.inter").write_text("\n".join(rows) + "\n")
    keys = {"benchmark_filename": ["train", "valid", "test"], "modalities": [], "encoder": None, "topk": [3], "valid_metric": "Recall@3"}
    config = MultiModalConfig("SASRecM", "toy", config_dict=settings(tmp_path / "toy", fast_loop=fast, **keys))
    data = create_dataset(config)
    for split in (False, True):
        if split:
            data_preparation(config, data)
        found = Histories.of_dataset(data)
        names, users = data.field2id_token["item_id"], data.field2token_id["user_id"]
        own = {user: "".join(names[found[users[user]].numpy()]) for user in sequences}
        assert own["v"] == "cab" and own["u"][-most - 1 :] == "abcdefbg"[-most - 1 :]
        assert sorted(own["u"]) == sorted("abcdefbg") and found.times is None
