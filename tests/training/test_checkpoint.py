"""Checkpoints are written whole, load without running code, and do not fit what they were not made for."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.checkpoint import checkpoint_name, load_checkpoint, plain, save_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.model.cliprec import CLIPRec
from recbole_mm.quick_start import build_trainer, load_data_and_model, run
from recbole_mm.training import resumable_trainer
from recbole_mm.training.run_state import changed_settings
from recbole_mm.training.trainer import MultiModalTrainer
from tests.feature.test_extract import forked
from tests.planted import built, settings, write_planted

ROOT = Path(__file__).resolve().parents[2]


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


def test_ours_loads_without_running_code(planted):
    config, model, train, valid, _ = built(planted, epochs=1)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    with open(trainer.saved_model_file, "rb") as file:
        assert file.read(2) == b"PK"
    checkpoint = load_checkpoint(trainer.saved_model_file)
    assert isinstance(checkpoint["config"], dict) and checkpoint["config"]["model"] == "CLIPRec"
    assert checkpoint["epoch"] == 0 and checkpoint["best_valid_result"].keys() == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}


def test_what_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match="text.pth"):
        load_checkpoint(tmp_path / "text.pth")


def test_a_pickle_runs_only_where_the_user_names_it_as_theirs(planted, tmp_path):
    class Shout:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"config": Shout(), "state_dict": {}}, tmp_path / "evil.pth")
    config, model, *_ = built(planted, epochs=1)
    with pytest.raises(InputError, match="not a checkpoint"):
        build_trainer(config, model).resume_checkpoint(str(tmp_path / "evil.pth"))
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    for name in ("tensor.pth", "weights.pth"):
        with pytest.raises(InputError, match=name):
            load_data_and_model(str(tmp_path / name))


def test_a_model_class_of_the_users_comes_back(planted):
    class Mine(CLIPRec):
        pass

    run(Mine, planted.name, config_dict=settings(planted, epochs=1))
    (file,) = Path("saved").glob("Mine-planted-*.pth")
    with pytest.raises(InputError, match="model_class"):
        load_data_and_model(str(file))
    assert isinstance(load_data_and_model(str(file), model_class=Mine)[1], Mine)


def test_resuming_a_finished_run_changes_nothing(planted):
    config, model, train, valid, _ = built(planted, epochs=1)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False)
    again = build_trainer(config, model)
    again.resume_checkpoint(trainer.saved_model_file)
    score, result = again.fit(train, valid, verbose=False)
    assert (score, result) == (trainer.best_valid_score, dict(trainer.best_valid_result))
    assert load_checkpoint(trainer.saved_model_file)["epoch"] == 0


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("CLIPRec", {}),
        ("VBPR", {"encoder_training": "pretrained", "eval_step": 2}),
        ("LATTICE", {"eval_step": 2, "refresh_every": 3}),
    ],
    ids=["CLIPRec", "VBPR", "LATTICE"],
)
def test_a_killed_run_goes_on_from_its_last_epoch_not_its_best(planted, monkeypatch, model, keys):
    """The first validation is the best but for that of epoch 5. However often the last epoch is kept, the numbers are the same."""
    keys = {"epochs": 6, "stopping_step": 9, "metric_decimal_place": 10, "topk": [5], "valid_metric": "Recall@5", **keys}
    valid_epoch, train_epoch, trained, killed_at = MultiModalTrainer._valid_epoch, MultiModalTrainer._train_epoch, [], [5]

    def judged(self, *given, **more):
        return {5: 4.0, keys.get("eval_step", 1) - 1: 3.0}.get(trained[-1], 1.0), valid_epoch(self, *given, **more)[1]

    def train(self, train_data, epoch, *given, **more):
        trained.append(epoch)
        self._save_last(epoch - 1)
        if epoch in killed_at:
            raise KeyboardInterrupt
        return train_epoch(self, train_data, epoch, *given, **more)

    monkeypatch.setattr(MultiModalTrainer, "_valid_epoch", judged)
    monkeypatch.setattr(MultiModalTrainer, "_train_epoch", train)
    monkeypatch.setattr(resumable_trainer, "SAVE_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        run(model, planted.name, config_dict=settings(planted, **keys))
    (file,) = Path("saved").glob("*.pth")
    best, last = load_checkpoint(file)["epoch"], load_checkpoint(f"{file}.last")["epoch"]
    assert best < last and last in (3, 4)
    trained, killed_at[:] = [], []
    resumed = run(model, planted.name, config_dict=settings(planted, resume=str(file), **keys))
    assert trained == list(range(last + 1, 6)) and not Path(f"{file}.last").exists()
    monkeypatch.setattr(resumable_trainer, "SAVE_SECONDS", 60.0)
    straight = run(model, planted.name, config_dict=settings(planted, checkpoint_dir="straight", **keys))
    assert not list(Path("straight").glob("*.last"))
    assert resumed["test_result"] == straight["test_result"] and resumed["best_valid_result"] == straight["best_valid_result"]
    assert resumed["best_valid_score"] == straight["best_valid_score"] == 4


def test_a_run_that_scales_its_loss_resumes_one_that_did_not(planted):
    """RecBole turns enable_scaler off on a CPU, so one configuration gives both."""
    config, model, train, valid, _ = built(planted, epochs=1)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False)
    scaling = build_trainer(config, model)
    scaling.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaling.resume_checkpoint(trainer.saved_model_file)
    assert scaling.start_epoch == 1 and scaling.scaler.get_scale() == 8.0


def test_recboles_own_checkpoints_load_too(planted):
    run("Pop", planted.name, config_dict=settings(planted))
    (file,) = Path("saved").glob("Pop-planted-*.pth")
    _, model, *_ = load_data_and_model(str(file))
    assert model.item_cnt.sum() > 0


def test_a_checkpoint_of_another_encoder_or_catalogue_is_refused(planted, planted_missing):
    config, model, train, valid, _ = built(planted, epochs=1, encoder_training="pretrained")
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    other_config, other, *_ = built(planted, epochs=1, encoder_training="pretrained", seed=99)
    with pytest.raises(InputError, match="another encoder"):
        build_trainer(other_config, other).resume_checkpoint(trainer.saved_model_file)
    smaller_config, smaller, *_ = built(planted, epochs=1, encoder_training="pretrained", embedding_size=8)
    with pytest.raises(InputError, match="does not fit"):
        build_trainer(smaller_config, smaller).resume_checkpoint(trainer.saved_model_file)


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


def test_a_run_killed_while_training_leaves_a_whole_checkpoint_and_starts_again(planted, tmp_path):
    arguments = [f"--{key}={value}".replace(" ", "") for key, value in settings(planted, epochs=500, state="INFO").items()]
    command = [sys.executable, str(ROOT / "run_recbole_mm.py"), "--model=CLIPRec", "--dataset=planted", *arguments]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("saved/*.pth")) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait()
    (checkpoint,) = tmp_path.glob("saved/*.pth")
    config, model, train, valid, _ = built(planted, epochs=load_checkpoint(checkpoint)["epoch"] + 2)
    trainer = build_trainer(config, model)
    trainer.resume_checkpoint(str(checkpoint))
    trainer.fit(train, valid, verbose=False)
    assert run("CLIPRec", "planted", config_dict=settings(planted, epochs=1))["test_result"]


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_the_resume_key_goes_on_where_a_run_stopped(planted, training):
    keys = {"stopping_step": 50, "encoder_training": training}
    straight = results_of(settings(planted, epochs=4, checkpoint_dir="straight", **keys))
    run("CLIPRec", planted.name, config_dict=settings(planted, epochs=2, checkpoint_dir="halved", **keys))
    (file,) = Path("halved").glob("*.pth")
    assert results_of(settings(planted, epochs=4, resume=str(file), **keys)) == straight


def results_of(keys: dict) -> dict:
    """A run's result without what it cost."""
    result = run("CLIPRec", "planted", config_dict=keys)
    del result["cost"]
    return result


