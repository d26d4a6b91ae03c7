"""What a model has learned stays with its users and items, whatever becomes of the rows of the data set."""

import pytest
import torch

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
