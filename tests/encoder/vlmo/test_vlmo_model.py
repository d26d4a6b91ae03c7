"""What VLMo promises beyond the reference outputs."""

import pytest
import torch

from recbole_mm.encoder.vlmo import VLMo, VLMoConfig
from recbole_mm.errors import InputError

STYLES = [{"relative_position_bias": True, "layer_scale": True}, {"relative_position_bias": False, "layer_scale": False}]


def calls(model, inputs):
    pixels, token_ids, mask = inputs
    return [model.encode_image(pixels), model.encode_text(token_ids, mask), model.encode_joint(pixels, token_ids, mask)]


def test_configurations():
    config = VLMoConfig(
        embed_dim=64, depth=3, num_heads=4, mlp_ratio=4, image_size=32, patch_size=8, vocab_size=100, max_text_len=12, vl_start_layer=2,
        relative_position_bias=True, layer_scale=True,
    )  # fmt: skip
    assert config.window == 4
    assert VLMoConfig.named("large", image_size=384).window == 24
    with pytest.raises(InputError, match="did you mean 'base_plus'"):
        VLMoConfig.named("bas_plus")
    wrong = [("image_size", 230), ("image_size", 0), ("image_size", "224"), ("num_heads", 5), ("max_text_len", 200), ("patch_size", 0)]
    for key, value in wrong:
        with pytest.raises(InputError):
            VLMoConfig.named("base", **{key: value})
    with torch.device("meta"):
        assert VLMo(VLMoConfig.named("tiny", mlp_ratio=2.5)).blocks[0].mlp_text.fc1.out_features == 320


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
def test_other_precisions(small, inputs, style, dtype, tolerance):
    model = small(**style)
    with torch.no_grad():
        wanted = calls(model, inputs)
        found = calls(model.to(dtype), inputs)
    for one, other in zip(found, wanted, strict=True):
        assert one.features.dtype == one.cls_feats.dtype == dtype
        torch.testing.assert_close(one.cls_feats.float(), other.cls_feats, rtol=0, atol=tolerance)


@pytest.mark.parametrize("style", STYLES)
def test_padding_and_neighbours_do_not_matter(small, inputs, style):
    model, (pixels, token_ids, mask) = small(**style), inputs
    filled = torch.where(mask == 1, token_ids, 7)
    with torch.no_grad():
        wanted = calls(model, inputs)
        for other in (calls(model, (pixels, filled, mask)), calls(model, (pixels[1:2], token_ids[1:2, :4], mask[1:2, :4]))):
            rows = slice(None) if len(other[0].cls_feats) == 3 else slice(1, 2)
            for one, whole in zip(other, wanted, strict=True):
                torch.testing.assert_close(one.cls_feats, whole.cls_feats[rows], rtol=0, atol=2e-6)


def test_features_keep_the_text_length_and_runs_repeat(small, inputs):
    model = small()
    first, second = calls(model, inputs), calls(model, inputs)
    assert [output.features.shape[1] for output in first] == [5, 9, 14]
    assert all(torch.equal(one.features, other.features) for one, other in zip(first, second, strict=True))
    with pytest.raises(ValueError, match="at most 12 tokens, not 13"):
        model.encode_text(torch.ones(1, 13, dtype=torch.long), torch.ones(1, 13))


@pytest.mark.parametrize("autocast", [False, True])
def test_checkpointing_changes_nothing(small, inputs, autocast):
    found = []
    for checkpointing in (False, True):
        model = small().train()
        model.gradient_checkpointing = checkpointing
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = sum(output.cls_feats.float().square().sum() + output.features.float().sum() for output in calls(model, inputs))
        loss.backward()
        found.append({key: parameter.grad for key, parameter in model.named_parameters() if parameter.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_dropped_heads_say_so(small, inputs):
    model = small()
    model.drop_pretraining_heads()
    output = model.encode_joint(*inputs)
    for use, given in (
        (model.mlm_logits, output.features),
        (model.itm_logits, output.cls_feats),
        (lambda pixels: model.encode_image(pixels, vl_expert=True), inputs[0]),
    ):
        with pytest.raises(InputError, match="no pretraining heads"):
            use(given)