def dies_at(moment: int) -> None:
    """Kills this process where training has come so far from now: steps of the optimiser, evaluations and the writing of checkpoints
    begin and end, ten such moments an epoch."""
    moments = itertools.count(1)

    def pass_by() -> None:
        if next(moments) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(work):
        def watching(*args, **kwargs):
            pass_by()
            result = work(*args, **kwargs)
            pass_by()
            return result

        return watching

    for owner, name in ((MultiModalTrainer, "_step"), (MultiModalTrainer, "evaluate"), (resumable_trainer, "save_checkpoint")):
        setattr(owner, name, watched(getattr(owner, name)))


def test_killed_ten_times_it_ends_as_a_straight_run(planted):
    """Every time in training, and after the first epochs on the way from a checkpoint."""
    keys = {"epochs": 8, "stopping_step": 50, "modalities": ["image"], "learning_rate_schedule": "cosine", "accumulation_steps": 2}
    straight, moments = results_of(settings(planted, checkpoint_dir="straight", **keys)), random.Random(5)
    keys, epochs = settings(planted, checkpoint_dir="killed", **keys), []

    def work() -> None:
        dies_at(moment)
        run("CLIPRec", planted.name, config_dict=keys)

    for _ in range(10):
        moment = moments.randint(1, 19)
        assert os.waitpid(forked(work), 0)[1] == signal.SIGKILL
        for file in Path("killed").glob("*.pth"):
            keys["resume"] = str(file)
            epochs.append(load_checkpoint(file)["epoch"])
    assert len(epochs) > 5 and len(set(epochs)) > 3 and epochs == sorted(epochs), "most went on from a checkpoint, and got further"
    assert results_of(keys) == straight


