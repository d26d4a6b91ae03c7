"""The heads of matching and masked language modelling: from the weights, or drawn; never part of the encoder."""

import pytest
import torch
from safetensors.torch import save_file

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.vlmo import VLMo, VLMoConfig

ENCODERS = ("vlmo:tiny", "beit3:tiny")


def states(encoder):
    return [part.state_dict() for part in encoder.pretraining_heads[:2]]


def equal(left, right):
    pairs = zip(left, right, strict=True)
    return all(one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one) for one, other in pairs)


@pytest.mark.parametrize("name", ENCODERS)
def test_they_are_no_part_of_the_encoder(name):
    plain, state = create_encoder(name), torch.get_rng_state()
    with_heads = create_encoder(name, pretraining_heads=True)
    assert torch.equal(state, torch.get_rng_state()), "heads are drawn apart"
    assert plain.pretraining_heads is None and with_heads.pretraining_heads.drawn == {"match", "words"}
    assert with_heads.fingerprint() == plain.fingerprint() and with_heads.state_dict().keys() == plain.state_dict().keys()
    assert equal(states(with_heads), states(create_encoder(name, pretraining_heads=True)))
    assert not equal(states(with_heads), states(create_encoder(name, seed=5, pretraining_heads=True)))


@pytest.mark.parametrize("name", ENCODERS)
def test_they_fit_the_joint_pass(name):
    encoder = create_encoder(name, pretraining_heads=True)
    pixels, tokens = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8), encoder.tokenize(["a red coat", "boots", ""])
    rows, words = encoder.read_pairs(pixels, tokens)
    torch.testing.assert_close(rows, encoder({"joint": (pixels, tokens)})["joint"])
    assert encoder.pretraining_heads.match(rows).shape == (3, 2)
    assert encoder.pretraining_heads.words(words).shape == (*tokens.shape, encoder.model.config.vocab_size)
    changed = tokens.clone()
    changed[0, 1] += 1
    moved = (encoder.read_pairs(pixels, changed)[1] != words).any(-1)
    assert moved[0, 1] and not moved[1:].any(), "they are the texts' tokens, each item's its own"
    difference = (encoder.read_pairs(pixels, changed)[1] - words)[0].norm(dim=-1)
    assert int(difference.argmax()) == 1, "in the order of the texts"


@pytest.mark.parametrize("name", ENCODERS)
def test_the_mask_is_a_token_that_no_text_has(name):
    tokenizer = create_encoder(name).tokenizer
    ids = tokenizer(["a red coat [MASK] <mask> <unk>", "北京", "\u2603 ..."])
    assert tokenizer.mask_id not in ids.tolist() and not (ids == tokenizer.mask_id).any()
    assert set(tokenizer.special_ids) <= set(ids.flatten().tolist()) and tokenizer.mask_id < create_encoder(name).model.config.vocab_size


def test_vlmos_come_from_a_pretraining_checkpoint(tmp_path):
    torch.manual_seed(3)
    model = VLMo(VLMoConfig.named("tiny"))
    save_file(model.state_dict(), tmp_path / "with.safetensors")
    encoder = create_encoder(f"vlmo:tiny@{tmp_path / 'with.safetensors'}", pretraining_heads=True)
    assert not encoder.pretraining_heads.drawn
    assert equal(states(encoder), [model.itm_score.state_dict(), model.mlm_score.state_dict()])
    model.drop_pretraining_heads()
    save_file(model.state_dict(), tmp_path / "without.safetensors")
    bare = create_encoder(f"vlmo:tiny@{tmp_path / 'without.safetensors'}", pretraining_heads=True)
    assert bare.pretraining_heads.drawn == {"match", "words"} and bare.fingerprint() == encoder.fingerprint()
    spread = bare.pretraining_heads.words.decoder.weight.std()
    assert 0.019 < spread.item() < 0.021 and (bare.pretraining_heads.match.fc.bias == 0).all()


def test_beit3s_word_head_comes_from_a_plain_checkpoint(tmp_path):
    encoder = create_encoder("beit3:tiny")
    state = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    own = {"weight": torch.randn(4001, 128), "bias": torch.randn(4001)}
    save_file({**state, **{f"mlm_head.{name}": tensor for name, tensor in own.items()}}, tmp_path / "with.safetensors")
    loaded = create_encoder(f"beit3:tiny@{tmp_path / 'with.safetensors'}", pretraining_heads=True).pretraining_heads
    assert loaded.drawn == {"match"} and equal([loaded.words.state_dict()], [own])
    save_file({**state, "mlm_head.weight": torch.randn(7, 128)}, tmp_path / "other.safetensors")
    odd = create_encoder(f"beit3:tiny@{tmp_path / 'other.safetensors'}", pretraining_heads=True)
    assert odd.pretraining_heads.drawn == {"match", "words"}
