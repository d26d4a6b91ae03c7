"""A run goes on where its training interactions are the same, in whatever order; otherwise one line says what is new and gone."""

import shutil
from pathlib import Path

import pytest

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built
from tests.training.moving_shop import BY_TIME, OLD_ITEMS, OLD_USERS, Loaded, Shop, draw_shop, newest, quick, train


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


def resumed(model: str, shop: Shop, file: Path, **keys) -> tuple:
    """Results and scores of a run that goes on for one more epoch, from a copy of its checkpoint."""
    copy = shutil.copy(file, file.with_name("copy.pth"))
    result = run(model, "shop", config_dict=quick(shop.write(), **{"epochs": 2, "resume": copy, **keys}))
    return result["test_result"], Loaded.of(copy).scores(OLD_USERS, OLD_ITEMS).tolist()


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_a_run_goes_on_over_moved_rows_as_over_unmoved_ones(shop, model, caplog):
    """The split is by time, so the rows of its parts have the same order again. A new customer is left out."""
    file = train(model, shop)
    unmoved = resumed(model, shop, file)
    assert unmoved[1] != Loaded.of(file).scores(OLD_USERS, OLD_ITEMS).tolist(), "it has trained"
    assert resumed(model, shop.shuffled(), file) == unmoved
    caplog.clear()
    assert resumed(model, shop.with_orders(("u90", "i3", 990), ("u90", "i90", 991)).shuffled(), file) == unmoved
    assert "1 user is not in the checkpoint: u90; its 2 interactions are left out" in caplog.text
    assert "1 item is not in the checkpoint: i90" in caplog.text


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_a_run_does_not_go_on_with_other_training_interactions(shop, model):
    file = train(model, shop)
    more = [("u3", item, 990 + i) for i, item in enumerate(OLD_ITEMS) if ("u3", item) not in {order[:2] for order in shop.orders}][:5]
    with pytest.raises(InputError, match="other data .*: 3 training interactions of now are new to it, and 0 that"):
        resumed(model, shop.with_orders(*more), file)
    with pytest.raises(InputError, match="other data .*, and [1-9]|pictures or texts of these items"):
        resumed(model, shop.without("i7"), file)


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_a_random_split_follows_the_rows(shop, model, caplog):
    """Some of what it would be tested on, it was trained on."""
    keys = {"eval_args": {**BY_TIME, "order": "RO"}}
    file = train(model, shop, **keys)
    resumed(model, shop, file, **keys)
    with pytest.raises(InputError, match="other data"):
        resumed(model, shop.shuffled(), file, **keys)
    caplog.clear()
    Loaded.of(file)
    (warning,) = [record.message for record in caplog.records if "checkpoint" in record.message or "split" in record.message]
    assert "of the 48 interactions for validation and test were trained on" in warning


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_a_finished_run_has_nothing_to_train(shop, model):
    first = run(model, "shop", config_dict=quick(shop))
    file = newest(model)
    again = run(model, "shop", config_dict=quick(shop, resume=str(file)))
    assert first["best_valid_result"] and again["best_valid_result"] == first["best_valid_result"]
    assert again["test_result"] == first["test_result"] and load_checkpoint(file)["epoch"] == 0


def test_a_run_does_not_go_on_under_other_names_of_its_columns(shop):
    """Whose tokens are whose is then not known."""
    file = train("BPR", shop)
    inter = shop.folder / "shop.inter"
    inter.write_text(inter.read_text().replace("user_id:", "customer:"))
    keys = {"USER_ID_FIELD": "customer", "load_col": {"inter": ["customer", "item_id", "timestamp"]}, "epochs": 2, "resume": str(file)}
    with pytest.raises(InputError, match="other users, items or ids"):
        run("BPR", "shop", config_dict=quick(shop, **keys))


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_a_checkpoint_is_not_evaluated_under_other_ids(shop, model):
    file, keys = train(model, shop), quick(shop)
    shop.shuffled().write()
    config, other, _, _, test = built(shop.folder, model, **keys)
    with pytest.raises(InputError, match="load_data_and_model brings the two together"):
        build_trainer(config, other).evaluate(test, model_file=str(file))
    loaded = Loaded.of(file)
    trainer = build_trainer(loaded.config, loaded.model)
    assert trainer.evaluate(loaded.parts[2], model_file=str(file)) == trainer.evaluate(loaded.parts[2], load_best_model=False)
