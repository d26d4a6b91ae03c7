"""encoder_tuning: side, from a configuration to scores."""

import pytest
import torch

from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, load_data_and_model
from recbole_mm.testing.planted import built
from recbole_mm.training.run_state import load_model_state

ENCODERS = {"open_clip:tiny": None, "vlmo:tiny": ["image", "text", "joint"], "beit3:tiny": ["joint"]}


def sided(folder, **keys):
    return built(folder, **{"encoder_tuning": "side", **keys})


@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_starts_at_the_frozen_rows_and_trains_alone(planted_missing, encoder, monkeypatch):
    keys = {"encoder": encoder, "modalities": ENCODERS[encoder], "epochs": 1, "missing": "zero"}
    frozen = built(planted_missing, **keys, encoder_training="pretrained")[1].item_features
    config, model, train, valid, _ = sided(planted_missing, **keys)
    features = model.item_features
    assert type(features.encoder) is SideNetwork and not hasattr(features.encoded_items, "inputs")
    for m, rows in features.table().items():
        torch.testing.assert_close(rows, frozen.table()[m], rtol=1e-4, atol=1e-5)
    for reads in ("images", "texts"):
        monkeypatch.setattr(type(features.content), reads, lambda *_: pytest.fail("pictures and texts are not read any more"))
    before = {name: p.detach().clone() for name, p in features.encoder.named_parameters()}
    assert {f"item_features.encoder.{name}" for name in before} == {n for n in model.state_dict() if ".encoder." in n}
    build_trainer(config, model).fit(train, valid, verbose=False, saved=False)
    assert all(not torch.equal(before[name], p) for name, p in features.encoder.named_parameters())
    assert features.fingerprint == frozen.fingerprint


def test_it_learns_the_planted_taste_faster_than_over_frozen_rows(planted):
    losses, recall = {}, {}
    for name, tuning in (("frozen", {"encoder_training": "pretrained"}), ("side", {"encoder_tuning": "side"})):
        config, model, train, valid, _ = built(planted, **tuning, use_id=False, contrastive_weight=0)
        trainer = build_trainer(config, model)
        losses[name] = [trainer._train_epoch(train, epoch)[0] for epoch in range(5)][-1]
        recall[name] = trainer._valid_epoch(valid)[0]
    assert losses["side"] < 0.9 * losses["frozen"] and recall["side"] > 0.9, (losses, recall)


def test_an_item_without_a_text_brings_nothing_of_one(planted_missing):
    items = sided(planted_missing, side_noise=0)[1].item_features.encoded_items
    with torch.no_grad():
        for parameter in items.encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    lacking = (items.present["image"] & ~items.present["text"]).nonzero().squeeze(1)
    both = (items.present["image"] & items.present["text"]).nonzero().squeeze(1)[:3]
    ids = torch.cat([both, lacking])
    own, other = items.read("image", ids)
    assert other[:3].any(1).all() and not other[3:].any()
    torch.testing.assert_close(items.encode(ids)["image"], items.encoder("image", own, other))
    assert not items.encode(ids)["text"][3:].any()


def test_the_network_trains_on_noisy_states_and_is_evaluated_on_those_that_are_stored(planted):
    features = sided(planted, side_noise=0.5)[1].item_features
    items, ids = features.encoded_items, features.encoded_items.present["image"].nonzero().squeeze(1)
    items.encoder.eval()
    stored = items.read("image", ids)[0]
    torch.testing.assert_close(stored, items.read("image", ids)[0], rtol=0, atol=0)
    items.encoder.train()
    noise = torch.cat([items.read("image", ids)[0] - stored for _ in range(20)])
    torch.testing.assert_close(noise.std(0), 0.5 * stored.std(0, correction=0), rtol=0.25, atol=1e-6)


def test_a_checkpoint_holds_the_side_network_and_is_refused_over_another_encoder(planted, tmp_path):
    config, model, train, valid, test = sided(planted, epochs=2, checkpoint_dir=str(tmp_path))
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    result = trainer.evaluate(test)
    config, loaded, _, _, _, test = load_data_and_model(trainer.saved_model_file)
    assert build_trainer(config, loaded).evaluate(test, load_best_model=False) == result
    checkpoint = torch.load(trainer.saved_model_file, weights_only=True)
    assert {key for key in checkpoint["state_dict"] if ".encoder." in key} == {key for key in model.state_dict() if ".encoder." in key}
    other = sided(planted, seed=99)[1]
    with pytest.raises(InputError, match="another encoder"):
        load_model_state(other, checkpoint, "file.pth")


@pytest.mark.parametrize(
    "keys", [{"feature_dtype": "fp16"}, {"encoder_precision": "bf16"}, {"encoder_freeze_epochs": 1}, {"loss_type": "BPR"}], ids=str
)
def test_options_combine(planted_missing, keys):
    config, model, train, valid, _ = sided(planted_missing, epochs=2, **keys)
    losses = model.train().calculate_loss(next(iter(train)))
    assert len(losses) == 3 and all(bool(loss.isfinite()) for loss in losses), "the contrastive loss is one of them"
    build_trainer(config, model).fit(train, valid, verbose=False, saved=False)


@pytest.mark.parametrize("model", ["LATTICE", "VBPR"])
def test_other_recommenders_take_it(planted, model):
    config, recommender, train, valid, _ = built(planted, model, encoder_tuning="side", epochs=1)
    build_trainer(config, recommender).fit(train, valid, verbose=False, saved=False)
    assert recommender.item_features.encoder.out["image"].weight.any()


def test_settings(planted):
    for keys, message in (({"side_dim": 0}, "side_dim"), ({"cache_hidden_states": True}, "cache_hidden_states"),
                          ({"encoder_training": "finetuned"}, "side trains beside an encoder"),
                          ({"encoder_tuning": "sides"}, "did you mean 'side'")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            sided(planted, **keys)
