"""Every kind of released file is taken, and no other."""

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder.beit3 import BEiT3, BEiT3Config
from recbole_mm.errors import InputError

A, B = "beit3.encoder.embed_positions.A.weight", "beit3.encoder.embed_positions.B.weight"


def without(state, *prefixes):
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def test_wrappers_and_half_precision(oracle, build):
    plain = build(oracle.state).state_dict()
    wrapped = {"epoch": 3, "model": {f"module.{key}": value for key, value in oracle.state.items()}}
    for key, value in build(wrapped).state_dict().items():
        assert torch.equal(value, plain[key])
    half = build({key: value.half() for key, value in oracle.state.items()}).state_dict()
    assert all(value.dtype == torch.float32 for value in half.values())
    assert torch.equal(half[B], plain[B].half().float())


def test_its_own_state_dict_comes_back(oracle, build):
    model = build(oracle.state)
    again = build(model.state_dict())
    assert again.config == model.config and again.config.max_positions == 24 and again.config.pooler
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_module_without_memory_takes_weights(oracle, build):
    with torch.device("meta"):
        model = BEiT3(BEiT3Config(embed_dim=64, depth=3, num_heads=4, image_size=32, patch_size=8, vocab_size=100, max_text_len=12))
    model.load_released_state_dict(oracle.state)
    expected = build(oracle.state).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("size", [16, 48])
def test_another_resolution(oracle, build, size):
    model = build(oracle.state, image_size=size)
    table, side = model.state_dict()[A], size // 8
    assert table.shape == (side * side + 3, 64) and torch.equal(table[:3], oracle.state[A][:3])
    grid = oracle.state[A][3:].T.reshape(1, 64, 4, 4)
    expected = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(table[3:].T.reshape(64, side, side), expected)
    with torch.no_grad():
        assert model.encode_image(torch.zeros(1, 3, size, size)).features.shape == (1, side * side + 1, 64)


def test_a_plain_pretrained_file_has_no_projections(oracle, build):
    heads = {"mlm_head.weight": torch.zeros(100, 64), "mlm_head.bias": torch.zeros(100), "mim_head.weight": torch.zeros(9, 64)}
    state = without(oracle.state, "pooler.", "language_head.", "vision_head.", "logit_scale")
    model = build({"model": {**state, **heads}})
    assert not model.config.heads and set(model.state_dict()) == {*state, "logit_scale"}
    assert model.logit_scale.item() == pytest.approx(2.6593, abs=1e-4)
    with torch.no_grad():
        image = model.encode_image(oracle.pixels)
    torch.testing.assert_close(image.cls_feats, F.normalize(oracle.out["image.encoder_out"][:, 0], dim=-1), rtol=0, atol=5e-6)


def test_a_file_of_another_task_loses_its_head(oracle, build):
    state = without(oracle.state, "language_head.", "vision_head.", "logit_scale")
    assert build({**state, "head.0.weight": torch.zeros(9, 64)}).config.pooler


def test_a_shorter_text_table_limits_the_texts(oracle, build):
    model = build({**oracle.state, B: oracle.state[B][:10]})
    assert (model.config.max_positions, model.config.max_text_len) == (10, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: without(state, "language_head."), ["1 missing: language_head.weight"]),
        (lambda state: without(state, "logit_scale"), ["1 missing: logit_scale"]),
        (lambda state: {**state, "extra": torch.zeros(1)}, ["1 unexpected: extra"]),
        (lambda state: {**state, "beit3.text_embed.weight": torch.zeros(99, 64)}, ["text_embed.weight (99, 64) instead of (100, 64)"]),
        (lambda state: {**state, A: torch.zeros(21, 64)}, ["(21, 64)", "square grid"]),
        (lambda state: {"visual.proj": torch.zeros(2)}, ["missing: ", "and 124 more", "unexpected: visual.proj"]),
        (lambda state: {"model": {"epoch": 3}}, ["no tensors"]),
        (lambda state: without(state, "beit3.encoder.layers.2."), ["missing: beit3.encoder.layers.2.self_attn"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_listed_and_changes_nothing(oracle, build, change, words):
    model = build(oracle.state)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        model.load_released_state_dict(change(dict(oracle.state)))
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()) and model.config.pooler


def test_sizes_that_do_not_go_together():
    for changes, words in [
        ({"image_size": 65}, "image_size 65 is not a multiple of the patch size 16"),
        ({"num_heads": 7}, "not a multiple of num_heads 7"),
        ({"depth": 0}, "depth is a positive integer, not 0"),
        ({"image_size": "64"}, "image_size is a positive integer, not '64'"),
        ({"max_positions": 20}, "max_text_len 32"),
    ]:
        with pytest.raises(InputError, match=words):
            BEiT3Config.named("tiny", **changes)
    with pytest.raises(InputError, match=r"no size 'bas' \(did you mean 'base'\?\); its sizes: base, large, tiny"):
        BEiT3Config.named("bas")
