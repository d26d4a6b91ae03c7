"""What a model has learned stays with its users and items, whatever becomes of the rows of the data set."""

import pytest
import torch

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
