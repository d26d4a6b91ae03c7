"""The last block for one position alone: the rows and gradients of the whole block."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.one_query import Keys, attend_once
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.testing.odd_items import inputs_of


def gradients(encoder, rows) -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    (rows * torch.linspace(-1, 1, rows.shape[1], dtype=rows.dtype)).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 1e-6)}


def same(encoder, found, wanted) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients(encoder, found), gradients(encoder, wanted), rtol=1e-8, atol=1e-10)


def test_attention_of_one_query_is_a_row_of_attention():
    generator = torch.Generator().manual_seed(0)
    n, heads, size, lengths = 3, 4, 5, (6, 2)
    drawn = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    query, bias = drawn(n, heads, size), drawn(n, heads, sum(lengths))
    bias[0, :, 3] = -torch.inf
    parts = [Keys(drawn(n, length, 7), *(drawn(heads * size, *rest) for rest in ((7,), (), (7,), ()))) for length in lengths]
    keys, values = (
        torch.cat([F.linear(part.tokens, *maps(part)) for part in parts], 1).unflatten(-1, (heads, size)).transpose(1, 2)
        for maps in (lambda part: part[1:3], lambda part: part[3:5])
    )
    wanted = F.scaled_dot_product_attention(query.unsqueeze(2), keys, values, attn_mask=bias.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(attend_once(query, parts, bias), wanted, rtol=1e-12, atol=1e-12)
    unbiased = [part._replace(key_bias=None, value_bias=None) for part in parts]
    zeros = [part._replace(key_bias=torch.zeros_like(part.key_bias), value_bias=torch.zeros_like(part.value_bias)) for part in parts]
    torch.testing.assert_close(attend_once(query, unbiased), attend_once(query, zeros), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lora", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointing"])
@pytest.mark.parametrize("kind", ["vlmo", "beit3"])
def test_multiway_encoders_give_the_rows_of_all_their_tokens(kind, checkpointing, lora):
    encoder = create_encoder(f"{kind}:tiny", seed=1, gradient_checkpointing=checkpointing).double().train()
    model = encoder.model
    if lora:
        tune(encoder, "lora")
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "position_bias_table" in name or "lora_B" in name or "gamma" in name or name.endswith(".bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    pixels, ids = inputs_of(encoder)["joint"]
    pixels, ids = encoder.normalise(pixels, torch.float64), encoder.shorten(ids, encoder.pad_id)
    mask = ids != encoder.pad_id
    assert not mask.all()
    same(encoder, model.encode_cls(pixels, None, None), model.encode_image(pixels).features[:, 0])
    same(encoder, model.encode_cls(None, ids, mask), model.encode_text(ids, mask).features[:, 0])
    same(encoder, model.encode_cls(pixels, ids, mask), model.encode_joint(pixels, ids, mask).features[:, 0])


def test_vlmo_with_its_vision_language_experts_left_out():
    """Before the vision-language experts begin, a joint pass's first token is read by the text expert."""
    encoder = create_encoder("vlmo:tiny", seed=1).double()
    del encoder.model.transformer.blocks[3]
    encoder.model.config = replace(encoder.model.config, depth=3)
    encoder.model.relative_position_bias_table = torch.nn.Parameter(encoder.model.relative_position_bias_table[:, :12])
    pixels, ids = inputs_of(encoder)["joint"]
    pixels, mask = encoder.normalise(pixels, torch.float64), ids != encoder.pad_id
    same(encoder, encoder.model.encode_cls(pixels, ids, mask), encoder.model.encode_joint(pixels, ids, mask).features[:, 0])


@pytest.mark.parametrize("tuning", ["full", "lora", "adapter", "multiway"])
@pytest.mark.parametrize(
    "text", [{}, {"pool_type": "first"}, {"pool_type": "last"}, {"pool_type": "eos", "eos_id": 49407}, {"no_causal_mask": True}], ids=str
)
@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
def test_open_clips_towers_give_their_own_rows(custom, text, tuning, small_config, tmp_path, batch):
    from recbole_mm.encoder.open_clip.block import PooledBlock
    from tests.encoder.open_clip.test_open_clip_encoder import model_of, write_folder

    config = {**small_config, "text_cfg": {**small_config["text_cfg"], **text, "layers": 2}, "custom_text": custom}
    encoder = create_encoder(f"open_clip:local-dir:{write_folder(tmp_path / 'folder', config, model_of(config))}").double()
    tune(encoder, tuning, lora_rank=2, adapter_dim=4, multiway_dim=4)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name or "adapters" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    assert [type(tower[-1]) for tower in encoder.towers()] == [PooledBlock] * 2
    inputs = batch(encoder)
    rows = encoder(inputs)
    same(encoder, rows["image"], encoder.model.encode_image(encoder.normalise(inputs["image"], torch.float64)))
    same(encoder, encoder(inputs)["text"], encoder.model.encode_text(inputs["text"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_cfg": {"pool_type": "avg"}},
        {"vision_cfg": {"attentional_pool": True}},
        {"vision_cfg": {"qk_norm": True}},
        {"text_cfg": {"embed_cls": True}, "custom_text": True},
    ],
    ids=str,
)
def test_towers_that_need_every_position_compute_it(changes, small_config, tmp_path, batch):
    from tests.encoder.open_clip.test_open_clip_encoder import model_of, write_folder

    changed = {key: {**small_config[key], **value} if isinstance(value, dict) else value for key, value in changes.items()}
    config = {**small_config, **changed}
    encoder = create_encoder(f"open_clip:local-dir:{write_folder(tmp_path / 'folder', config, model_of(config))}").double()
    inputs = batch(encoder)
    pixels = encoder.normalise(inputs["image"], torch.float64)
    same(encoder, encoder(inputs)["image"], encoder.model.encode_image(pixels))
    same(encoder, encoder(inputs)["text"], encoder.model.encode_text(inputs["text"]))
