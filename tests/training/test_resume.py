"""A run that was stopped or killed ends as one that was not; and a resumed run says what is new."""

import itertools
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from recbole_mm.checkpoint import load_checkpoint, save_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings
from recbole_mm.training import resumable_trainer
from recbole_mm.training.run_state import changed_settings
from recbole_mm.training.trainer import MultiModalTrainer
from tests.processes import forked
from tests.training.quick import QUICK


def trainer_of(folder: Path, **keys) -> tuple:
    """Trainer, model, training and validation data of a run that has not begun."""
    config, model, train, valid, _ = built(folder, **{**QUICK, **keys})
    return build_trainer(config, model), model, train, valid


def test_resuming_a_finished_run_changes_nothing(shop, finished):
    trainer, _, train, valid = trainer_of(shop, epochs=1)
    trainer.resume_checkpoint(str(finished))
    held = load_checkpoint(finished)
    assert trainer.fit(train, valid, verbose=False) == (held["best_valid_score"], held["best_valid_result"])
    assert load_checkpoint(finished)["epoch"] == 0


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("CLIPRec", {"image_augmentation": "light", "token_dropout": 0.2}),
        ("VBPR", {"encoder_training": "pretrained", "eval_step": 2}),
        ("LATTICE", {"eval_step": 2, "refresh_every": 3}),
    ],
    ids=["CLIPRec", "VBPR", "LATTICE"],
)
def test_a_killed_run_goes_on_from_its_last_epoch_not_its_best(shop, monkeypatch, model, keys):
    """The first validation is the best but for that of epoch 5. However often the last epoch is kept, the numbers are the same."""
    keys = {**QUICK, "epochs": 6, "stopping_step": 9, "metric_decimal_place": 10, "topk": [5], "valid_metric": "Recall@5", **keys}
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
        run(model, shop.name, config_dict=settings(shop, **keys))
    (file,) = Path("saved").glob("*.pth")
    best, last = load_checkpoint(file)["epoch"], load_checkpoint(f"{file}.last")["epoch"]
    assert best < last and last in (3, 4)
    trained, killed_at[:] = [], []
    resumed = run(model, shop.name, config_dict=settings(shop, resume=str(file), **keys))
    assert trained == list(range(last + 1, 6)) and not Path(f"{file}.last").exists()
    monkeypatch.setattr(resumable_trainer, "SAVE_SECONDS", 60.0)
    straight = run(model, shop.name, config_dict=settings(shop, checkpoint_dir="straight", **keys))
    assert not list(Path("straight").glob("*.last"))
    assert resumed["test_result"] == straight["test_result"] and resumed["best_valid_result"] == straight["best_valid_result"]
    assert resumed["best_valid_score"] == straight["best_valid_score"] == 4


def dies_at(moment: int) -> None:
    """Kills this process where training has come so far from now: steps of the optimiser, evaluations and the writing of checkpoints
    begin and end. Two steps, an evaluation and a checkpoint are eight such moments per epoch."""
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


def test_killed_in_an_epoch_in_an_evaluation_and_after_saving_it_ends_as_a_straight_run(shop, monkeypatch):
    """Every validation is as good as the one before, so that every epoch is saved."""
    valid_epoch = MultiModalTrainer._valid_epoch
    monkeypatch.setattr(MultiModalTrainer, "_valid_epoch", lambda self, *given, **more: (1.0, valid_epoch(self, *given, **more)[1]))
    keys = {**QUICK, "epochs": 4, "learning_rate_schedule": "cosine", "accumulation_steps": 2, "metric_decimal_place": 10}
    straight = results_of(settings(shop, checkpoint_dir="straight", **keys))
    keys, epochs = settings(shop, checkpoint_dir="killed", **keys), []

    def work(moment: int) -> None:
        dies_at(moment)
        run("CLIPRec", shop.name, config_dict=keys)

    for moment in (8 + 2, 6, 8):
        assert os.waitpid(forked(partial(work, moment)), 0)[1] == signal.SIGKILL
        (file,) = Path("killed").glob("*.pth")
        keys["resume"] = str(file)
        epochs.append(load_checkpoint(file)["epoch"])
    assert epochs == [0, 0, 1]
    assert results_of(keys) == straight


def results_of(keys: dict) -> dict:
    """A run's result without what it cost and where its files are."""
    result = run("CLIPRec", "shop", config_dict=keys)
    return {key: value for key, value in result.items() if key not in ("cost", "files")}


