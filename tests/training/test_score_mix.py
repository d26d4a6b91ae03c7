"""``score_mix``: ids against content, by a number or by what is best on validation; kept wherever the model goes."""

import pytest
import torch

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.model_folder import load_model
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.testing.planted import built, settings
from recbole_mm.testing.shops import Shops
from recbole_mm.training.trainer import MultiModalTrainer

METRIC = "recall@5"
KEYS = {"feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "epochs": 1, "embedding_size": 4, "topk": [5]}
KEYS["valid_metric"] = "Recall@5"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Shops(tmp_path_factory.mktemp("shops")).small


@pytest.fixture
def knows(monkeypatch):
    """Training that ends with one part of the score knowing the users' tastes, and the other one loud noise."""

    def planted(part: str) -> None:
        def train(trainer, train_data, epoch, *args, **kwargs):
            model, draw = trainer.model, torch.Generator().manual_seed(epoch)
            tokens = [train_data.dataset.field2id_token[field][1:] for field in ("user_id", "item_id")]
            users, items = (torch.eye(4)[[0, *(int(token[1:]) % 4 for token in of)]] for of in tokens)
            content = torch.cat(list(model.item_features.table().values()), dim=1)
            of_users = {name: 100 * torch.randn(model.n_users, 4, generator=draw) for name in ("id", "content")} | {part: users}
            with torch.no_grad():
                model.user_embedding.weight.copy_(torch.cat([of_users["id"], of_users["content"]], dim=1))
                model.item_embedding.weight.copy_(items)
                model.project.weight.copy_(torch.linalg.lstsq(content, items).solution.T)
            return 0.0

        monkeypatch.setattr(MultiModalTrainer, "_train_epoch", train)

    return planted


@pytest.mark.parametrize(("part", "weight"), [("id", 0), ("content", 1)])
def test_a_part_that_is_noise_loses_its_weight(shop, knows, part, weight, caplog):
    knows(part)
    plain = run("VBPR", shop.name, config_dict=settings(shop, **KEYS))
    caplog.set_level("INFO")
    mixed = run("VBPR", shop.name, config_dict=settings(shop, **KEYS, score_mix="auto", state="INFO"))
    held = load_checkpoint(mixed["files"]["checkpoint"])
    assert held["other_parameter"]["score_mix"] == pytest.approx(weight, abs=0.01)
    before, after = plain["best_valid_result"][METRIC], mixed["best_valid_result"][METRIC]
    assert after > before + 0.2 and mixed["best_valid_score"] == after and mixed["test_result"][METRIC] > plain["test_result"][METRIC]
    assert held["best_valid_score"] == after and held["unmixed"]["best_valid_score"] == pytest.approx(before)
    assert f"{METRIC} on validation {before:.4f} -> {after:.4f}" in caplog.text


def test_it_goes_where_the_model_goes(shop, knows, tmp_path):
    """Into a resumed run, which goes on with the parts as they are, into recommendations, and into an exported folder."""
    knows("id")
    result = run("VBPR", shop.name, config_dict=settings(shop, **KEYS, score_mix="auto"))
    file = result["files"]["checkpoint"]
    finished = run("VBPR", shop.name, config_dict=settings(shop, **KEYS, score_mix="auto", resume=file))
    assert finished["test_result"] == result["test_result"] and finished["best_valid_result"] == result["best_valid_result"]

    recommender = Recommender.load(file)
    best = recommender.recommend(k=3, exclude_seen=False)
    assert all(int(user[1:]) % 4 == int(item[1:]) % 4 for user, item in zip(best["user"], best["item"], strict=True))
    recommender.parts.items.take_features()
    write_folder(recommender.parts, tmp_path / "folder", run_facts(file))
    exported = Recommender.load(tmp_path / "folder")
    assert exported.recommend(k=3, exclude_seen=False).equals(best)
    assert load_model(tmp_path / "folder")[1].score_mix == recommender.parts.items.source.model.score_mix

    keys = {**KEYS, "epochs": 2, "score_mix": "auto"}
    longer, straight = (run("VBPR", shop.name, config_dict=settings(shop, **keys, **more)) for more in ({"resume": file}, {}))
    assert longer["test_result"] == straight["test_result"] and longer["best_valid_result"] == straight["best_valid_result"]


def test_a_resumed_run_weighs_as_it_is_told(shop):
    """And not as the run before it."""
    before = run("VBPR", shop.name, config_dict=settings(shop, **KEYS, score_mix=0.3))["files"]["checkpoint"]
    for told in (0.9, None):
        config, model, train, *_ = built(shop, "VBPR", **{**KEYS, "epochs": 2, "score_mix": told})
        trainer = build_trainer(config, model)
        trainer.resume_checkpoint(before)
        trainer.fit(train, None, verbose=False, saved=False)
        assert model.score_mix == told


def test_a_refitted_model_has_the_weight_of_the_run(shop, knows):
    knows("content")
    result = run("VBPR", shop.name, config_dict=settings(shop, **KEYS, score_mix="auto", refit=True))
    held = load_checkpoint(result["files"]["checkpoint"])
    assert held["other_parameter"]["score_mix"] == pytest.approx(1, abs=0.01) and held["best_valid_score"] == result["best_valid_score"]


def test_a_number_weighs_and_half_ranks_as_nothing_does(shop):
    found = {}
    for mix in (None, 0.5, 0.0, 1.0):
        _, model, *_ = built(shop, "VBPR", **KEYS, score_mix=mix, use_bias=True)
        with torch.no_grad():
            model.item_bias.weight.normal_(generator=torch.Generator().manual_seed(0))
            users, items = model.eval().final_embeddings()
            found[mix] = users[1:] @ items[1:].T
            parts = model.part_scores(torch.tensor([1, 2]), torch.tensor([3, 4]))
            assert bool(parts["content"].any()) == (mix != 0) and bool(parts["id"].any()) == (mix != 1)
    assert torch.equal(found[None], found[0.5])
    bias = model.item_bias.weight[1:].T
    torch.testing.assert_close(found[0.0] + found[1.0] - bias, 2 * found[None] - bias)


def test_what_has_no_two_parts_is_not_weighed(shop, caplog):
    keys = {**KEYS, "embedding_size": 8}
    config, model, *_ = built(shop, "LightGCNM", **keys, score_mix=0.3)
    with pytest.raises(InputError, match=r"score_mix 0.3 .* LightGCNM has no two such parts here: leave it out"):
        build_trainer(config, model)
    config, model, train, valid, _ = built(shop, "LightGCNM", **keys, score_mix="auto")
    caplog.set_level("INFO")
    build_trainer(config, model).fit(train, valid, verbose=False, saved=False)
    assert "score_mix: auto has no effect" in caplog.text
    config, model, train, *_ = built(shop, "VBPR", **keys, score_mix="auto")
    build_trainer(config, model).fit(train, None, verbose=False, saved=False)
    assert "chooses on validation, and there is none" in caplog.text and model.score_mix is None
