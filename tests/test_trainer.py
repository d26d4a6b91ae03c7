"""The encoder is a parameter group of its own, warms up, waits its turn, and the run says what it cost."""

import re

import pytest
import torch

from recbole_mm.quick_start import build_trainer
from tests.planted import built


def trainer_of(folder, **keys):
    config, model, train, valid, test = built(folder, **keys)
    return build_trainer(config, model), model, train, valid, test


def test_parameter_groups(planted):
    trainer, model, *_ = trainer_of(planted, encoder_learning_rate=2e-4, encoder_weight_decay=0.3, learning_rate=0.01, weight_decay=0.0)
    recommender, matrices, vectors = trainer.optimizer.param_groups
    assert (recommender["lr"], matrices["lr"], vectors["lr"]) == (0.01, 2e-4, 2e-4)
    assert (recommender["weight_decay"], matrices["weight_decay"], vectors["weight_decay"]) == (0.0, 0.3, 0.0)
    assert all(p.ndim > 1 for p in matrices["params"]) and all(p.ndim <= 1 for p in vectors["params"])
    grouped = [id(p) for group in trainer.optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    frozen, model, *_ = trainer_of(planted, encoder_training="pretrained")
    assert len(frozen.optimizer.param_groups) == 1


def test_automatic_rates_depend_on_where_the_weights_come_from(planted, monkeypatch):
    assert trainer_of(planted)[0].optimizer.param_groups[1]["lr"] == 1e-3
    from recbole_mm.encoder.openclip import OpenClipEncoder

    made = OpenClipEncoder.__init__

    def pretrained(self, *args):
        made(self, *args)
        self.from_scratch = False

    monkeypatch.setattr(OpenClipEncoder, "__init__", pretrained)
    trainer = trainer_of(planted)[0]
    assert trainer.optimizer.param_groups[1]["lr"] == 1e-5 and trainer.freeze_epochs == 1


def test_warm_up_is_linear_in_the_encoders_steps(planted):
    trainer, model, train, *_ = trainer_of(planted, encoder_warmup_steps=4, encoder_learning_rate=1e-3, encoder_freeze_epochs=1)
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda *_: rates.append(trainer.optimizer.param_groups[1]["lr"]))
    steps = len(train)
    for epoch in range(3):
        trainer._train_epoch(train, epoch)
    live = rates[steps:]
    assert live[:5] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_freeze_epochs_train_the_head_on_a_table(planted):
    trainer, model, train, valid, _ = trainer_of(planted, encoder_freeze_epochs=2, epochs=3)
    start = [p.detach().clone() for p in model.item_features.encoder.parameters()]
    for epoch in range(2):
        trainer._train_epoch(train, epoch)
    assert model.item_features.cost.items == len(model.item_features), "one refresh serves all frozen epochs"
    assert all(torch.equal(a, b) for a, b in zip(start, model.item_features.encoder.parameters(), strict=True))
    trainer._train_epoch(train, 2)
    assert not all(torch.equal(a, b) for a, b in zip(start, model.item_features.encoder.parameters(), strict=True))


def test_a_rate_of_zero_trains_as_a_frozen_encoder_does(planted):
    keys = {"contrastive_weight": 0.0, "encoder_learning_rate": 0.0, "clip_grad_norm": None, "epochs": 2}
    live, model, train, valid, _ = trainer_of(planted, **keys)
    live.fit(train, valid, verbose=False, saved=False)
    frozen, other, train, valid, _ = trainer_of(planted, encoder_training="pretrained", **keys)
    frozen.fit(train, valid, verbose=False, saved=False)
    for name, value in other.named_parameters():
        torch.testing.assert_close(value, dict(model.named_parameters())[name], rtol=1e-3, atol=1e-4)


def test_the_cost_line(planted):
    trainer, model, train, valid, test = trainer_of(planted, epochs=1)
    trainer.fit(train, valid, verbose=False, saved=False)
    pattern = r"cost: encoding [\d.]+ s \((\d+) items, \d+ items/s\), training [\d.]+ s, evaluating [\d.]+ s"
    (items,) = re.fullmatch(pattern, trainer.cost_line()).groups()
    distinct = sum(len(batch["item_id"].unique()) for batch in train)
    assert int(items) >= len(model.item_features) + distinct * 0.5


def test_mixed_precision_with_frozen_epochs(planted):
    trainer, model, train, valid, test = trainer_of(planted, enable_amp=True, encoder_freeze_epochs=1, epochs=2)
    trainer.fit(train, valid, verbose=False, saved=False)
    assert trainer.evaluate(test, load_best_model=False)


@pytest.mark.parametrize("eval_args", [{"mode": "uni20"}, {"split": {"LS": "valid_and_test"}}, {"split": {"RS": [0.9, 0, 0.1]}}])
def test_recboles_other_ways_to_evaluate(planted, eval_args):
    trainer, model, train, valid, test = trainer_of(planted, eval_args=eval_args, epochs=1)
    trainer.fit(train, valid, verbose=False, saved=True)
    assert trainer.evaluate(test)["recall@10"] >= 0
