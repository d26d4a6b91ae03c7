"""What every encoder must do, whatever its backend. A new backend adds its smallest configuration to ENCODERS."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.encoder import ItemEncoder, create_encoder

ENCODERS = ["beit3:tiny", "open_clip:tiny"]
DUAL = [name for name in ENCODERS if {"image", "text"} <= set(create_encoder(name).modalities)]
TEXTS = ["a red wool scarf", "boots", "", "very long " * 200]


@pytest.fixture(params=ENCODERS)
def encoder(request) -> ItemEncoder:
    return create_encoder(request.param, seed=1)


def inputs_of(encoder: ItemEncoder) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    sizes = ((90, 60), (64, 64), (33, 200), (300, 20))
    pictures = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    made = {"image": lambda: torch.stack([encoder.preprocess_image(p) for p in pictures]), "text": lambda: encoder.tokenize(TEXTS)}
    return {m: made[m]() for m in encoder.modalities if m in made}


def test_preprocessing_and_tokens(encoder):
    inputs = inputs_of(encoder)
    if "image" in inputs:
        assert inputs["image"].dtype == torch.uint8 and inputs["image"].shape == (4, 3, *encoder.image_size)
    if "text" in inputs:
        ids = inputs["text"]
        assert ids.dtype == torch.int64 and len(ids) == 4 and (ids[1] == encoder.pad_id).any() and not (ids[3] == encoder.pad_id).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_row_an_item_for_every_modality_given(encoder, dtype):
    encoder.to(dtype)
    inputs = inputs_of(encoder)
    for m in inputs:
        rows = encoder({m: inputs[m]})
        assert list(rows) == [m] and rows[m].shape == (4, encoder.output_dims[m])
        assert rows[m].dtype == dtype and torch.isfinite(rows[m]).all()


def test_a_row_depends_on_its_own_item_alone(encoder):
    inputs = inputs_of(encoder)
    with torch.no_grad():
        whole, last = encoder(inputs), encoder({m: values[3:] for m, values in inputs.items()})
    for m in whole:
        torch.testing.assert_close(whole[m][3:], last[m], rtol=1e-4, atol=1e-5)


def test_every_layer_of_every_tower_gets_a_gradient(encoder):
    encoder.train()
    sum(rows.pow(2).sum() for rows in encoder(inputs_of(encoder)).values()).backward()
    layers = encoder.layers()
    assert isinstance(layers, list) and layers
    for layer in layers:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_the_seed_decides_and_the_global_random_state_stays(encoder, request):
    name = request.node.callspec.params["encoder"]
    state = torch.get_rng_state()
    assert create_encoder(name, seed=1).fingerprint() == encoder.fingerprint()
    assert torch.equal(state, torch.get_rng_state())


def test_any_change_of_weights_changes_the_fingerprint(encoder):
    seen = {encoder.fingerprint()}
    for parameter in encoder.parameters():
        with torch.no_grad():
            parameter.view(-1)[0].add_(1e-3)
        seen.add(encoder.fingerprint())
    assert len(seen) == 1 + len(list(encoder.parameters()))
    assert copy.deepcopy(encoder).fingerprint() in seen and len(encoder.preprocess_key) > 4


@pytest.mark.parametrize("encoder", DUAL, indirect=True)
def test_the_contrastive_loss_prefers_pairs(encoder):
    rows = torch.randn(6, encoder.output_dims["image"])
    paired, crossed = (encoder.contrastive_loss({"image": rows, "text": other}) for other in (rows, rows.roll(1, 0)))
    assert paired < crossed
