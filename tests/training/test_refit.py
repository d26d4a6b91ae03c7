"""``refit: True``: the checkpoint is that of a model trained on all interactions, and the results are those of the split."""

from pathlib import Path

import pytest
import torch
from recbole.utils import ModelType

from recbole_mm.checkpoint import load_checkpoint, save_checkpoint
from recbole_mm.config.combinations import check_refit
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data import checked_filters
from recbole_mm.errors import InputError
from recbole_mm.quick_start import create_dataset, data_preparation, load_data_and_model, objective_function, run
from recbole_mm.serving import Recommender
from recbole_mm.training import refit as refitting
from recbole_mm.training.refit import refit
from tests.training.moving_shop import BY_TIME, OLD_ITEMS, OLD_USERS, Loaded, Shop, draw_shop, newest, quick, train

ALL = {"order": "TO", "group_by": "none", "split": {"RS": [1, 0, 0]}, "mode": "full"}
MODELS = {
    "CLIPRec": {"cold_item_ratio": 0.2},
    "LightGCNM": {"negative_items": "training"},
    "BPR": {"cold_item_ratio": 0.2},
    "LightGCN": {},
    "ItemKNN": {},
    "EASE": {},
    "MultiVAE": {},
    "SASRec": {"train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 8, "eval_args": {"split": {"LS": "valid_and_test"}}},
}


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_model_of_a_run_whose_split_puts_everything_in_training(shop, name, caplog, monkeypatch):
    """And so it scores when its checkpoint is loaded, graphs and histories included."""
    monkeypatch.setattr(checked_filters, "PARTS", ())  # so that nothing may be left for validation and test
    keys = {"epochs": 1 if name in ("ItemKNN", "EASE") else 2, "eval_step": 0, "state": "INFO", **MODELS[name]}
    file = train(name, shop, **{**keys, "eval_args": {**BY_TIME, **keys.get("eval_args", {})}, "refit": True})
    whole = train(name, shop, **{**keys, "eval_args": ALL, "cold_item_ratio": 0})
    refitted, other = load_checkpoint(file, pickled=True), load_checkpoint(whole, pickled=True)
    assert file != whole and refitted["refit"] == {"epochs": keys["epochs"], "interactions": 108 if name == "SASRec" else 120}
    for key, value in other["state_dict"].items():
        torch.testing.assert_close(refitted["state_dict"][key], value, rtol=0, atol=0)
    caplog.clear()
    scores = Loaded.of(file).scores(OLD_USERS, OLD_ITEMS)
    (told,) = [record for record in caplog.records if str(file) in record.message]
    assert told.levelname == "INFO" and "metrics on any of them are too good" in told.message
    torch.testing.assert_close(scores, Loaded.of(whole).scores(OLD_USERS, OLD_ITEMS))


def test_what_only_the_test_part_shows_is_learned(shop):
    """A third of the users buy i18 and then i19, which nobody has in the training part."""
    parts = {"train": [order for order in shop.orders if order[1] not in ("i18", "i19")]}
    parts |= {"valid": [(user, "i18", 900) for user in OLD_USERS[:4]], "test": [(user, "i19", 901) for user in OLD_USERS[:4]]}
    for part, orders in parts.items():
        rows = ["user_id:token\titem_id:token\ttimestamp:float", *(f"{user}\t{item}\t{time}" for user, item, time in orders)]
        (shop.folder / f"shop.{part}.inter").write_text("\n".join(rows) + "\n")
    keys = {"benchmark_filename": ["train", "valid", "test"], "reg_weight": 1.0}
    scores = []
    for again in (False, True):
        recommender = Recommender.load(train("EASE", shop, **keys, refit=again))
        found = recommender.recommend_for(["i18"], k=19).set_index("item")["score"]
        scores.append(found["i19"])
    assert scores[0] == 0 and found.idxmax() == "i19" and scores[1] > 0.3


def test_the_results_are_those_without_it(shop, capsys):
    keys = {"epochs": 3, "eval_args": BY_TIME, "cold_item_ratio": 0.2, "state": "INFO"}
    found = [run("CLIPRec", "shop", config_dict=quick(shop, **keys, refit=again)) for again in (False, True)]
    told = found[1].pop("refit")
    for result in found:
        del result["cost"], result["files"]
    assert found[0] == found[1] and told["interactions"] == 120 and 1 <= told["epochs"] <= 3
    shown = capsys.readouterr().out.splitlines()
    (line,) = [line for line in shown if line.startswith("refit")]
    assert (
        line.startswith(f"refit: epoch {told['epochs']} was the best") and "on all 120 interactions" in line and max(map(len, shown)) <= 100
    )
    assert shown[-1] == f"  refitted     {newest('CLIPRec')}"
    held = load_checkpoint(newest("CLIPRec"))
    assert held["epoch"] == told["epochs"] - 1 and dict(held["best_valid_result"]) == dict(found[1]["best_valid_result"])


def split(shop: Shop, model: str, **keys) -> tuple:
    config = MultiModalConfig(model, "shop", config_dict=quick(shop, **keys))
    dataset = create_dataset(config)
    data_preparation(config, dataset)
    return config, dataset


def test_a_schedule_is_the_one_of_the_run_up_to_the_best_epoch(shop):
    keys = {"epochs": 7, "learning_rate_schedule": "cosine", "learning_rate": 0.5, "train_batch_size": 120}
    file = train("VBPR", shop, **keys, stopping_step=8)
    save_checkpoint({**load_checkpoint(file), "epoch": 3}, file)
    assert refit(*split(shop, "VBPR", **keys), str(file), verbose=False)["epochs"] == 4
    steps = load_checkpoint(file)["steps"]["recommender"]
    assert steps == 4 and load_checkpoint(file)["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.25), "half of the cosine"


def test_a_fine_tuned_encoder_is_taken_as_it_is(shop):
    keys = {"encoder_training": "finetuned", "finetune_epochs": 1, "finetune_weights": {"interaction": 1}, "finetune_valid_ratio": 0}
    honest = load_checkpoint(train("CLIPRec", shop, **keys))
    refitted = load_checkpoint(train("CLIPRec", shop, **keys, refit=True))
    assert refitted["tuned_encoder"] == honest["tuned_encoder"] is not None
    assert len(list((shop.folder / ".recbole_mm" / "encoders").iterdir())) == 1


def test_an_interrupted_refit_leaves_the_run_s_own_checkpoint_to_resume_from(shop, monkeypatch):
    keys = {"epochs": 4, "eval_args": BY_TIME, "refit": True}
    straight = load_checkpoint(train("VBPR", shop, **keys))

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(refitting, "build_trainer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train("VBPR", shop, **keys)
    file = newest("VBPR")
    held = load_checkpoint(file)
    assert "refit" not in held and held["best_valid_result"] == straight["best_valid_result"]
    assert train("VBPR", shop, **keys, resume=str(file)) == file
    again = load_checkpoint(file)
    assert again["refit"] == straight["refit"]
    assert all(torch.equal(value, again["state_dict"][key]) for key, value in straight["state_dict"].items())
    with pytest.raises(InputError, match=r"was trained anew on all interactions \(refit: True\), and no run goes on from there"):
        train("VBPR", shop, **keys, resume=str(file))


def test_without_a_checkpoint_nothing_is_refitted(shop, caplog):
    result = run("BPR", "shop", config_dict=quick(shop, refit=True), saved=False)
    assert "refit" not in result and "refit: True makes the checkpoint, and this run keeps none" in caplog.text
    trial = objective_function({"model": "BPR", "dataset": "shop", **quick(shop, refit=True)})
    assert "refit" not in trial and "refit" not in load_checkpoint(newest("BPR"))


def test_test_interactions_are_still_those_of_the_split(shop):
    file = train("BPR", shop, refit=True, eval_args=BY_TIME)
    _, _, dataset, *loaders = load_data_and_model(str(file))
    assert [len(loader.dataset.inter_feat) for loader in loaders] == [120, 24, 24] and len(dataset.inter_feat) == 120
    assert Path(file).is_file()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"MODEL_TYPE": ModelType.DECISIONTREE, "model": "LightGBM", "train_stage": None}, "LightGBM grows trees"),
        ({"MODEL_TYPE": ModelType.SEQUENTIAL, "model": "S3Rec", "train_stage": "pretrain"}, "not for train_stage: pretrain"),
    ],
)
def test_models_without_a_best_epoch(settings, told):
    with pytest.raises(InputError, match=told):
        check_refit({**settings, "refit": True})