def test_refreshing_seldom_and_never_evaluating_resumes_exactly(planted):
    keys = {"model": "MGCN", "modalities": ["image"], "refresh_every": 2, "eval_step": 0, "train_batch_size": 128}
    states = []
    for parts in ((2,), (1, 2)):
        file = None
        for epochs in parts:
            config, model, train, *_ = built(planted, **keys, epochs=epochs)
            trainer = build_trainer(config, model)
            if file:
                trainer.resume_checkpoint(file)
            trainer.fit(train, None, verbose=False)
            file = trainer.saved_model_file
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_resumed_run_has_the_rates_it_is_given(planted):
    config, model, train, *_ = built(planted, epochs=1)
    trainer = build_trainer(config, model)
    trainer.fit(train, None, verbose=False)
    config, model, *_ = built(planted, epochs=2, encoder_learning_rate=0.5, encoder_weight_decay=0.2)
    other = build_trainer(config, model)
    other.resume_checkpoint(trainer.saved_model_file)
    assert {group.get("peak_lr") for group in other.optimizer.param_groups} == {None, 0.5}
    assert other.optimizer.param_groups[1]["decay"] == 0.2
    config, model, *_ = built(planted, epochs=2, learner="sgd")
    with pytest.raises(InputError, match="learner"):
        build_trainer(config, model).resume_checkpoint(trainer.saved_model_file)


def test_recboles_models_take_the_resume_key_too(planted, caplog):
    run("BPR", planted.name, config_dict=settings(planted, epochs=2, state="INFO"))
    (file,) = Path("saved").glob("BPR-*.pth")
    with caplog.at_level("INFO"):
        run("BPR", planted.name, config_dict=settings(planted, epochs=3, resume=str(file), state="INFO"))
    assert "Resume training from epoch" in caplog.text