def test_refreshing_seldom_and_never_evaluating_resumes_exactly(shop):
    keys = {"model": "MGCN", "refresh_every": 2, "eval_step": 0}
    states = []
    for parts in ((2,), (1, 2)):
        file = None
        for epochs in parts:
            trainer, model, train, _ = trainer_of(shop, **keys, epochs=epochs)
            if file:
                trainer.resume_checkpoint(file)
            trainer.fit(train, None, verbose=False)
            file = trainer.saved_model_file
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_run_that_scales_its_loss_resumes_one_that_did_not(shop, finished):
    """RecBole turns enable_scaler off on a CPU, so one configuration gives both."""
    trainer, *_ = trainer_of(shop, epochs=1)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer.resume_checkpoint(str(finished))
    assert trainer.start_epoch == 1 and trainer.scaler.get_scale() == 8.0


def test_a_resumed_run_has_the_rates_it_is_given(shop, finished):
    trainer, *_ = trainer_of(shop, epochs=2, encoder_learning_rate=0.5, encoder_weight_decay=0.2)
    trainer.resume_checkpoint(str(finished))
    assert {group.get("peak_lr") for group in trainer.optimizer.param_groups} == {None, 0.5}
    assert trainer.optimizer.param_groups[1]["decay"] == 0.2
    with pytest.raises(InputError, match="learner"):
        trainer_of(shop, epochs=2, learner="sgd")[0].resume_checkpoint(str(finished))


def test_recboles_models_take_the_resume_key_too(shop, caplog):
    run("BPR", shop.name, config_dict=settings(shop, epochs=2, state="INFO"))
    (file,) = Path("saved").glob("BPR-*.pth")
    with caplog.at_level("INFO"):
        run("BPR", shop.name, config_dict=settings(shop, epochs=3, resume=str(file), state="INFO"))
    assert "Resume training from epoch" in caplog.text


def test_a_resumed_run_says_which_settings_are_new(shop, finished, caplog):
    keys = {**QUICK, "resume": str(finished)}
    run("CLIPRec", shop.name, config_dict=settings(shop, **keys, epochs=2, stopping_step=3))
    assert "from here on" not in caplog.text
    run("CLIPRec", shop.name, config_dict=settings(shop, **{**keys, "train_batch_size": 32}, epochs=3, learning_rate=0.5))
    assert "from here on with train_batch_size: 32 (until now 16), learning_rate: 0.5 (until now" in caplog.text


def test_what_counts_as_another_setting(shop, finished):
    trainer, *_ = trainer_of(shop, epochs=2)
    checkpoint = load_checkpoint(finished)
    assert checkpoint["processes"] == 1 and changed_settings(checkpoint, trainer) == []
    assert changed_settings(checkpoint | {"processes": 2}, trainer) == ["train_batch_size: 16 (until now 32)"]
    trainer.config["learning_rate_schedule"] = "cosine"
    found = set(changed_settings(checkpoint, trainer))
    assert found == {"epochs: 2 (until now 1)", "learning_rate_schedule: cosine (until now constant)"}, "epochs decide a cosine's rates"


def test_checkpoints_that_do_not_say_what_the_items_had_or_were_never_validated(shop):
    trainer, _, train, _ = trainer_of(shop, epochs=1, eval_step=0)
    trainer.fit(train, None, verbose=False)
    file = Path(trainer.saved_model_file)
    older = {key: value for key, value in load_checkpoint(file).items() if key not in ("contents_fingerprint", "processes")}
    save_checkpoint(older, file)
    keys = {**QUICK, "epochs": 2, "eval_step": 1, "valid_metric": "NDCG@5", "resume": file}
    result = run("CLIPRec", shop.name, config_dict=settings(shop, **keys))
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@5"] > 0


def test_a_resumed_run_is_judged_by_its_own_metric(shop, finished):
    held = load_checkpoint(finished)
    trainer, *_ = trainer_of(shop, epochs=2, valid_metric="NDCG@5")
    trainer.resume_checkpoint(str(finished))
    assert trainer.best_valid_score == held["best_valid_result"]["ndcg@5"] < held["best_valid_score"]
    trainer, *_ = trainer_of(shop, epochs=2, metrics=["MRR", "Recall"], valid_metric="MRR@5")
    with pytest.raises(InputError, match="validated by Recall@10, and does not hold MRR@5"):
        trainer.resume_checkpoint(str(finished))
