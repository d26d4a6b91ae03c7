"""EASEM and ItemKNNM against slow references, and wherever models without embeddings go."""

import numpy as np
import pytest
import torch

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.testing.model_measures import scores_of
from recbole_mm.testing.planted import built, settings
from recbole_mm.testing.shops import Shops

FILES = {"feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
EXACT = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def shops(tmp_path_factory) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"))


def solved(folder, name: str, **keys):
    """The model after training; X, and the L2-normalised features of each modality (n_items, d)."""
    config, model, train, *_ = built(folder, name, **{**FILES, **keys})
    build_trainer(config, model)._train_epoch(train, 0)
    with torch.no_grad():
        tables = {m: table.double() for m, table in model.eval().item_features.table().items()}
    rows = {m: torch.nn.functional.normalize(table, dim=1).numpy() for m, table in tables.items()}
    for table in rows.values():
        table[0] = 0
    return model, model.interactions().toarray().astype(float), rows


def best(similarities: np.ndarray, k: int) -> np.ndarray:
    """Of each column the k largest positive entries off the diagonal."""
    kept = np.zeros_like(similarities)
    for i in range(len(similarities)):
        column = similarities[:, i].copy()
        column[i] = 0
        order = np.argsort(-column, kind="stable")[:k]
        kept[order, i] = np.maximum(column[order], 0)
    return kept


def test_easem_rebuilds_interactions_and_features_by_other_items(shops):
    """Column by column: a ridge regression of each item on all others, over users and feature columns at once."""
    keys = {"reg_weight": 2.0, "feature_weight": 3.0, "modality_weights": {"a": 3, "b": 1}, "content_k": 4}
    model, x, rows = solved(shops.small, "EASEM", **keys)
    content = np.concatenate([(3 * share) ** 0.5 * rows[m] for m, share in (("a", 0.75), ("b", 0.25))], axis=1)
    both, n = np.concatenate([x, content.T]), model.n_items
    wanted = np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        design = np.concatenate([both[:, others], 2**0.5 * np.eye(n - 1)])
        wanted[others, i] = np.linalg.lstsq(design, np.concatenate([both[:, i], np.zeros(n - 1)]), rcond=None)[0]
    np.testing.assert_allclose(model.parts["id"].matrix(), wanted, **EXACT)
    cosines = (0.75 * rows["a"] @ rows["a"].T + 0.25 * rows["b"] @ rows["b"].T) * model.interacted.numpy()[:, None]
    np.testing.assert_allclose(model.parts["content"].matrix().toarray(), best(cosines, 4), **EXACT)
    model.score_mix = 0.25
    np.testing.assert_allclose(scores_of(model), (x @ (1.5 * wanted + 0.5 * best(cosines, 4)))[1:, 1:], **EXACT)


def test_without_features_easem_is_ease(shops):
    keys = {"modalities": [], "feature_files": None, "reg_weight": 5.0}
    config, model, train, *_ = built(shops.small, "EASEM", **keys)
    build_trainer(config, model)._train_epoch(train, 0)
    _, ease, *_ = built(shops.small, "EASE", reg_weight=5.0)
    users = {"user_id": torch.arange(1, model.n_users)}
    torch.testing.assert_close(scores_of(model), ease.full_sort_predict(users).view(model.n_users - 1, -1)[:, 1:], **EXACT)


def test_blocks_of_all_items_are_exact_and_smaller_ones_the_best_over_their_items(shops):
    exact = solved(shops.small, "EASEM", content_k=0)[0].parts["id"].matrix()
    wide = solved(shops.small, "EASEM", content_k=0, dense_items=0, block_size=100)[0]
    np.testing.assert_allclose(wide.parts["id"].matrix().toarray(), exact, **EXACT)

    model, x, rows = solved(shops.small, "EASEM", content_k=0, dense_items=0, block_size=5)
    gram = x.T @ x + 100 / 2 * sum(table @ table.T for table in rows.values()) + 200 * np.eye(model.n_items)
    found = model.parts["id"].matrix().toarray()
    for i in range(1, model.n_items):
        related = gram[:, i] / np.sqrt(np.diag(gram))
        related[[0, i]] = -np.inf
        own = np.argsort(-related)[:5]
        np.testing.assert_allclose(found[own, i], np.linalg.solve(gram[np.ix_(own, own)], gram[own, i]), **EXACT)
        assert np.count_nonzero(found[:, i]) <= 5


def test_an_item_that_comes_later_has_the_column_of_one_without_interactions(shops):
    """To the exact model, a cold item is another item that it regresses on; so the two differ a little."""
    shop, keys = shops.cold, {"cold_items": str(shops.cold / "cold.txt"), "content_k": 5}
    for name in ("EASEM", "ItemKNNM"):
        model = solved(shop, name, **keys)[0]
        cold = (~model.interacted).nonzero().squeeze(1)[1:]
        columns = model.item_vectors({m: rows[cold] for m, rows in model.item_features.table().items()})
        warm = model.interacted.nonzero().squeeze(1)
        _, whole = model.similarities()
        whole = torch.as_tensor(np.asarray(whole.todense() if hasattr(whole, "todense") else whole))
        if name == "ItemKNNM":
            torch.testing.assert_close(columns, whole[:, cold].T.contiguous(), **EXACT)
        else:
            pairs = torch.stack([columns[:, warm].flatten(), whole[warm][:, cold].T.flatten()])
            assert torch.corrcoef(pairs)[0, 1] > 0.9


def test_itemknnm_is_two_cosines(shops):
    model, x, rows = solved(shops.small, "ItemKNNM", k=3, shrink=0.5, content_k=4)
    counts = np.sqrt(x.sum(0))
    by_users = x.T @ x / (np.outer(counts, counts) + 0.5)
    by_content = sum(table @ table.T for table in rows.values()) / 2 * model.interacted.numpy()[:, None]
    found = model.parts["id"].matrix().toarray()
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(best(by_users, 3), axis=0), **EXACT)
    np.testing.assert_allclose(found[found > 0], by_users[found > 0], **EXACT)
    np.testing.assert_allclose(scores_of(model), (x @ (found + best(by_content, 4)))[1:, 1:], **EXACT)
    users, items = torch.tensor([1, 5, 1]), torch.tensor([2, 3, 7])
    torch.testing.assert_close(sum(model.part_scores(users, items).values()), scores_of(model)[users - 1, items - 1])