def test_a_checkpoint_is_not_resumed_on_other_data_or_with_another_encoder(planted):
    run("CLIPRec", planted.name, config_dict=settings(planted, epochs=1))
    (file,) = Path("saved").glob("*.pth")
    keys = {"epochs": 2, "resume": str(file)}
    with pytest.raises(InputError, match="other data"):
        run("CLIPRec", planted.name, config_dict=settings(planted, **keys, eval_args={"split": {"RS": [0.7, 0.2, 0.1]}}))
    with pytest.raises(InputError, match="another encoder"):
        run("CLIPRec", planted.name, config_dict=settings(planted, **keys, seed=7))
    with pytest.raises(InputError, match="no checkpoint"):
        run("CLIPRec", planted.name, config_dict=settings(planted, resume="nowhere.pth"))


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_a_checkpoint_is_not_resumed_on_other_contents_of_the_same_items(tmp_path, training):
    folder = write_planted(tmp_path / "shop")
    pictures = sorted((folder / "images").iterdir())
    (folder / "others").mkdir()
    for picture, other in zip(pictures, reversed(pictures), strict=True):
        shutil.copy(picture, folder / "others" / other.name)
    keys = {"encoder_training": training, "missing": "zero", "modalities": ["image"]}
    run("CLIPRec", "shop", config_dict=settings(folder, epochs=1, **keys))
    (file,) = Path("saved").glob("*.pth")
    for others in ({"modalities": ["text"]}, {"image_dir": "others"}):
        with pytest.raises(InputError, match="modalities, pictures or texts"):
            run("CLIPRec", "shop", config_dict=settings(folder, epochs=2, resume=str(file), **{**keys, **others}))
    run("CLIPRec", "shop", config_dict=settings(folder, epochs=2, resume=str(file), **keys))


def test_a_resumed_run_says_which_settings_are_new(planted, caplog):
    run("CLIPRec", planted.name, config_dict=settings(planted, epochs=1))
    (file,) = Path("saved").glob("*.pth")
    run("CLIPRec", planted.name, config_dict=settings(planted, epochs=2, resume=str(file), stopping_step=3))
    assert "from here on" not in caplog.text
    run("CLIPRec", planted.name, config_dict=settings(planted, epochs=3, resume=str(file), learning_rate=0.5, train_batch_size=32))
    assert "from here on with train_batch_size: 32 (until now 64), learning_rate: 0.5 (until now" in caplog.text


def test_what_counts_as_another_setting(planted):
    config, model, train, *_ = built(planted, epochs=1, train_batch_size=64, learning_rate_schedule="cosine")
    trainer = build_trainer(config, model)
    trainer.fit(train, None, verbose=False)
    checkpoint = load_checkpoint(trainer.saved_model_file)
    assert checkpoint["processes"] == 1 and changed_settings(checkpoint, trainer) == []
    assert changed_settings(checkpoint | {"processes": 2}, trainer) == ["train_batch_size: 64 (until now 128)"]
    trainer.config["epochs"] = 2
    assert changed_settings(checkpoint, trainer) == ["epochs: 2 (until now 1)"], "which decides a cosine's rates"
    trainer.config["learning_rate_schedule"] = "constant"
    assert changed_settings(checkpoint, trainer) == ["learning_rate_schedule: constant (until now cosine)"]


def test_checkpoints_that_do_not_say_what_the_items_had_or_were_never_validated(planted):
    config, model, train, *_ = built(planted, epochs=1, eval_step=0)
    trainer = build_trainer(config, model)
    trainer.fit(train, None, verbose=False)
    file = Path(trainer.saved_model_file)
    older = {key: value for key, value in load_checkpoint(file).items() if key not in ("contents_fingerprint", "processes")}
    save_checkpoint(older, file)
    keys = {"epochs": 2, "eval_step": 1, "valid_metric": "NDCG@5", "resume": file}
    result = run("CLIPRec", planted.name, config_dict=settings(planted, **keys))
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@5"] > 0


def test_a_resumed_run_is_judged_by_its_own_metric(planted):
    keys = {"epochs": 2, "stopping_step": 1}
    run("CLIPRec", planted.name, config_dict=settings(planted, **keys))
    (file,) = Path("saved").glob("*.pth")
    held = load_checkpoint(file)
    config, model, train, valid, _ = built(planted, epochs=2, valid_metric="NDCG@5")
    trainer = build_trainer(config, model)
    trainer.resume_checkpoint(str(file))
    assert trainer.best_valid_score == held["best_valid_result"]["ndcg@5"] < held["best_valid_score"]
    config, model, *_ = built(planted, epochs=2, metrics=["MRR", "Recall"], valid_metric="MRR@5")
    with pytest.raises(InputError, match="validated by Recall@10, and does not hold MRR@5"):
        build_trainer(config, model).resume_checkpoint(str(file))
