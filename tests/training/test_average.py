"""While a pretrained encoder trains, what is validated and kept is a moving average of the weights."""

import pytest
import torch

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built
from recbole_mm.training.average import WeightAverage
from recbole_mm.training.trainer import MultiModalTrainer
from tests.training.quick import QUICK, count_as_pretrained

KEYS = {**QUICK, "weight_average": 0.9, "topk": [5], "valid_metric": "Recall@5", "stopping_step": 9}


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_average_is_that_of_all_weights_at_first_and_then_forgets():
    model = torch.nn.Linear(1, 1, bias=False)
    average, seen = WeightAverage(model, 0.75), []
    for step in range(8):
        torch.nn.init.constant_(model.weight, float(step))
        average.update() if step else average.start()
        with average.used():
            seen.append(model.weight.item())
        assert model.weight.item() == step
    slow = [0.0, 0.5, 1.0, 1.5]
    for step in range(4, 8):
        slow.append(0.75 * slow[-1] + 0.25 * step)
    assert seen == pytest.approx(slow)
    average.finish()
    assert model.weight.item() == pytest.approx(slow[-1]) and average.steps == 0


def test_it_is_for_pretrained_encoders_that_train(shop, monkeypatch):
    def decay_of(**keys) -> float:
        return build_trainer(*built(shop, **{**KEYS, "weight_average": "auto", **keys})[:2]).average.decay

    assert decay_of() == 0 == decay_of(encoder_training="pretrained", weight_average=0.9)

    count_as_pretrained(monkeypatch)
    assert decay_of() == 0.98


@pytest.mark.parametrize("model_name", ["CLIPRec", "LATTICE"])
def test_the_average_is_validated_and_kept_and_a_stopped_run_goes_on_from_the_weights(shop, monkeypatch, tmp_path, model_name):
    """Of two epochs each, as one run and as two."""
    kept = []

    def noted(trainer, *args, **kwargs):
        kept.append(weights_of(trainer.model))
        return {"recall@5": float(len(kept))}

    monkeypatch.setattr(MultiModalTrainer, "evaluate", noted)
    ends = []
    for name, epochs in (("straight", [2]), ("stopped", [1, 2])):
        file = None
        for until in epochs:
            config, model, train, valid, _ = built(shop, model_name, **{**KEYS, "epochs": until, "checkpoint_dir": str(tmp_path / name)})
            trainer = build_trainer(config, model)
            if file:
                trainer.resume_checkpoint(file)
            trainer.fit(train, valid, verbose=False)
            file = trainer.saved_model_file
        held = load_checkpoint(file)
        for key, value in held["state_dict"].items():
            if key in kept[-1]:
                assert torch.equal(value, kept[-1][key]), "what was validated is kept"
        assert any(not torch.equal(held["unaveraged"]["weights"][key], held["state_dict"][key]) for key in held["unaveraged"]["weights"])
        ends.append(held)
    for key, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][key]), key
