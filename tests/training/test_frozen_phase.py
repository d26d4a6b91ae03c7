"""The recommender trains over a frozen encoder until that brings nothing more, and the encoder then trains over the best recommender."""

from contextlib import suppress

import pytest
import torch

from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built
from recbole_mm.training.refit import refit
from recbole_mm.training.trainer import MultiModalTrainer
from tests.training.quick import QUICK, count_as_pretrained

SCORES = [0.1, 0.3, 0.2, 0.2, 0.25, 0.4, 0.3, 0.3, 0.5, 0.5]
KEYS = {**QUICK, "epochs": 9, "stopping_step": 1, "topk": [5], "valid_metric": "Recall@5"}


@pytest.fixture(autouse=True)
def pretrained(monkeypatch, small_encoders):
    """Tiny encoders that count as pretrained, and validations whose scores are known."""

    def validate(trainer, *args, **kwargs):
        return {"recall@5": SCORES[trainer._epoch]}

    count_as_pretrained(monkeypatch)
    monkeypatch.setattr(MultiModalTrainer, "evaluate", validate)


def trained(shop, monkeypatch, saved: bool = True, resume: str | None = None, until: int = 99, **keys):
    """A trainer, and the users' embeddings and the encoder's weights before each epoch."""
    config, model, train, valid, _ = built(shop, **{**KEYS, **keys})
    trainer, seen = build_trainer(config, model), {}
    start_epoch = trainer._start_epoch

    def noted(epoch):
        start_epoch(epoch)
        encoder = torch.cat([p.detach().flatten() for p in model.item_features.encoder.parameters()])
        seen[epoch] = (model.user_content.weight.detach().clone(), encoder)
        if epoch == until:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_start_epoch", noted)
    if resume:
        trainer.resume_checkpoint(resume)
    with suppress(KeyboardInterrupt):
        trainer.fit(train, valid, verbose=False, saved=saved)
    return trainer, model, seen


@pytest.mark.parametrize("saved", [True, False])
def test_the_encoder_trains_from_the_best_epoch_over_the_frozen_one(shop, monkeypatch, saved):
    trainer, _, seen = trained(shop, monkeypatch, saved)
    assert trainer.frozen.state() == {"epochs": 4, "kept": 2}
    assert torch.equal(seen[4][0], seen[2][0]), "epochs 3 and 4 brought nothing"
    assert torch.equal(seen[4][1], seen[0][1]) and not torch.equal(seen[5][1], seen[4][1])
    assert max(seen) == 7 and trainer.best_valid_score == 0.4, "epochs 7 and 8 were no better than epoch 6"


def test_half_of_the_epochs_are_the_encoders(shop, monkeypatch):
    trainer, _, seen = trained(shop, monkeypatch, stopping_step=5)
    assert trainer.frozen.state() == {"epochs": 4, "kept": 2} and torch.equal(seen[4][0], seen[2][0])
    trainer, _, seen = trained(shop, monkeypatch, epochs=4)
    assert trainer.frozen.state() == {"epochs": 2, "kept": 2}
    assert not torch.equal(seen[3][1], seen[2][1])


def test_a_run_that_was_stopped_in_either_phase_ends_as_one_that_was_not(shop, monkeypatch, tmp_path):
    _, straight, _ = trained(shop, monkeypatch, checkpoint_dir=str(tmp_path / "straight"))
    for phase, until in (("while frozen", 3), ("while the encoder trains", 5)):
        keys = {"checkpoint_dir": str(tmp_path / phase)}
        stopped, *_ = trained(shop, monkeypatch, until=until, **keys)
        resumed, model, _ = trained(shop, monkeypatch, resume=stopped.saved_model_file, **keys)
        assert resumed.frozen.state() == {"epochs": 4, "kept": 2}, phase
        for name, value in straight.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), f"{phase}: {name}"


def test_a_refit_leaves_out_the_epochs_that_the_run_went_back_from(shop, monkeypatch):
    config, model, train, valid, _ = built(shop, **KEYS)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False)
    live, start_epoch = [], MultiModalTrainer._start_epoch

    def noted(trainer, epoch):
        start_epoch(trainer, epoch)
        live.append(trainer.model.item_features.live)

    monkeypatch.setattr(MultiModalTrainer, "_start_epoch", noted)
    told = refit(config, train.dataset, trainer.saved_model_file, verbose=False)
    assert told["epochs"] == 4 and live == [False, False, True, True]
