"""Recommender over checkpoints of our models and of RecBole's: known right answers in the planted shop."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving import Recommender
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.parts import run_parts
from recbole_mm.testing.planted import built, write_features, write_planted

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
OURS = ["CLIPRec", "VBPR", "LightGCNM", "BM3"]
RECBOLES = ["BPR", "LightGCN", "ItemKNN", "EASE", "MultiVAE", "SASRec", "NeuMF", "SimpleX"]
SASREC = {"train_neg_sample_args": None}
RANK_ANYBODY = {"BPR", "LightGCN", "ItemKNN", "EASE", "MultiVAE", "SASRec", "SimpleX", *OURS}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("serving") / "shop", n_users=24, n_items=48)
    write_features(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(shop, tmp_path_factory):
    """Of a model that has trained for some epochs; each is trained once."""
    made = {}

    def train(model: str) -> str:
        if model not in made:
            own = {**FILES, "encoder_training": "pretrained"} if model in OURS else SASREC if model == "SASRec" else {}
            keys = {"learning_rate": 0.02, "train_batch_size": 32, "checkpoint_dir": str(tmp_path_factory.mktemp("saved")), **own}
            config, net, train_data, *_ = built(shop, model, epochs=30 if model in OURS else 8, **keys)
            trainer = build_trainer(config, net)
            trainer.fit(train_data, None, verbose=False, saved=True)
            made[model] = trainer.saved_model_file
        return made[model]

    return train


@pytest.fixture()
def load(checkpoint):
    return lambda model: Recommender.load(checkpoint(model))


def rows_of(shop: Path) -> pd.DataFrame:
    return pd.read_csv(shop / "shop.inter", sep="\t").rename(columns=lambda name: name.split(":")[0])


def write_rows(shop: Path, rows: pd.DataFrame) -> None:
    rows.to_csv(shop / "shop.inter", sep="\t", index=False, header=["user_id:token", "item_id:token", "timestamp:float"])


@pytest.mark.parametrize("model", OURS + RECBOLES)
def test_recommends_the_best_of_what_is_not_seen(load, shop, model):
    recommender, seen = load(model), rows_of(shop).groupby("user_id")["item_id"].agg(set)
    table = recommender.recommend(["u3", "u0"], k=5)
    assert list(table.columns) == ["user", "item", "rank", "score"] and list(table["user"].unique()) == ["u3", "u0"]
    for user, own in table.groupby("user"):
        scores = recommender.scores.of_users(torch.tensor([recommender.scores.dataset.token2id("user_id", user)]))[0]
        wanted = pd.Series(scores[1:].numpy(), index=recommender.scores.dataset.field2id_token["item_id"][1:]).drop(list(seen[user]))
        assert list(own["rank"]) == [1, 2, 3, 4, 5] and not set(own["item"]) & seen[user]
        np.testing.assert_allclose(own["score"], wanted.nlargest(5), rtol=1e-5)


@pytest.mark.parametrize("model", OURS + ["BPR", "EASE"])
def test_the_planted_taste_is_recommended_and_found_for_unknown_users(load, model):
    recommender = load(model)
    table = recommender.recommend(k=2)
    right = [int(item[1:]) % 4 == int(user[1:]) % 4 for user, item in zip(table["user"], table["item"], strict=True)]
    assert len(table) == 48 and np.mean(right) > 0.9
    for taste in range(4):
        found = recommender.recommend_for([f"i{taste}", f"i{taste + 8}", f"i{taste + 20}"], k=3)["item"]
        assert np.mean([int(item[1:]) % 4 == taste for item in found]) > 0.6


@pytest.mark.parametrize("model", sorted(RANK_ANYBODY))
def test_anybodys_history_is_ranked_without_itself(load, model):
    table = load(model).recommend_for(["i4", "i8"], k=46)
    assert list(table.columns) == ["item", "rank", "score"] and len(table) == 46 and not {"i4", "i8"} & set(table["item"])
    assert table["score"].is_monotonic_decreasing


def test_candidates_seen_items_and_short_lists(load, shop):
    recommender = load("BPR")
    some = recommender.recommend(["u1"], k=9, candidates=["i2", "i7", "i11"], exclude_seen=False)
    assert sorted(some["item"]) == ["i11", "i2", "i7"]
    everything = recommender.recommend(["u1"], k=1000)
    assert len(everything) == 48 - rows_of(shop).query("user_id == 'u1'")["item_id"].nunique()
    assert recommender.recommend([], k=3).empty and len(recommender.recommend()) == 240


@pytest.mark.parametrize("by", ["a", "b", "model"])
def test_similar_items(load, by):
    """a are the colours (i % 2) and b the words (i // 2 % 2); the model knows the four styles."""
    table = load("VBPR").similar("i5", k=6, by=by)
    of = {"a": lambda i: i % 2 == 1, "b": lambda i: i // 2 % 2 == 0, "model": lambda i: i % 4 == 1}[by]
    assert "i5" not in set(table["item"]) and all(of(int(item[1:])) for item in table["item"])


@pytest.mark.parametrize("model", ["EASE", "SASRec", "MultiVAE"])
def test_similar_items_of_models_that_read_histories(load, model):
    assert len(load(model).similar("i5", k=4)) == 4


@pytest.mark.parametrize("model", OURS)
def test_a_copy_of_an_item_stands_beside_it_and_is_ranked_at_once(load, model):
    recommender = load(model)
    features = recommender.scores.model.item_features.table()
    place = recommender.scores.dataset.token2id("item_id", "i5")
    recommender.add_items([{"item_id": "copy", **{m: rows[place].numpy() for m, rows in features.items()}}])
    assert recommender.similar("copy", k=1, by="a")["item"][0] == "i5"
    assert all(int(item[1:]) % 4 == 1 for item in recommender.similar("copy", k=3)["item"])
    everybody = recommender.recommend(k=49)
    ranks = everybody[everybody["item"] == "copy"].assign(taste=lambda t: t["user"].str[1:].astype(int) % 4)
    assert len(ranks) == 24 and ranks.groupby("taste")["rank"].mean().idxmin() == 1
    assert "copy" in recommender.items and len(recommender.recommend_for(["copy"], k=3)) == 3
    recommender.remove_items(["copy"])
    assert "copy" not in set(recommender.recommend(k=49)["item"]) and "copy" not in recommender.items


def test_an_item_added_under_a_known_token_takes_its_place(load):
    recommender = load("VBPR")
    features, place = recommender.scores.model.item_features.table(), recommender.scores.dataset.token2id("item_id", "i6")
    recommender.add_items([{"item_id": "i5", **{m: rows[place].numpy() for m, rows in features.items()}}])
    assert recommender.similar("i5", k=1, by="b")["item"][0] == "i6" and len(recommender.items) == 48
    having = [user for user in recommender.users if recommender.scores.dataset.token2id("item_id", "i5") in recommender.scores.histories[
        recommender.scores.dataset.token2id("user_id", user)]]  # fmt: skip
    assert having and "i5" not in set(recommender.recommend(having, k=48)["item"]), "it is still what these users have"


def test_search_by_text_and_picture_through_the_encoder(shop, tmp_path):
    config, model, train_data, *_ = built(shop, "CLIPRec", encoder_training="pretrained", checkpoint_dir=str(tmp_path))
    recommender = Recommender(run_parts(config, model, train_data.dataset, train_data.dataset))
    words = recommender.search("silk dress for the evening", k=12)["item"]
    picture = recommender.search(shop / "images" / "7.png", k=1)["item"]
    assert picture[0] == "i7" and np.mean([int(item[1:]) // 2 % 2 == 1 for item in words]) > 0.9
    recommender.add_items(pd.DataFrame([{"item_id": "new", "title": "silk dress for the evening", "image": str(shop / "images" / "7.png")},
                                        {"item_id": "bytes", "title": "", "image": (shop / "images" / "4.png").read_bytes()}]))  # fmt: skip
    assert recommender.similar("new", k=1, by="image")["item"][0] == "i7"
    assert recommender.similar("bytes", k=1, by="image")["item"][0] == "i4"
    with pytest.raises(InputError, match="item 'bytes' has no text"):
        recommender.similar("bytes", by="text")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda r: r.recommend(["u99"]), "unknown user 'u99'.*recommend_for"),
        (lambda r: r.recommend(["[PAD]"]), "unknown user"),
        (lambda r: r.recommend(k=0), "k is 0"),
        (lambda r: r.recommend(candidates=["i5", "x"]), "unknown item 'x'"),
        (lambda r: r.recommend_for([]), "empty history"),
        (lambda r: r.similar("i5", by="colour"), "no features 'colour': by may be model, a, b"),
        (lambda r: r.search("boots"), "no encoder to read a query"),
        (lambda r: r.add_items([{"a": [0.0] * 8}]), "needs a token, in the column 'item_id'"),
        (lambda r: r.add_items([{"item_id": "n", "a": [0.0] * 7}]), "item 'n': a must be 8 finite numbers"),
        (lambda r: r.add_items([{"item_id": "n"}]), "item 'n' has none of a, b"),
        (lambda r: r.remove_items(["i5", "x"]), "unknown item 'x'"),
    ],
)
def test_what_cannot_be_is_one_line(load, call, told):
    recommender = load("VBPR")
    with pytest.raises(InputError, match=told) as error:
        call(recommender)
    assert "\n" not in str(error.value) and len(recommender.items) == 48


@pytest.mark.parametrize(
    ("model", "call", "told"),
    [
        ("NeuMF", lambda r: r.recommend_for(["i4"]), "NeuMF has no vectors of users and items"),
        ("BPR", lambda r: r.add_items([{"item_id": "n"}]), "BPR without item features cannot rank items"),
        ("BPR", lambda r: r.search("boots"), "no encoder to read a query"),
    ],
)
def test_what_a_model_cannot_do_is_one_line(load, model, call, told):
    with pytest.raises(InputError, match=told):
        call(load(model))


def test_rows_may_move_between_training_and_recommending(checkpoint, shop):
    file, before = shop / "shop.inter", Recommender.load(checkpoint("VBPR")).recommend(k=3)
    head, *rows = file.read_text().splitlines()
    try:
        file.write_text("\n".join([head, *reversed(rows)]) + "\n")
        after = Recommender.load(checkpoint("VBPR")).recommend(list(before["user"].unique()), k=3)
    finally:
        file.write_text("\n".join([head, *rows]) + "\n")
    pd.testing.assert_frame_equal(before, after)


def test_histories_of_several_users():
    histories = Histories(torch.tensor([2, 1, 2, 3]), torch.tensor([5, 6, 7, 8]), 5)
    assert histories[2].tolist() == [5, 7] and histories[4].tolist() == []
    places, items = histories.of(torch.tensor([4, 2, 1]))
    assert places.tolist() == [1, 1, 2] and items.tolist() == [5, 7, 6]


def test_a_model_over_a_knowledge_graph(tmp_path):
    """RecBole's loader of such a model calls its data set otherwise."""
    folder = write_planted(tmp_path / "shop", n_users=24, n_items=48)
    for ending, head, rows in (
        ("kg", "head_id:token\trelation_id:token\ttail_id:token", [f"e{i}\tr{i % 2}\te{i % 7}" for i in range(20)]),
        ("link", "item_id:token\tentity_id:token", [f"i{i}\te{i}" for i in range(20)]),
    ):
        (folder / f"shop.{ending}").write_text("\n".join([head, *rows]) + "\n")
    columns = {"inter": ["user_id", "item_id"], "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    config, net, train_data, *_ = built(folder, "CKE", epochs=1, load_col=columns, checkpoint_dir=str(tmp_path))
    trainer = build_trainer(config, net)
    trainer.fit(train_data, None, verbose=False, saved=True)
    assert len(Recommender.load(trainer.saved_model_file).recommend(["u1"], k=3)) == 3


def test_histories_go_by_times_that_float32_cannot_tell_apart(tmp_path):
    """A user's interactions are seconds apart, two in the same second; the rows of the file are in no order."""
    shop = write_planted(tmp_path / "shop", n_users=24, n_items=48)
    rows = rows_of(shop)
    rows["timestamp"] = 1_500_000_000 + rows.groupby("user_id").cumcount().clip(lower=1)
    write_rows(shop, rows.sample(frac=1, random_state=0))
    config, net, train_data, *_ = built(shop, "SASRec", checkpoint_dir=str(tmp_path / "saved"), **SASREC)
    trainer = build_trainer(config, net)
    trainer.fit(train_data, None, verbose=False, saved=True)
    before = Recommender.load(trainer.saved_model_file)
    in_order = rows[rows["user_id"] == "u3"]["item_id"].tolist()
    assert before.history("u3")[2:] == in_order[2:] and set(before.history("u3")[:2]) == set(in_order[:2])
    write_rows(shop, rows.sample(frac=1, random_state=1))
    after = Recommender.load(trainer.saved_model_file)
    assert after.history("u3") == before.history("u3")
    pd.testing.assert_frame_equal(after.recommend(before.users, k=5), before.recommend(k=5), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["ItemKNN", "EASE", "SLIMElastic", "ADMMSLIM"])
def test_models_of_similarities_keep_what_they_were_made_of(tmp_path, model):
    """Under a random split, rows in another order are another training part, which these models were not made of."""
    shop = write_planted(tmp_path / "shop", n_users=24, n_items=48)
    keys = {"checkpoint_dir": str(tmp_path / "saved"), "eval_args": {"order": "RO"}}
    config, net, train_data, *_ = built(shop, model, **keys)
    trainer = build_trainer(config, net)
    trainer.fit(train_data, None, verbose=False, saved=True)
    before = Recommender.load(trainer.saved_model_file)
    write_rows(shop, rows_of(shop).sample(frac=1, random_state=1))
    after = Recommender.load(trainer.saved_model_file)
    for recommender in (before, after):
        ids = recommender.user_ids(before.users)
        wanted = recommender.scores.model.full_sort_predict(Interaction({"user_id": ids})).view(len(ids), -1)
        torch.testing.assert_close(recommender.scores.similarities.of_users(ids)[:, 1:], wanted[:, 1:].float(), atol=2e-4, rtol=1e-4)
    scores = [r.scores.similarities.of_users(r.user_ids(before.users)) for r in (before, after)]
    torch.testing.assert_close(*scores)
