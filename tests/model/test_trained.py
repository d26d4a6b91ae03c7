"""Features that train along."""

import pytest
import torch

from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built

MODELS = ["BM3", "FREEDOM", "MGCN"]


@pytest.mark.parametrize("model_name", MODELS)
def test_a_frozen_encoders_features_train_where_asked_and_start_at_its_values(planted_missing, model_name):
    """The first loss is that of the features as they are; then they move, and are in the checkpoint."""
    losses = []
    for legacy in (False, True):
        keys = {"encoder_training": "pretrained", "legacy_trained_features": legacy, "epochs": 1}
        config, model, train, *_ = built(planted_missing, model_name, **keys)
        model.start_epoch(0)
        torch.manual_seed(0)
        losses.append(sum(model.calculate_loss(next(iter(train)))).item())
        assert (model.trained is not None) == legacy
    assert losses[0] == losses[1]
    features = model.item_features
    start = {m: rows.clone() for m, rows in features.table().items()}
    build_trainer(config, model)._train_epoch(train, 0)
    assert all(not torch.equal(model.trained.table()[m], rows) for m, rows in start.items())
    assert {f"trained.rows.{m}" for m in start} <= model.trained_state().keys()
    for m, rows in start.items():
        present = features.present(m)
        assert torch.equal(features.table()[m][present], rows[present]), "what the encoder says stays"


@pytest.mark.parametrize("model_name", MODELS)
def test_a_live_encoder_trains_in_their_place(planted, model_name, caplog):
    caplog.set_level("INFO", "recbole_mm")
    model = built(planted, model_name, legacy_trained_features=True)[1]
    assert model.trained is None and not any("trained" in name for name in model.state_dict())
    assert "legacy_trained_features has no effect" in caplog.text
