"""What a model has learned stays with its users and items, whatever becomes of the rows of the data set."""

import json

import pytest
import torch
from recbole.utils.case_study import full_sort_topk
from safetensors.torch import save_file

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.training.trained_data import INTERACTIONS, TOKENS, fingerprint_of
from tests.training.moving_shop import BY_TIME, OLD_ITEMS, OLD_USERS, Loaded, Shop, draw_shop, train

PAIRS = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"], "item": ["item_id", "category"]},
    "eval_args": {**BY_TIME, "mode": "labeled"},
    "threshold": {"rating": 3},
    "metrics": ["AUC"],
    "valid_metric": "AUC",
}
"""What a model needs that scores pairs by their labels."""
MODELS = {
    "VBPR": {},
    "LightGCNM": {},
    "CLIPRec": {"use_id": False},
    "BPR": {},
    "LightGCN": {},
    "ItemKNN": {},
    "EASE": {},
    "FM": PAIRS,
    "SASRec": {"train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 8},
}
GRAPHS = {"LightGCNM", "LightGCN"}
"""Models whose scores also follow from the training interactions that are there now."""


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


@pytest.mark.parametrize("name", MODELS)
def test_scores_stay_with_their_tokens(shop, name, caplog):
    file = train(name, shop, **MODELS[name])
    before = Loaded.of(file).scores(OLD_USERS, OLD_ITEMS)
    assert before.std() > 0 and "checkpoint" not in caplog.text

    def after(changed: Shop, users=OLD_USERS, items=OLD_ITEMS) -> tuple[torch.Tensor, Loaded]:
        caplog.clear()
        changed.write()
        loaded = Loaded.of(file)
        return loaded.scores(users, items), loaded

    scores, _ = after(shop.shuffled())
    torch.testing.assert_close(scores, before)
    assert "checkpoint" not in caplog.text

    grown = shop.with_orders(("u90", "i3", 900), ("u90", "i4", 901), ("u3", "i90", 902), ("u4", "i90", 903), ("u90", "i91", 904)).shuffled(
        2
    )
    scores, loaded = after(grown)
    if name not in GRAPHS:
        torch.testing.assert_close(scores, before)
    assert "1 user is not in the checkpoint: u90; its 3 interactions are left out" in caplog.text
    if name == "CLIPRec":
        assert "2 items are not in the checkpoint: i90, i91; they are ranked by content" in caplog.text
        assert torch.isfinite(loaded.scores(OLD_USERS, ["i90", "i91"])).all()
    else:
        assert "2 items are not in the checkpoint: i90, i91; their 2 interactions are left out" in caplog.text
        assert loaded.dataset.item_num == 21
    assert loaded.dataset.user_num == 13

    kept = [item for item in OLD_ITEMS if item not in ("i7", "i9")]
    scores, loaded = after(shop.without("i7", "i9").shuffled(3), items=kept)
    if name not in GRAPHS:
        torch.testing.assert_close(scores, before[:, [OLD_ITEMS.index(item) for item in kept]])
    assert (loaded.scores(OLD_USERS, ["i7", "i9"]) == -torch.inf).all()
    assert "2 items of the checkpoint are not in the data: i7, i9; they are never recommended" in caplog.text


@pytest.mark.parametrize("name", ["VBPR", "BPR"])
def test_a_checkpoint_without_tokens_is_matched_by_order(shop, name, caplog):
    """As recbole itself writes them, pickled, and as this package did before."""
    file = train(name, shop)
    before = Loaded.of(file).scores(OLD_USERS, OLD_ITEMS)
    older = {key: value for key, value in load_checkpoint(file, pickled=True).items() if key not in (TOKENS, INTERACTIONS)}
    if name == "BPR":
        config = MultiModalConfig.from_final(older["config"])
        torch.save({**older, "config": config}, file, pickle_protocol=4)
    else:
        torch.save({**older, "data_fingerprint": fingerprint_of(Loaded.of(file).parts[0].dataset)}, file)
    torch.testing.assert_close(Loaded.of(file).scores(OLD_USERS, OLD_ITEMS), before)
    matched = "holds no tokens, so users and items are matched by their order"
    assert (matched in caplog.text) == (name == "BPR"), "a fingerprint of the data shows that they have not changed"
    shop.with_orders(("u3", "i90", 900)).write()
    with pytest.raises(InputError, match="does not fit this model and data set: size mismatch for item_embedding"):
        Loaded.of(file)
    assert matched in caplog.text


def test_the_second_stage_of_a_training_takes_the_ids_of_the_first(shop):
    """S3Rec: with a learning rate of 0, the second stage ends with the weights of the first."""
    keys = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "category"]}, "item_attribute": "category",
            "MAX_ITEM_LIST_LENGTH": 8, "train_neg_sample_args": None, "pretrain_epochs": 1, "save_step": 1}  # fmt: skip
    first = train("S3Rec", shop, train_stage="pretrain", **keys)
    found = []
    for changed in (shop, shop.shuffled()):
        file = train("S3Rec", changed.write(), train_stage="finetune", pre_model_path=str(first), learning_rate=0, **keys)
        found.append(Loaded.of(file).scores(OLD_USERS, OLD_ITEMS))
    assert file != first
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["VBPR", "CLIPRec"])
def test_feature_files_may_lose_and_gain_rows(shop, name):
    """Where a known item has another row, the file was made in another way."""
    keys = {"modalities": None, "feature_files": {"audio": "audio.safetensors"}, "use_id": False}
    rows = {item: torch.randn(4) for item in [*OLD_ITEMS, "i90"]}
    write_rows(shop, {item: rows[item] for item in OLD_ITEMS})
    file = train(name, shop, **(keys if name == "CLIPRec" else {key: keys[key] for key in ("modalities", "feature_files")}))
    before = Loaded.of(file).scores(OLD_USERS, OLD_ITEMS)
    shop.without("i7").with_orders(("u3", "i90", 900)).shuffled().write()
    write_rows(shop, {item: row for item, row in reversed(rows.items()) if item != "i7"})
    loaded, kept = Loaded.of(file), [item for item in OLD_ITEMS if item != "i7"]
    torch.testing.assert_close(loaded.scores(OLD_USERS, kept), before[:, [OLD_ITEMS.index(item) for item in kept]])
    assert loaded.dataset.item_num == 21 + (name == "CLIPRec")
    write_rows(shop, {**rows, "i3": rows["i4"], "i5": rows["i6"]})
    with pytest.raises(InputError, match="other feature files: 2 of 20 items have another audio row"):
        Loaded.of(file)


