"""Checkpoints are written whole, load without running code, and do not fit what they were not made for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.checkpoint import checkpoint_name, load_checkpoint, plain, save_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.model.cliprec import CLIPRec
from recbole_mm.quick_start import build_trainer, load_data_and_model, run
from recbole_mm.testing.planted import built, settings, write_planted
from tests.training.quick import QUICK

FROZEN = {**QUICK, "encoder_training": "pretrained"}


def test_a_kill_while_writing_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    file = tmp_path / "a.pth"
    save_checkpoint({"config": {}, "state_dict": {}, "n": 1}, file)

    def killed(state, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint({"n": 2}, file)
    assert load_checkpoint(file)["n"] == 1


def test_ours_loads_without_running_code(finished):
    with open(finished, "rb") as file:
        assert file.read(2) == b"PK"
    checkpoint = load_checkpoint(finished)
    assert isinstance(checkpoint["config"], dict) and checkpoint["config"]["model"] == "CLIPRec"
    assert checkpoint["epoch"] == 0 and checkpoint["best_valid_result"].keys() == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}


def test_what_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match="text.pth"):
        load_checkpoint(tmp_path / "text.pth")


def test_a_pickle_runs_only_where_the_user_names_it_as_theirs(shop, tmp_path):
    class Shout:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"config": Shout(), "state_dict": {}}, tmp_path / "evil.pth")
    config, model, *_ = built(shop, **FROZEN, epochs=1)
    with pytest.raises(InputError, match="not a checkpoint"):
        build_trainer(config, model).resume_checkpoint(str(tmp_path / "evil.pth"))
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    for name in ("tensor.pth", "weights.pth"):
        with pytest.raises(InputError, match=name):
            load_data_and_model(str(tmp_path / name))


def test_a_model_class_of_the_users_comes_back(shop):
    class Mine(CLIPRec):
        pass

    run(Mine, shop.name, config_dict=settings(shop, **FROZEN, epochs=1))
    (file,) = Path("saved").glob(f"Mine-{shop.name}-*.pth")
    with pytest.raises(InputError, match="model_class"):
        load_data_and_model(str(file))
    assert isinstance(load_data_and_model(str(file), model_class=Mine)[1], Mine)


def test_recboles_own_checkpoints_load_too(shop):
    run("Pop", shop.name, config_dict=settings(shop))
    (file,) = Path("saved").glob(f"Pop-{shop.name}-*.pth")
    _, model, *_ = load_data_and_model(str(file))
    assert model.item_cnt.sum() > 0


def test_a_checkpoint_of_another_encoder_or_catalogue_is_refused(shop):
    config, model, train, valid, _ = built(shop, **FROZEN, epochs=1)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    other_config, other, *_ = built(shop, **FROZEN, epochs=1, seed=99)
    with pytest.raises(InputError, match="another encoder"):
        build_trainer(other_config, other).resume_checkpoint(trainer.saved_model_file)
    smaller_config, smaller, *_ = built(shop, **FROZEN, epochs=1, embedding_size=8)
    with pytest.raises(InputError, match="does not fit"):
        build_trainer(smaller_config, smaller).resume_checkpoint(trainer.saved_model_file)


def test_a_checkpoint_is_not_resumed_on_other_data_or_with_another_encoder(shop, finished):
    keys = {**QUICK, "epochs": 2, "resume": str(finished)}
    with pytest.raises(InputError, match="other data"):
        run("CLIPRec", shop.name, config_dict=settings(shop, **keys, eval_args={"split": {"RS": [0.3, 0.4, 0.3]}}))
    with pytest.raises(InputError, match="another encoder"):
        run("CLIPRec", shop.name, config_dict=settings(shop, **keys, encoder="vlmo:tiny"))
    with pytest.raises(InputError, match="no checkpoint"):
        run("CLIPRec", shop.name, config_dict=settings(shop, **QUICK, resume="nowhere.pth"))


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_a_checkpoint_is_not_resumed_on_other_contents_of_the_same_items(tmp_path, training):
    folder = write_planted(tmp_path / "shop", n_users=16, n_items=24)
    pictures = sorted((folder / "images").iterdir())
    (folder / "others").mkdir()
    for picture, other in zip(pictures, reversed(pictures), strict=True):
        shutil.copy(picture, folder / "others" / other.name)
    keys = {**QUICK, "encoder_training": training, "missing": "zero"}
    run("CLIPRec", "shop", config_dict=settings(folder, epochs=1, **keys))
    (file,) = Path("saved").glob("*.pth")
    for others in ({"modalities": ["text"]}, {"image_dir": "others"}):
        with pytest.raises(InputError, match="modalities, pictures or texts"):
            run("CLIPRec", "shop", config_dict=settings(folder, epochs=2, resume=str(file), **{**keys, **others}))
    run("CLIPRec", "shop", config_dict=settings(folder, epochs=2, resume=str(file), **keys))
    assert load_checkpoint(file)["epoch"] == 1


def test_names_do_not_collide(tmp_path):
    config = {"checkpoint_dir": str(tmp_path), "model": "CLIPRec", "dataset": "demo"}
    names = set()
    for _ in range(3):
        name = checkpoint_name(config)
        open(name, "w").close()
        names.add(name)
    assert len(names) == 3


def test_plain_values():
    assert plain({"a": np.float64(1), "b": (1, [2]), 3: object}) == {"a": 1.0, "b": [1, [2]], "3": str(object)}
