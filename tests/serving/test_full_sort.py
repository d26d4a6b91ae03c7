"""What is recommended is what RecBole's full sort ranks first, once all that a user has is masked: of every model, from its checkpoint
after the rows of the tables have moved, and from its export after the tables are gone."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_mm.model import OUR_MODELS
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.read import folder_parts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.index import VectorIndex
from recbole_mm.testing.planted import built, write_features, write_planted

RECBOLES = ["BPR", "LightGCN", "ItemKNN", "EASE", "SASRec"]
K = 10
OURS = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "encoder_training": "pretrained"}
BY_TIME = {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}}
"""A split that does not follow the order of the rows, on which the scores of graph models depend."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("sorted") / "shop", n_users=240)
    write_features(folder)
    return folder


@pytest.mark.parametrize("model", [*OUR_MODELS, *RECBOLES])
def test_recommend_is_the_full_sort(model, shop, tmp_path):
    own = Path(shutil.copytree(shop, tmp_path / "shop"))
    keys = OURS if model in OUR_MODELS else {"train_neg_sample_args": None} if model == "SASRec" else {}
    config, net, train_data, *_ = built(own, model, epochs=1, checkpoint_dir=str(tmp_path / "saved"), **BY_TIME, **keys)
    trainer = build_trainer(config, net)
    trainer.fit(train_data, None, verbose=False, saved=True)
    scores = full_sort(net.eval(), train_data.dataset, own)
    users = list(np.random.default_rng(0).permutation(scores.index)[:200])

    for part in ("inter", "item"):
        head, *rows = (own / f"shop.{part}").read_text().splitlines()
        (own / f"shop.{part}").write_text("\n".join([head, *np.random.default_rng(1).permutation(rows)]) + "\n")
    recommender = Recommender.load(trainer.saved_model_file)
    check(recommender.recommend(users, K), scores.loc[users])
    write_folder(recommender.parts, tmp_path / "folder", {})
    shutil.rmtree(own)
    parts = folder_parts(tmp_path / "folder")
    check(Recommender(parts).recommend(users, K), scores.loc[users])
    if parts.manifest["index"]:
        parts.index = VectorIndex.read(tmp_path / "folder" / "index.faiss")
        check(Recommender(parts).recommend(users, K), scores.loc[users])


def full_sort(net, dataset, folder: Path) -> pd.DataFrame:
    """The model's scores of all users (rows) and items (columns) by token, without those that a user has in any part of the data."""
    rows = pd.read_csv(folder / "shop.inter", sep="\t").rename(columns=lambda name: name.split(":")[0])
    users, items = (dataset.field2id_token[field][1:] for field in ("user_id", "item_id"))
    columns = {"user_id": torch.arange(1, len(users) + 1)}
    if hasattr(net, "ITEM_SEQ"):
        histories = rows.sort_values("timestamp").groupby("user_id")[["item_id", "timestamp"]].agg(list)
        own = [[dataset.token2id("item_id", item) for item in histories.loc[user, "item_id"]] for user in users]
        times = [histories.loc[user, "timestamp"] for user in users]
        longest = dataset.config["MAX_ITEM_LIST_LENGTH"]
        for name, lists in ((net.ITEM_SEQ, own), ("timestamp_list", times)):
            columns[name] = torch.tensor([some + [0] * (longest - len(some)) for some in lists])
        columns[net.ITEM_SEQ_LEN] = torch.tensor([len(some) for some in own])
    with torch.no_grad():
        scores = net.full_sort_predict(Interaction(columns)).view(len(users), -1)[:, 1:]
    table = pd.DataFrame(scores.numpy().copy(), users, items)
    for user, item in zip(rows["user_id"], rows["item_id"], strict=True):
        table.loc[user, item] = -np.inf
    return table


def check(found: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Each user's recommendations are the best of their scores, in order, but for what rounding exchanges."""
    best = np.sort(scores.to_numpy(), axis=1)[:, ::-1][:, :K]
    assert list(found["user"]) == list(np.repeat(scores.index, K)) and list(found["rank"]) == list(range(1, K + 1)) * len(scores)
    own = scores.to_numpy()[scores.index.get_indexer(found["user"]), scores.columns.get_indexer(found["item"])]
    np.testing.assert_allclose(found["score"], best.ravel(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["score"], own, rtol=1e-4, atol=1e-6)