@pytest.mark.parametrize("name", ["VBPR", "NeuMF", "SASRec"])
def test_what_is_gone_is_in_no_list(shop, name):
    """NeuMF scores pairs alone, and SASRec's lists mask no history."""
    file = train(name, shop, **MODELS.get(name, {}))
    shop.without("i7", "i9").shuffled().write()
    loaded = Loaded.of(file)
    users = loaded.dataset.token2id("user_id", OLD_USERS)
    scores, items = full_sort_topk(users, loaded.model, loaded.parts[2], k=10, device=loaded.config["device"])
    shown = {str(token) for token in loaded.dataset.id2token("item_id", items[torch.isfinite(scores)].unique())}
    assert len(shown) > 10 and not shown & {"i7", "i9", "[PAD]"}


def test_items_that_are_linked_to_a_graph_keep_their_ids_too(shop):
    """There RecBole moves the ids of items and entities once more. The graph itself must stay."""
    columns = {"inter": ["user_id", "item_id", "timestamp"], "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    triples = [f"e{i}\tr{i % 3}\te{(i * step + 3) % 30}" for step in (3, 7) for i in range(30)]
    links = [f"i{i}\te{i}" for i in range(16)]

    def write(triples: list[str], links: list[str]) -> None:
        (shop.folder / "shop.kg").write_text("\n".join(["head_id:token\trelation_id:token\ttail_id:token", *triples]))
        (shop.folder / "shop.link").write_text("\n".join(["item_id:token\tentity_id:token", *links]))

    write(triples, links)
    file = train("CKE", shop, load_col=columns)
    before = Loaded.of(file).scores(OLD_USERS, OLD_ITEMS[:16])
    write(triples[::-1], links[::-1])
    shop.with_orders(("u90", "i3", 900), ("u3", "i90", 901)).shuffled().write()
    torch.testing.assert_close(Loaded.of(file).scores(OLD_USERS, OLD_ITEMS[:16]), before)
    write(triples, links[:-1])
    with pytest.raises(InputError, match="knowledge graph or its links"):
        Loaded.of(file)


def write_rows(shop: Shop, rows: dict[str, torch.Tensor]) -> None:
    file = shop.folder / "audio.safetensors"
    save_file({"features": torch.stack([*rows.values()])}, file, {"item_tokens": json.dumps([*rows])})
