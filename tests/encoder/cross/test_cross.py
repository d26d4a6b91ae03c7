"""Tokens are those that enter the last block, and cross-attention over them is its equations."""

import pytest
import torch
from torch.nn import functional

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.cross.attention import CrossAttention
from recbole_mm.encoder.cross.token_states import Tokens, TokenStates
from recbole_mm.encoder.hooks import hidden_of, hooked
from recbole_mm.encoder.probe import probe_inputs
from tests.hf_folders import write_naflex, write_resnet
from tests.st_folders import write_vl

KINDS = ("open_clip", "vlmo", "beit3", "hf", "separate", "naflex", "st")


@pytest.fixture(scope="module")
def names(shelf, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("cross")
    return {**shelf, "naflex": f"hf:{write_naflex(folder / 'naflex')}", "st": f"st:{write_vl(folder / 'vl')}"}


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_what_the_block_before_the_last_gives_and_padding_is_none(kind, names):
    encoder = create_encoder(names[kind], seed=1)
    states = TokenStates(encoder, PAIR)
    for m in PAIR:
        inputs, passed = probe_inputs(encoder, m), []
        with hooked(encoder.layers(), lambda block, args, output, passed=passed: passed.append(hidden_of(output))):
            rows, tokens = states.with_rows(m, inputs)
        assert torch.equal(rows, encoder({m: inputs})[m])
        if kind != "st":  # Qwen3-VL adds to what a block gives before the next one
            assert torch.equal(tokens.states, passed[-2][:, : tokens.states.shape[1]])
        assert tokens.states.shape[2] == states.widths[m]
        alone = [states.with_rows(m, one)[1] for one in inputs.split(1)]
        lengths = tokens.mask.sum(1).tolist()
        assert lengths == [one.states.shape[1] for one in alone] and max(lengths) == tokens.states.shape[1]
        assert m == "image" or len(set(lengths)) == 3
        for states_of, length, one in zip(tokens.states, lengths, alone, strict=True):
            torch.testing.assert_close(states_of[:length], one.states[0], rtol=1e-3, atol=1e-4)


def test_a_convolutional_network_has_a_token_per_place_and_an_empty_text_has_one(tmp_path, names):
    encoder = create_encoder(f"hf:{write_resnet(tmp_path / 'resnet')}")
    hidden = torch.randn(2, 5, 3, 4)
    states, mask = encoder.token_states("image", hidden, probe_inputs(encoder, "image", n=2))
    assert states.shape == (2, 12, 5) and torch.equal(states[1, 6], hidden[1, :, 1, 2]) and bool(mask.all())
    encoder.channels_last = True
    assert torch.equal(encoder.token_states("image", hidden.permute(0, 2, 3, 1), probe_inputs(encoder, "image", n=2))[0], states)
    for kind in KINDS:
        encoder = create_encoder(names[kind], seed=1)
        assert bool(TokenStates(encoder, ["text"]).with_rows("text", encoder.tokenize(["", "boots"]))[1].mask[0].any())


def drawn(lengths: dict[str, list[int]]) -> dict[str, Tokens]:
    made = {}
    for m, counts in lengths.items():
        mask = torch.arange(max(counts)).unsqueeze(0) < torch.tensor(counts).unsqueeze(1)
        made[m] = Tokens(torch.randn(len(counts), max(counts), {"image": 5, "text": 3}[m], dtype=torch.float64), mask)
    return made


def test_cross_attention_is_its_equations_for_every_token_by_itself():
    torch.manual_seed(0)
    attention, tokens = CrossAttention({"image": 5, "text": 3}, 8).double(), drawn({"image": [4, 4], "text": [3, 1]})
    rows = attention(tokens)
    assert rows.shape == (2, 16) == (2, attention.width)
    for i in range(2):
        x = {m: attention.into[m](tokens[m].states[i, tokens[m].mask[i]]) for m in PAIR}
        for side, (own, other) in enumerate((PAIR, PAIR[::-1])):
            block, read = attention.blocks[own], []
            keys, values = block.key_value(x[other]).chunk(2, 1)
            for token in x[own]:
                heads = []
                for h in range(block.heads):
                    of = slice(h * 8 // block.heads, (h + 1) * 8 // block.heads)
                    weights = torch.softmax(keys[:, of] @ block.query(token)[of] / (8 / block.heads) ** 0.5, 0)
                    heads.append(weights @ values[:, of])
                hidden = token + block.out(torch.cat(heads))
                read.append(hidden + block.mlp(hidden))
            torch.testing.assert_close(rows[i, 8 * side : 8 * side + 8], torch.stack(read).mean(0))


def test_padding_and_packing_change_nothing():
    torch.manual_seed(0)
    attention, tokens = CrossAttention({"image": 5, "text": 3}, 6).double(), drawn({"image": [4, 2], "text": [3, 1]})
    longer = {m: Tokens.unpacked(functional.pad(t.packed(), (0, 0, 0, 2))) for m, t in tokens.items()}
    torch.testing.assert_close(attention(longer), attention(tokens))
    torch.testing.assert_close(attention({m: t.of(torch.tensor([1])) for m, t in tokens.items()}), attention(tokens)[1:])


def test_weights_come_from_the_seed_alone():
    before = torch.get_rng_state()
    one, same, other = (CrossAttention({"image": 5, "text": 3}, 8, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one) and not all(torch.equal(one[name], other[name]) for name in one)
