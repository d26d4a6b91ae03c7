"""BEiT-3 answers as the authors' module does, in every precision, with and without padding."""

import json
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder.beit3 import BEiT3, BEiT3Config

ORACLE = Path(__file__).parent / "oracle"


def passes(model, oracle, dtype=torch.float32):
    pixels = oracle.pixels.to(dtype)
    with torch.no_grad():
        return (
            model.encode_image(pixels),
            model.encode_text(oracle.token_ids, oracle.attention_mask),
            model.encode_joint(pixels, oracle.token_ids, oracle.attention_mask),
        )


def near(found, expected, tolerance):
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "cls", "rest"), [(torch.float32, 5e-6, 1e-5), (torch.float64, 5e-6, 1e-5), (torch.bfloat16, 0.05, 0.2)])
def test_every_output(oracle, build, dtype, cls, rest):
    image, text, joint = passes(build(oracle.state).to(dtype), oracle, dtype)
    near(image.features, oracle.out["image.encoder_out"], rest)
    near(text.features, oracle.out["text.encoder_out"], rest)
    near(joint.features, oracle.out["joint.encoder_out"], rest)
    near(image.cls_feats, oracle.out["retrieval.vision_cls"], cls)
    near(text.cls_feats, oracle.out["retrieval.language_cls"], cls)
    near(joint.cls_feats, oracle.out["vqa.pooled"], cls)
    assert joint.features.shape[1] - text.features.shape[1] == int(oracle.out["joint.split"])
    assert torch.equal(joint.raw_cls_feats, joint.features[:, 0])
    assert image.raw_cls_feats.shape == text.raw_cls_feats.shape == (3, 64)
    assert image.features.dtype == text.cls_feats.dtype == joint.cls_feats.dtype == dtype


def test_raw_cls_feats_of_one_modality_come_before_the_final_norm(oracle, build):
    model = build(oracle.state)
    image, text, _ = passes(model, oracle)
    norm = model.beit3.encoder.layer_norm
    torch.testing.assert_close(norm["A"](image.raw_cls_feats), image.features[:, 0])
    torch.testing.assert_close(norm["B"](text.raw_cls_feats), text.features[:, 0])


def test_without_a_pooler_the_joint_row_is_the_first_position(oracle, build):
    model = build({key: value for key, value in oracle.state.items() if not key.startswith("pooler.")})
    joint = passes(model, oracle)[2]
    assert not model.config.pooler and torch.equal(joint.cls_feats, joint.features[:, 0])
    near(joint.cls_feats, oracle.out["joint.encoder_out"][:, 0], 1e-5)


@pytest.mark.parametrize(("size", "millions"), [("base", 222.2), ("large", 674.8)])
def test_names_and_shapes_of_the_released_sizes(size, millions):
    with torch.device("meta"):
        model = BEiT3(BEiT3Config.named(size))
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    table = json.loads((ORACLE / "beit3_state_dict_shapes.json").read_text())
    assert shapes == table[f"beit3_{size}_patch16_224_retrieval"]
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_padding_and_company_change_nothing(oracle, build):
    model = build(oracle.state)
    _, text, joint = passes(model, oracle)
    for i, length in enumerate(oracle.attention_mask.sum(1).tolist()):
        ids, mask = oracle.token_ids[i : i + 1, :length], torch.ones(1, length)
        with torch.no_grad():
            near(model.encode_text(ids, mask).cls_feats[0], text.cls_feats[i], 1e-6)
            near(model.encode_joint(oracle.pixels[i : i + 1], ids, mask).cls_feats[0], joint.cls_feats[i], 1e-6)
    noisy = torch.where(oracle.attention_mask.bool(), oracle.token_ids, 7)
    with torch.no_grad():
        assert torch.equal(model.encode_text(noisy, oracle.attention_mask).features, text.features)


def test_twice_the_same(oracle, build):
    model = build(oracle.state)
    for once, again in zip(passes(model, oracle), passes(model.train(), oracle), strict=True):
        assert torch.equal(once.features, again.features) and torch.equal(once.cls_feats, again.cls_feats)


def test_checkpointing_changes_no_gradient(oracle, build):
    model, gradients = build(oracle.state).train(), []
    for model.gradient_checkpointing in (False, True):
        model.zero_grad()
        joint = model.encode_joint(oracle.pixels, oracle.token_ids, oracle.attention_mask)
        text = model.encode_text(oracle.token_ids, oracle.attention_mask)
        (joint.cls_feats.sum() + text.cls_feats[:, 0].sum()).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 130
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_inputs_of_the_wrong_size(oracle, build):
    model = build(oracle.state)
    with pytest.raises(ValueError, match=r"pixels of shape \(n, 3, 32, 32\)"):
        model.encode_image(oracle.pixels[..., :-8])
    with pytest.raises(ValueError, match="30 tokens, and positions for 22"):
        model.encode_text(torch.zeros(1, 30, dtype=torch.long), torch.ones(1, 30))
