"""The contract, on the tiny open_clip encoder."""

import copy

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.errors import InputError


@pytest.fixture()
def own():
    return create_encoder("open_clip:tiny")


def test_what_it_says_about_itself(tiny):
    assert isinstance(tiny, ItemEncoder) and not tiny.training
    assert tiny.modalities == ("image", "text") and tiny.output_dims == {"image": 64, "text": 64}
    assert tiny.image_size == (64, 64) and tiny.pad_id == 0
    assert len(tiny.layers()) == 5 and all(isinstance(layer, ResidualAttentionBlock) for layer in tiny.layers())
    assert tiny.layers()[0] is tiny.model.visual.transformer.resblocks[0]
    assert tiny.layers()[3] is tiny.model.transformer.resblocks[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rows(own, batch, dtype):
    own.to(dtype)
    with torch.no_grad():
        rows = own(batch(own, 5))
    assert list(rows) == list(own.modalities)
    assert all(value.shape == (5, 64) and value.dtype == dtype and value.isfinite().all() for value in rows.values())
    assert (rows["image"].float().norm(dim=-1) - 1).abs().min() > 1e-3


def test_rows_do_not_depend_on_the_rest_of_the_batch(tiny, batch):
    inputs = batch(tiny, 4)
    with torch.no_grad():
        together, images, last = tiny(inputs), tiny({"image": inputs["image"]}), tiny({k: v[3:] for k, v in inputs.items()})
    assert list(images) == ["image"] and torch.equal(images["image"], together["image"])
    for modality, rows in together.items():
        torch.testing.assert_close(last[modality][0], rows[3], rtol=0, atol=1e-5)


def test_no_items(tiny, batch):
    rows = tiny(batch(tiny, 0))
    assert all(value.shape == (0, 64) for value in rows.values())
    tiny.contrastive_loss(rows).backward()


def test_pixels_are_normalised_in_the_dtype_of_the_weights(own):
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3 * 64 * 64 // 256).view(1, 3, 64, 64)
    expected = (pixels.double() / 255 - 0.5) / 0.5
    assert torch.equal(own.normalise(pixels, torch.float64), expected)
    torch.testing.assert_close(own.normalise(pixels, torch.float32).double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(own.normalise(pixels, torch.bfloat16), expected.float().bfloat16())


def test_wrong_inputs_are_refused(tiny):
    with pytest.raises(TypeError, match="uint8"):
        tiny({"image": torch.zeros(1, 3, 64, 64)})
    with pytest.raises(ValueError, match=r"\(3, 64, 64\)"):
        tiny({"image": torch.zeros(1, 3, 32, 64, dtype=torch.uint8)})
    with pytest.raises(ValueError, match="'audio'"):
        tiny({"audio": torch.zeros(1, 3)})


def test_tokens_are_padded_with_zero_and_truncated_by_token(tiny):
    ids = tiny.tokenize(["red shirt", "shirt " * 100, ""])
    assert ids.shape == (3, 32) and ids.dtype == torch.int64
    start, end = 49406, 49407
    assert ids[0, 0] == start and ids[0, 3] == end and (ids[0, 4:] == tiny.pad_id).all()
    assert ids[1, 0] == start and ids[1, 31] == end and ids[1, 1:31].unique().numel() == 1
    assert ids[2, :3].tolist() == [start, end, 0]
    assert tiny.tokenize([]).shape == (0, 32)


def test_padding_does_not_matter(tiny):
    ids = tiny.tokenize(["red shirt"])
    other = ids.clone()
    other[0, 4:] = 320
    with torch.no_grad():
        torch.testing.assert_close(tiny({"text": ids})["text"], tiny({"text": other})["text"])


def test_seed_decides_the_weights_and_nothing_else_moves():
    state = torch.get_rng_state()
    first, again, other = (create_encoder("open_clip:tiny", seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_fingerprint_sees_every_change(own):
    before, key = own.fingerprint(), own.preprocess_key
    assert copy.deepcopy(own).fingerprint() == own.to("cpu").train().fingerprint() == before
    changes = {
        "one weight": lambda e: e.model.visual.proj.data[3, 4].neg_(),
        "the scale": lambda e: e.model.logit_scale.data.add_(1e-6),
        "dtype": lambda e: e.double(),
        "mean": lambda e: setattr(e, "image_mean", (0.5, 0.5, 0.50001)),
        "std": lambda e: setattr(e, "image_std", (0.5, 0.5, 0.4)),
        "context length": lambda e: setattr(e.tokenizer, "context_length", 31),
        "tokenizer": lambda e: setattr(e.tokenizer, "clean_fn", str),
        "architecture": lambda e: e._config["vision_cfg"].update(head_width=64),
        "geometry": lambda e: e.preprocess_image.geometry.update(resize_mode="longest"),
    }
    seen = {before}
    for name, change in changes.items():
        other = copy.deepcopy(own)
        change(other)
        assert other.fingerprint() not in seen, name
        assert (other.preprocess_key == key) == (name != "geometry"), name
        seen.add(other.fingerprint())
    assert own.fingerprint() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_rows_and_fingerprint_on_the_gpu(own, batch):
    before, inputs = own.fingerprint(), batch(own)
    with torch.no_grad():
        rows = own(inputs)
        there = own.cuda()({key: value.cuda() for key, value in inputs.items()})
    assert own.fingerprint() == before
    for modality, value in rows.items():
        torch.testing.assert_close(there[modality].cpu(), value, rtol=1e-3, atol=1e-3)


def test_both_towers_and_the_scale_are_trained(own, batch):
    own.contrastive_loss(own(batch(own))).backward()
    assert all(parameter.grad is not None for parameter in own.parameters())
    assert all(any(p.grad.abs().sum() > 0 for p in layer.parameters()) for layer in own.layers())


def test_gradient_checkpointing_changes_no_gradient(own, batch):
    lean = create_encoder("open_clip:tiny", gradient_checkpointing=True)
    for encoder in (own, lean):
        encoder.train()
        encoder.contrastive_loss(encoder(batch(encoder))).backward()
    assert lean.model.visual.transformer.grad_checkpointing and lean.model.transformer.grad_checkpointing
    for (name, a), b in zip(own.named_parameters(), lean.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_it_learns_random_pairs(own, batch):
    inputs = batch(own, 16)
    optimiser = torch.optim.AdamW(own.train().parameters(), lr=5e-4)
    losses = []
    for _ in range(16):
        loss = own.contrastive_loss(own(inputs))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_contrastive_loss_needs_both_modalities(tiny, own):
    with pytest.raises(ValueError, match="image and text rows"):
        tiny.contrastive_loss({"image": torch.ones(2, 64)})
    own.modalities = ("image",)
    with pytest.raises(InputError, match="open_clip:tiny encodes only image"):
        own.contrastive_loss({"image": torch.ones(2, 64)})
