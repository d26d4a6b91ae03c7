"""What every recommender of this package must do, under every paradigm and any set of modalities."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.model import OUR_MODELS
from recbole_mm.quick_start import build_trainer, load_data_and_model, run
from tests.planted import built, settings

ROOT = Path(__file__).resolve().parents[2]
MODELS = sorted(OUR_MODELS)
PARADIGMS = ["pretrained", "end2end"]
MODALITIES = [["image"], ["text"], ["image", "text"]]
QUICK = {"epochs": 12, "encoder_learning_rate": 3e-3, "learning_rate": 0.02, "encoder_warmup_steps": 2, "stopping_step": 20}

pytestmark = pytest.mark.parametrize("model_name", MODELS)


def full_sort_scores(model, n_users: int) -> torch.Tensor:
    """(n_users, n_items) of users 1, 2, ..., padding left out."""
    model.eval()
    with torch.no_grad():
        return model.full_sort_predict({"user_id": torch.arange(1, n_users)}).view(n_users - 1, -1)[:, 1:]


@pytest.mark.parametrize("training", PARADIGMS)
@pytest.mark.parametrize("modalities", MODALITIES, ids="+".join)
def test_trains_scores_and_sends_gradients_where_it_says(model_name, training, modalities, planted):
    config, model, train, valid, _ = built(planted, model_name, encoder_training=training, modalities=modalities)
    batch = next(iter(train))
    losses = model.calculate_loss(batch)
    sum(losses).backward()
    for name, parameter in model.named_parameters():
        if "logit_scale" in name and len(modalities) < 2:
            continue
        unread = training == "end2end" and name.startswith("item_features.encoder") and not _read(name, modalities)
        assert (parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)) != unread, name
    encoder = list(model.item_features.encoder.parameters())
    assert any(p.grad is not None for p in encoder) == (training == "end2end")
    start = [p.detach().clone() for p in encoder]

    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=False)
    assert list(trainer.train_loss_dict.values())[-1] < list(trainer.train_loss_dict.values())[0]
    changed = [not torch.equal(a, b) for a, b in zip(start, encoder, strict=True)]
    assert any(changed) == (training == "end2end")
    scores = full_sort_scores(model, model.n_users)
    assert scores.shape == (model.n_users - 1, model.n_items - 1) and torch.isfinite(scores).all()
    users, items = torch.tensor([1, 2, 7]), torch.tensor([3, 1, 20])
    with torch.no_grad():
        pairs = model.predict({"user_id": users, "item_id": items})
    torch.testing.assert_close(pairs, scores[users - 1, items - 1])


def _read(name: str, modalities: list[str]) -> bool:
    """Is that parameter of CLIP's towers on the way of these modalities?"""
    return "logit_scale" in name or ("visual" in name) in [m == "image" for m in modalities]


@pytest.mark.parametrize("training", PARADIGMS)
def test_finds_the_planted_preference(model_name, training, planted):
    keys = {"encoder_training": training, **QUICK}
    found = run(model_name, planted.name, config_dict=settings(planted, **keys), saved=False)["test_result"]["recall@10"]
    assert found > 0.7, "10 of the 39 items not seen in training, drawn at random, would find .26"


def test_missing_items_are_no_obstacle(model_name, planted_missing):
    found = run(model_name, planted_missing.name, config_dict=settings(planted_missing, **QUICK), saved=False)
    assert found["test_result"]["recall@10"] > 0.6


@pytest.mark.parametrize("training", PARADIGMS)
def test_the_same_seed_gives_the_same_result(model_name, training, planted):
    results = [
        run(model_name, planted.name, config_dict=settings(planted, encoder_training=training, seed=s), saved=False) for s in (3, 3, 4)
    ]
    assert results[0] == results[1]
    assert results[0]["test_result"] != results[2]["test_result"]


@pytest.mark.parametrize("training", PARADIGMS)
def test_a_checkpoint_gives_equal_scores_in_another_process(model_name, training, planted, tmp_path):
    config, model, train, valid, _ = built(planted, model_name, encoder_training=training)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    checkpoint = torch.load(trainer.saved_model_file, weights_only=False)
    model.load_state_dict(checkpoint["state_dict"])
    stored = [name for name in checkpoint["state_dict"] if "encoder" in name or "table" in name]
    assert bool(stored) == (training == "end2end") and not any("table" in name for name in stored)
    code = (
        "import sys, torch, numpy; sys.argv = sys.argv[:1]; from recbole_mm.quick_start import load_data_and_model\n"
        f"config, model, dataset, *_ = load_data_and_model({trainer.saved_model_file!r})\n"
        "model.eval(); numpy.save('scores.npy', model.full_sort_predict({'user_id': torch.arange(1, model.n_users)}).detach().numpy())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=_environment(), capture_output=True)
    ours = full_sort_scores(model, model.n_users)
    theirs = torch.from_numpy(np.load(tmp_path / "scores.npy")).view(model.n_users - 1, -1)[:, 1:]
    assert torch.equal(ours, theirs)


def test_a_resumed_run_equals_a_straight_one(model_name, planted):
    def trained(epochs, resume=None):
        config, model, train, valid, _ = built(planted, model_name, epochs=epochs, encoder_freeze_epochs=1, stopping_step=20)
        trainer = build_trainer(config, model)
        if resume:
            trainer.resume_checkpoint(resume)
        trainer.eval_step = 0
        trainer.fit(train, None, verbose=False, saved=True)
        return trainer.saved_model_file, model.state_dict()

    _, straight = trained(4)
    half, _ = trained(2)
    torch.manual_seed(12345)
    _, resumed = trained(4, resume=half)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_padding_is_never_recommended(model_name, planted):
    config, model, train, valid, test = built(planted, model_name)
    trainer = build_trainer(config, model)
    trainer.tot_item_num, model = model.n_items, model.eval()
    with torch.no_grad():
        _, scores, *_ = trainer._full_sort_batch_eval(next(iter(test)))
    assert (scores[:, 0] == -float("inf")).all()


def test_loads_what_load_data_and_model_promises(model_name, planted):
    config, model, train, valid, _ = built(planted, model_name, epochs=1)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    loaded = load_data_and_model(trainer.saved_model_file)
    assert len(loaded) == 6 and json.dumps(loaded[0]["metrics"]) == json.dumps(config["metrics"])
    assert loaded[2].content.tokens([1, 2]) == train.dataset.content.tokens([1, 2])


def _environment() -> dict:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
