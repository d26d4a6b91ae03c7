"""Cross rows and their gradients: live, in chunks, from stored tokens, and of items that lack a picture or a text."""

from pathlib import Path

import pytest
import torch

from recbole_mm.config.modalities import CROSS
from recbole_mm.errors import InputError
from recbole_mm.items import raw_items
from recbole_mm.items import states as states_module
from recbole_mm.items.hidden_items import HiddenItems
from recbole_mm.items.raw_items import RawItems
from recbole_mm.items.token_items import TokenItems
from recbole_mm.testing.planted import built, write_features, write_planted


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("data") / "shop", n_users=12, n_items=24, missing=True)
    write_features(folder)
    return folder


def crossed(shop: Path, **keys):
    return built(shop, fusion="cross", **keys)[1]


def passed(features) -> tuple[dict, dict]:
    """Rows of all items, and the gradients of a function of the cross rows."""
    rows = features(torch.arange(len(features)))
    (rows[CROSS] * torch.linspace(-1, 1, rows[CROSS].shape[1])).sum().backward()
    return rows, {name: p.grad.clone() for name, p in features.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("encoder", ["open_clip:tiny", "vlmo:tiny"])
def test_chunks_and_cached_states_have_the_rows_and_gradients_of_one_pass(shop, encoder, monkeypatch):
    """The last is a large encoder, which takes texts in order of their length and a few at a time."""
    monkeypatch.setattr(raw_items, "TEXT_CALLS", 64)
    keys = {"encoder": encoder, "encoder_tuning": "last_k", "encoder_last_k": 2}
    found = []
    for own in ({}, {"encoder_chunk_size": 5}, {"cache_hidden_states": True}, {"encoder_chunk_size": 15}):
        features = crossed(shop, **keys, **own).item_features
        assert type(features.encoded_items) is (HiddenItems if "cache_hidden_states" in own else RawItems)
        features.encoder.from_scratch = len(found) < 3
        found.append(passed(features))
    (rows, gradients), *others = found
    assert any(name.startswith("encoder.") for name in gradients) and any(name.startswith("cross.") for name in gradients)
    for our_rows, our_gradients in others:
        torch.testing.assert_close(our_rows, rows, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(our_gradients, gradients, rtol=1e-3, atol=1e-4)


def test_gradients_through_the_tokens_are_finite_differences(shop):
    """Along one direction in all weights of the encoder and of the cross-attention, where only cross rows reach the loss."""
    _, model, train, *_ = built(shop, fusion="cross", contrastive_weight=0.0, id_dropout=0.0, train_batch_size=16, encoder_chunk_size=5)
    model.double().train()
    torch.manual_seed(0)
    torch.nn.init.normal_(model.project_cross.weight), torch.nn.init.zeros_(model.project.weight)
    batch, parts = next(iter(train)), (model.item_features.encoder, model.item_features.cross)
    model.calculate_loss(batch)[0].backward()
    for part in parts:
        weights = [p for p in part.parameters() if p.grad is not None]
        direction = [torch.randn_like(p) for p in weights]
        slope = sum(float((d * p.grad).sum()) for d, p in zip(direction, weights, strict=True))
        losses = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                for p, d in zip(weights, direction, strict=True):
                    p += step * d
                losses.append(float(model.calculate_loss(batch)[0]))
                for p, d in zip(weights, direction, strict=True):
                    p -= step * d
        assert abs(slope) > 1e-3 and (losses[0] - losses[1]) / 2e-6 == pytest.approx(slope, rel=1e-4)


def test_stored_tokens_give_the_live_rows_and_are_stored_once(shop, tmp_path, monkeypatch):
    made, fill = [], states_module.fill_stores
    monkeypatch.setattr(states_module, "fill_stores", lambda *args: made.append(fill(*args)) or made[-1])
    live = crossed(shop).item_features
    keys = {"encoder_training": "pretrained", "cache_dir": str(tmp_path)}
    stored, again = (crossed(shop, **keys).item_features for _ in range(2))
    assert type(stored.encoded_items) is TokenItems and stored.encoder is None and not stored.trainable
    assert made == [{"image": int(live.present("image").sum()), "text": 2}, {"image": 0, "text": 0}], "there are two texts"
    tables = [features.eval().table() for features in (live, stored, again)]
    assert tables[0].keys() == {"image", "text", CROSS} == tables[1].keys()
    torch.testing.assert_close(tables[1][CROSS], tables[0][CROSS], rtol=1e-4, atol=1e-5)
    assert torch.equal(tables[2][CROSS], tables[1][CROSS])
    ids = torch.tensor([3, 9, 3])
    torch.testing.assert_close(stored(ids)[CROSS], tables[1][CROSS][ids], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("missing", ["learned", "mean", "neighbours"])
@pytest.mark.parametrize("training", ["end2end", "pretrained"])
def test_nothing_is_crossed_where_a_picture_or_a_text_is_missing(shop, training, missing):
    features = crossed(shop, encoder_training=training, missing=missing).item_features
    both = features.present("image") & features.present("text")
    assert torch.equal(features.present(CROSS), both) and CROSS not in features.missing_vectors
    for rows in (features(torch.arange(len(features)))[CROSS], features.table()[CROSS]):
        assert torch.equal(rows.abs().sum(1) > 0, both) and bool(rows.isfinite().all())


@pytest.mark.parametrize(("keys", "message"), [
    ({"feature_files": {"image": "a.safetensors"}}, "needs the tokens of pictures and texts from an encoder, and feature files have none"),
    ({"modalities": ["text"]}, "needs the tokens of pictures and texts"),
    ({"modalities": ["joint"], "encoder": "beit3:tiny"}, "needs the tokens of pictures and texts"),
    ({"modalities": ["image", "text", "cross"], "feature_files": {"cross": "a.safetensors"}}, "give the modality another name"),
    ({"image_field": None}, "fusion: cross needs pictures and texts, and in use is only text"),
    ({"encoder_tuning": "side"}, "encoder_tuning: side makes one row of each layer"),
    ({"encoder_compile": True}, "encoder_compile: True does not go with fusion: cross"),
], ids=str)  # fmt: skip
def test_what_has_no_tokens_is_refused(shop, keys, message):
    with pytest.raises(InputError, match=message):
        crossed(shop, **keys)
