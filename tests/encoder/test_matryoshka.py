"""Rows cut to their first numbers: in every encoder, under every paradigm, and in a folder of their own."""

import logging
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.matryoshka import cut_rows
from recbole_mm.encoder.saved import load_encoder, save_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.encoder.tuning.side_encoder import SideEncoder
from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.errors import InputError
from recbole_mm.testing.model_measures import loss_of
from recbole_mm.testing.odd_items import inputs_of
from recbole_mm.testing.planted import built
from tests import hf_folders

DIM = 8


@pytest.mark.parametrize("kind", ["vlmo", "hf", "separate"])
def test_rows_are_the_first_numbers_normalised(kind, shelf, tmp_path):
    encoder = create_encoder(shelf[kind], seed=1)
    inputs, before = inputs_of(encoder), encoder.fingerprint()
    whole = encoder(inputs)
    cut_rows(encoder, DIM)
    rows = encoder(inputs)
    assert encoder.output_dims == dict.fromkeys(encoder.modalities, DIM) and list(rows) == list(whole)
    for modality, values in rows.items():
        torch.testing.assert_close(values, functional.normalize(whole[modality][:, :DIM], dim=1))
    again = create_encoder(shelf[kind], seed=1)
    cut_rows(again, DIM - 1)
    assert len({before, encoder.fingerprint(), again.fingerprint()}) == 3
    save_encoder(encoder, tmp_path / "saved")
    loaded = load_encoder(tmp_path / "saved")
    for modality, values in loaded(inputs).items():
        torch.testing.assert_close(values, rows[modality])


def test_more_numbers_than_a_row_has(shelf):
    with pytest.raises(InputError, match="encoder_dim 999: the image rows of open_clip:tiny have .* numbers"):
        cut_rows(create_encoder(shelf["open_clip"]), 999)


def test_stored_states_lead_to_cut_rows(shelf, tmp_path):
    encoder = create_encoder(shelf["vlmo"], seed=1)
    cut_rows(encoder, DIM)
    inputs = inputs_of(encoder)
    widths = LayerStates(encoder, ("image", "text")).widths
    assert {part[0] for part in widths.values()} == {DIM}
    side = SideEncoder(encoder, SideNetwork(encoder, widths, 4))
    save_encoder(side, tmp_path / "saved")
    pair = {m: inputs[m] for m in ("image", "text")}
    for modality, rows in load_encoder(tmp_path / "saved")(pair).items():
        torch.testing.assert_close(rows, encoder(pair)[modality])
    tune(encoder, "last_k", last_k=1)
    cut = CutEncoder(encoder, encoder.modalities, 1)
    for modality in encoder.modalities:
        token_ids = {"image": None, "text": inputs["text"]}.get(modality, inputs["text"])
        rows = cut.upper(modality, cut.lower(modality, inputs[modality]), token_ids)
        assert torch.equal(rows, encoder(inputs)[modality])


PARADIGMS = [
    {"encoder_training": "pretrained"},
    {"encoder_tuning": "full"},
    {"encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True},
    {"encoder_tuning": "side"},
]


@pytest.mark.parametrize("keys", PARADIGMS, ids=str)
def test_a_recommender_over_cut_rows(keys, planted):
    _, model, train, *_ = built(planted, "CLIPRec", encoder="beit3:tiny", modalities=["image", "joint"], encoder_dim=DIM, **keys)
    assert model.item_features.dims == {"image": DIM, "joint": DIM}
    loss_of(model, next(iter(train))).backward()
    assert {m: rows.shape[1] for m, rows in model.item_features(torch.tensor([1, 2])).items()} == {"image": DIM, "joint": DIM}


def test_only_encoders_that_were_not_trained_for_it_are_warned_of(planted, tmp_path, caplog):
    plain, card, cut = (hf_folders.write_sentence_modules(hf_folders.write_bert(tmp_path / name), "mean") for name in ("a", "b", "c"))
    (card / "README.md").write_text("Trained with MatryoshkaLoss.\n")
    hf_folders._json(cut / "config_sentence_transformers.json", {"truncate_dim": 16})
    keys = {"encoder_training": "pretrained", "encoder_dim": DIM, "modalities": ["text"]}
    settings = EncoderSettings.from_config(built(planted, "CLIPRec", encoder=f"st:{plain}", **keys)[0])
    warned = {}
    for path, row_dim in ((plain, DIM), (card, DIM), (cut, DIM), (plain, None)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            encoder = build_encoder(replace(settings, name=f"st:{path}", row_dim=row_dim))
        warned[path, row_dim] = f"encoder_dim 8: {encoder.name} does not say that it was trained for shorter rows" in caplog.text
    assert [key for key, told in warned.items() if told] == [(plain, DIM)]