def test_what_an_item_lacks_counts_for_nothing(shops):
    model, _, rows = solved(shops.gaps, "ItemKNNM", feature_files=None, encoder="beit3:tiny", modalities=["image", "text"])
    for m, table in rows.items():
        assert not table[~model.item_features.present(m).numpy()].any()


@pytest.mark.parametrize(("name", "keys"), [("EASEM", {}), ("EASEM", {"dense_items": 0, "block_size": 6}), ("ItemKNNM", {"k": 5})])
def test_it_recommends_to_anybody_and_from_a_folder(shops, tmp_path, name, keys):
    """Also items that came later."""
    keys = {**FILES, **keys, "topk": [5], "valid_metric": "Recall@5", "content_k": 5}
    result = run(name, shops.small.name, config_dict=settings(shops.small, **keys))
    file = result["files"]["checkpoint"]
    recommender = Recommender.load(file)
    user, model = recommender.users[0], recommender.parts.items.source.model
    assert model.score_mix is not None and load_checkpoint(file)["other_parameter"]["score_mix"] == model.score_mix
    top = recommender.recommend([user], k=6, exclude_seen=False)
    torch.testing.assert_close(torch.tensor(top["score"].to_numpy()), scores_of(model)[0].topk(6).values, **EXACT)
    trained = list(np.array(recommender.items)[model.interactions()[1].indices - 1])
    same = recommender.recommend_for(trained, k=6, exclude_seen=False)
    torch.testing.assert_close(same["score"].to_list(), top["score"].to_list(), **EXACT)
    assert "i3" not in recommender.similar("i3", k=4)["item"].to_list() and len(recommender.similar("i3", k=4, by="a")) == 4

    recommender.parts.items.take_features()
    write_folder(recommender.parts, tmp_path / "folder", run_facts(file))
    exported, rows = Recommender.load(tmp_path / "folder"), model.item_features.table()
    like = {m: table[3].tolist() for m, table in rows.items()}
    for served in (recommender, exported):
        assert served.recommend([user], k=6, exclude_seen=False)[["item", "rank"]].equals(top[["item", "rank"]])
        served.add_items([{"item_id": "new", **like}])
        own = np.array(served.items[:24])[model.interactions()[1].indices - 1]
        found = [served.recommend([user], k=25, exclude_seen=False), served.recommend_for(list(own), k=25, exclude_seen=False)]
        scores = [float(table.set_index("item")["score"]["new"]) for table in found]
        column = model.item_vectors({m: table[3:4] for m, table in rows.items()})[0]
        assert scores == pytest.approx([float(column[model.interactions()[1].indices].sum())] * 2, rel=1e-4)


def test_ease_and_content_knn_as_one_model(shops):
    """With feature_weight 0; the weight of content is chosen on validation, and refitted with."""
    keys = {**FILES, "feature_weight": 0, "topk": [5], "valid_metric": "Recall@5", "refit": True}
    result = run("EASEM", shops.small.name, config_dict=settings(shops.small, **keys))
    held = load_checkpoint(result["files"]["checkpoint"])
    assert result["refit"]["epochs"] == 1 and held["best_valid_score"] >= held.get("unmixed", {"best_valid_score": 0})["best_valid_score"]
    assert 0 <= held["other_parameter"]["score_mix"] <= 1


def test_what_goes_wrong_is_one_line(shops):
    with pytest.raises(InputError, match="encoder_training: end2end is for models that train step by step, and EASEM is solved at once"):
        built(shops.small, "EASEM", encoder_training="end2end")
    with pytest.raises(InputError, match=r"modality_weights {'c': 1}: the modalities are a, b"):
        built(shops.small, "EASEM", **FILES, modality_weights={"c": 1})


@pytest.mark.parametrize("name", ["EASEM", "ItemKNNM"])
def test_without_features_there_is_nothing_to_know_new_items_by(shops, name):
    _, model, *_ = built(shops.small, name, modalities=[])
    with pytest.raises(InputError, match=f"{name} without item features cannot rank items that it was not trained with"):
        model.item_vectors({})
