"""Released checkpoints of every kind."""

import pytest
import torch

from recbole_mm.encoder.vlmo import VLMo, VLMoConfig, position
from recbole_mm.encoder.vlmo.load import PRETRAIN_HEADS, source_window
from recbole_mm.errors import InputError


def released(model):
    """Its weights as a release has them: with index buffers, and 20 text positions."""
    window, length = model.config.window, model.config.bias_text_len
    state = dict(model.state_dict())
    state["text_embeddings.position_embeddings.weight"] = torch.randn(length, model.config.embed_dim)
    state["text_embeddings.position_ids"] = torch.arange(length)[None]
    state["relative_position_index"] = position.image_index(window)
    state["text_relative_position_index"] = position.text_index(window, length, length)
    state["text_imag_relative_position_index"] = position.joint_index(window, length, length)
    return state


def without_heads(state):
    return {key: value for key, value in state.items() if key.split(".")[0] not in PRETRAIN_HEADS}


@pytest.mark.parametrize("wrap", [
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": state},
    lambda state: {"module": {f"module.{key}": value for key, value in state.items()}},
])  # fmt: skip
def test_wrappers_buffers_and_text_positions(small, inputs, wrap):
    source, target = small(), VLMo(small().config)
    state = released(source)
    target.load_released_state_dict(wrap(state))
    key = "text_embeddings.position_embeddings.weight"
    expected = {**source.state_dict(), key: state[key][:12]}
    assert target.state_dict().keys() == expected.keys()
    assert all(torch.equal(target.state_dict()[key], value) for key, value in expected.items())
    assert torch.equal(target.encode_joint(*inputs).cls_feats, source.encode_joint(*inputs).cls_feats)


def test_position_ids_may_be_missing_and_half_precision_is_widened(small):
    state = {key: value.bfloat16() for key, value in small().state_dict().items() if "position_ids" not in key}
    target = VLMo(small().config)
    target.load_released_state_dict(state)
    assert target.text_embeddings.position_ids.tolist() == [list(range(12))] and target.pooler.dense.weight.dtype == torch.float32


def test_retrieval_checkpoints_leave_no_head_random(small, inputs):
    target = VLMo(small().config)
    target.load_released_state_dict(without_heads(small().state_dict()))
    assert not any(key.split(".")[0] in PRETRAIN_HEADS for key in target.state_dict())
    assert torch.equal(target.eval().encode_joint(*inputs).cls_feats, small().encode_joint(*inputs).cls_feats)


def test_misfits_are_listed(small):
    good = small().state_dict()
    cases = {
        "1 missing: pooler.dense.bias": {k: v for k, v in good.items() if k != "pooler.dense.bias"},
        "2 unexpected: nlvr2_classifier.0.weight, extra": {**good, "nlvr2_classifier.0.weight": torch.zeros(2), "extra": torch.zeros(1)},
        "of another shape: pooler.dense.bias (7,) instead of (24,)": {**good, "pooler.dense.bias": torch.zeros(7)},
        "1 missing: mlm_score.bias": {k: v for k, v in good.items() if k != "mlm_score.bias"},
        "relative_position_bias_table (3,)": {**good, "relative_position_bias_table": torch.zeros(3)},
        "relative_position_bias_table (11, 6)": {**good, "relative_position_bias_table": torch.zeros(11, 6)},
        "no VLMo weights": {},
    }
    for words, state in cases.items():
        with pytest.raises(InputError) as caught:
            VLMo(small().config).load_released_state_dict(state)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_other_kind_of_positions_is_a_misfit(small):
    with pytest.raises(InputError, match="1 missing: transformer.pos_embed; 1 unexpected: relative_position_bias_table"):
        VLMo(small(relative_position_bias=False).config).load_released_state_dict(small().state_dict())


@pytest.mark.parametrize(("source", "target"), [(224, 384), (384, 224), (224, 240), (480, 384), (224, 224)])
def test_released_tables_are_told_apart_by_their_rows(source, target):
    rows = position.table_rows(source // 16, 196)
    assert rows == {224: 1126, 384: 2606, 480: 3878}[source]
    state = {"relative_position_bias_table": torch.zeros(rows, 1)}
    assert source_window(state, VLMoConfig.named("base", image_size=target)) == source // 16


@pytest.mark.parametrize("changes", [{}, {"relative_position_bias": False}])
@pytest.mark.parametrize("size", [16, 32, 48, 80])
def test_resizing_to_the_same_size_and_back(small, inputs, changes, size):
    source = small(**changes)
    state = released(source) if not changes else source.state_dict()
    target = VLMo(VLMoConfig(**{**vars(source.config), "image_size": size})).eval()
    target.load_released_state_dict(state)
    pixels = torch.nn.functional.interpolate(inputs[0], size)
    output = target.encode_joint(pixels, *inputs[1:])
    assert torch.isfinite(output.features).all()
    if size == 32:
        assert torch.equal(output.features, source.encode_joint(*inputs).features)


def test_a_resized_table_keeps_its_text_rows_and_a_constant_stays_constant():
    table = torch.cat((torch.full((27 * 27, 2), 3.0), torch.randn(397, 2)))
    resized = position.resize_bias_table(table, 14, 24)
    assert resized.shape == (2606, 2) and torch.equal(resized[-397:], table[-397:])
    torch.testing.assert_close(resized[:-397], torch.full((47 * 47, 2), 3.0))
