"""transformers' text encoders and sentence embedders."""

import pytest
import torch
from safetensors.torch import load_file

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.hf.sentence import pool
from recbole_mm.errors import InputError
from tests import hf_folders

TEXTS = ["a red wool scarf", "boots", "", "the very blue shirt of the shop " * 20]
KINDS = ["bert", "distilbert", "roberta", "qwen", "clip", "siglip"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("hf_text")
    return {kind: getattr(hf_folders, f"write_{kind}")(root / kind) for kind in KINDS}


def rows_of(encoder, texts):
    with torch.no_grad():
        return encoder({"text": encoder.tokenize(texts)})["text"]


def hidden_of(folder, texts, length):
    """(hidden states, mask), by transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    given = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    given.pop("token_type_ids", None)
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).eval()(**given).last_hidden_state, given["attention_mask"].bool()


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_a_text_encoder_averages_its_tokens(folders, kind):
    encoder = create_encoder(f"hf:{folders[kind]}")
    hidden, mask = hidden_of(folders[kind], TEXTS, 32)
    expected = torch.stack([states[here].mean(0) for states, here in zip(hidden, mask, strict=True)])
    torch.testing.assert_close(rows_of(encoder, TEXTS), expected, rtol=1e-4, atol=1e-5)
    assert encoder.modalities == ("text",) and encoder.output_dims == {"text": 32} and len(encoder.layers()) == 2
    assert not any("pooler" in name for name in encoder.state_dict()) and encoder.geometry() == {} and encoder.image_size is None
    with pytest.raises(InputError, match="does not read pictures"):
        encoder.preprocess_image(None)


@pytest.mark.parametrize("kind,length", [("bert", 32), ("distilbert", 32), ("roberta", 32), ("qwen", 24), ("clip", 24), ("siglip", 16)])
def test_texts_are_cut_by_token(folders, kind, length):
    encoder = create_encoder(f"hf:{folders[kind]}")
    ids = encoder.tokenize(["red " * 10_000])
    assert ids.shape == (1, length) and ids.dtype == torch.int64
    tokenizer = encoder.tokens.tokenizer
    cut = tokenizer.decode(ids[0], skip_special_tokens=True)
    torch.testing.assert_close(rows_of(encoder, [cut]), rows_of(encoder, ["red " * 10_000]))
    end = tokenizer("a").input_ids[-1]
    assert ids[0, -1] == end and encoder.tokenize([]).shape == (0, length if kind == "siglip" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_texts_one_by_one(folders, kind):
    encoder = create_encoder(f"hf:{folders[kind]}")
    texts = [*TEXTS, "word", "café ☕ 北京", "&amp;"]
    whole = rows_of(encoder, texts)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(whole, torch.cat([rows_of(encoder, [text]) for text in texts]), rtol=1e-4, atol=1e-5)
    wide = torch.nn.functional.pad(encoder.tokenize(texts[:3]), (0, 0 if kind == "siglip" else 7), value=encoder.pad_id)
    with torch.no_grad():
        torch.testing.assert_close(encoder({"text": wide})["text"], whole[:3], rtol=1e-4, atol=1e-5)


def test_the_end_token_that_also_pads_is_read(folders):
    tokens = create_encoder(f"hf:{folders['clip']}").tokens
    ids, mask = tokens.read(tokens(["red", "red red red red"]))
    assert tokens.ends_with_pad and ids.shape[1] == 6
    assert mask.tolist() == [[True] * 3 + [False] * 3, [True] * 6] and ids[0].tolist()[2:] == [tokens.pad_id] * 4
    tokens = create_encoder(f"hf:{folders['bert']}").tokens
    assert not tokens.ends_with_pad and tokens.read(tokens(["red", "red red"]))[1].tolist() == [[True] * 3 + [False], [True] * 4]


@pytest.mark.parametrize("pooling", [("mean",), ("cls",), ("max",), ("cls", "mean"), ("max", "cls")])
def test_pooling_is_as_sentence_transformers_says(tmp_path, pooling):
    path = hf_folders.write_sentence_modules(hf_folders.write_bert(tmp_path / "s"), *pooling, max_seq_length=12)
    encoder = create_encoder(f"hf:{path}")
    hidden, mask = hidden_of(path, TEXTS, 12)
    made = {
        "cls": hidden[:, 0],
        "mean": torch.stack([states[here].mean(0) for states, here in zip(hidden, mask, strict=True)]),
        "max": torch.stack([states[here].max(0).values for states, here in zip(hidden, mask, strict=True)]),
    }
    expected = torch.cat([made[mode] for mode in ("cls", "max", "mean") if mode in pooling], dim=1)
    torch.testing.assert_close(rows_of(encoder, TEXTS), expected, rtol=1e-4, atol=1e-5)
    assert encoder.tokenize(TEXTS).shape[1] == 12


def test_a_dense_layer_after_the_pooling(tmp_path):
    path = hf_folders.write_sentence_modules(hf_folders.write_bert(tmp_path / "s"), "cls", dense=8)
    encoder = create_encoder(f"hf:{path}")
    weights = load_file(path / "2_Dense" / "model.safetensors")
    expected = torch.tanh(hidden_of(path, TEXTS, 32)[0][:, 0] @ weights["linear.weight"].T + weights["linear.bias"])
    torch.testing.assert_close(rows_of(encoder, TEXTS), expected, rtol=1e-4, atol=1e-5)
    assert encoder.output_dims == {"text": 8} and encoder.head() == ["dense.0.0.weight", "dense.0.0.bias"]
    encoder.train()({"text": encoder.tokenize(TEXTS)})["text"].sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_a_decoder_pools_its_last_token(folders):
    hidden, mask = hidden_of(folders["qwen"], TEXTS[:2], 24)
    expected = torch.stack([states[here][-1] for states, here in zip(hidden, mask, strict=True)])
    encoder = create_encoder(f"hf:{folders['qwen']}")
    torch.testing.assert_close(rows_of(encoder, TEXTS[:2]), expected, rtol=1e-4, atol=1e-5)


def test_other_poolings():
    hidden, mask = torch.arange(12.0).view(1, 4, 3), torch.tensor([[True, True, True, False]])
    assert pool(hidden, mask, ("mean_sqrt_len_tokens",))[0, 0].item() == pytest.approx(9 / 3**0.5)
    assert pool(hidden, mask, ("weightedmean",))[0, 0].item() == pytest.approx((0 + 2 * 3 + 3 * 6) / 6)
    assert pool(hidden, mask, ("lasttoken", "cls")).tolist() == [[6, 7, 8, 0, 1, 2]]


def test_prompts_case_and_newer_pooling_files(tmp_path):
    path = hf_folders.write_sentence_modules(hf_folders.write_bert(tmp_path / "s"), "mean")
    plain = create_encoder(f"hf:{path}")
    hf_folders._json(path / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "cls"})
    hf_folders._json(path / "config_sentence_transformers.json", {"prompts": {"item": "red "}, "default_prompt_name": "item"})
    prompted = create_encoder(f"hf:{path}")
    assert prompted.pooling == ("cls",) and torch.equal(prompted.tokenize(["shirt"]), plain.tokenize(["red shirt"]))
    assert prompted.fingerprint() != plain.fingerprint()


@pytest.mark.parametrize("changes,words", [
    ({"1_Pooling/config.json": {"pooling_mode": "attention"}}, ("pools by attention", "lasttoken")),
    ({"1_Pooling/config.json": {"pooling_mode": "mean", "include_prompt": False}}, ("include_prompt",)),
    ({"2_Dense/config.json": {"in_features": 32, "out_features": 8, "activation_function": "os.system"}}, ("activation_function system",)),
    ({"2_Dense/config.json": {"in_features": 31, "out_features": 8}}, ("does not fit", "weight (8, 32) instead of (8, 31)")),
    ({"modules.json": [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"},
                       {"type": "a.Normalize", "path": "3"}, {"type": "a.Dense", "path": "2_Dense"}]}, ("Normalize, Dense",)),
    ({"modules.json": [{"type": "a.Transformer", "path": ""}, {"type": "a.LSTM", "path": "1"}]}, ("Transformer, LSTM",)),
])  # fmt: skip
def test_sentence_files_that_are_not_supported(tmp_path, changes, words):
    path = hf_folders.write_sentence_modules(hf_folders.write_bert(tmp_path / "s"), "mean", dense=8)
    for name, content in changes.items():
        hf_folders._json(path / name, content)
    with pytest.raises(InputError) as caught:
        create_encoder(f"hf:{path}")
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)
