"""SigLIP2 was trained on lower-case texts of 64 tokens: every backend that loads it makes such of any text."""

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch

from recbole_mm.encoder import beit3, create_encoder
from recbole_mm.encoder.hf.text import HfTokens, load_tokenizer, wants_lower_case
from recbole_mm.encoder.open_clip.load import build_tokenizer
from recbole_mm.encoder.open_clip.source import Source, find_source
from recbole_mm.encoder.patches import stack_pictures
from recbole_mm.testing.odd_items import noise
from tests.hf_folders import write_gemma_tokenizer, write_naflex, write_siglip, write_siglip2

SHOUTED = ["Red WOOL Scarf", "ÉTÉ", "A"]
SAID = [text.lower() for text in SHOUTED]
OPEN_CLIP = [name for name in open_clip.list_models() if "SigLIP2" in name]


@pytest.mark.parametrize("write", [write_siglip2, write_naflex])
def test_hf(tmp_path, write):
    folder = write(tmp_path / "model")
    encoder = create_encoder(f"hf:{folder}")
    assert "gemma" in json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"].lower()
    ids = encoder.tokenize(SHOUTED)
    assert ids.shape == (3, 64) and torch.equal(ids, encoder.tokenize(SAID))
    assert not torch.equal(ids[0], encoder.tokenize(["blue wool scarf"])[0])
    assert ids[2].tolist() == [encoder.tokens.tokenizer.convert_tokens_to_ids("a"), 1] + [0] * 62, "one word, the end, padding"
    pair = create_encoder(f"separate:image=hf:{folder},text=hf:{folder}")
    assert torch.equal(pair.tokenize(SHOUTED), ids)


@pytest.mark.parametrize("write", [write_siglip2, write_naflex])
@torch.no_grad()
def test_st_gives_the_rows_of_hf(tmp_path, write):
    folder = write(tmp_path / "model")
    ours, theirs = (create_encoder(f"{backend}:{folder}") for backend in ("st", "hf"))
    rows = {encoder: encoder({"text": encoder.tokenize(texts)})["text"] for encoder, texts in ((ours, SHOUTED), (theirs, SAID))}
    torch.testing.assert_close(rows[ours], rows[theirs], rtol=1e-5, atol=1e-5)
    pictures = stack_pictures([theirs.preprocess_image(noise(*size)) for size in ((60, 90), (200, 33))])
    assert ours.preprocess_key == theirs.preprocess_key
    torch.testing.assert_close(ours({"image": pictures}), theirs({"image": pictures}), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lower", [True, False])
def test_hf_leaves_siglip_1_as_its_tokenizer_says(tmp_path, lower):
    """Released ones say do_lower_case."""
    shutil.copy(Path(beit3.__file__).with_name("tiny.spm"), tmp_path / "spiece.model")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    settings = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": lower, "model_max_length": 64}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer("hf:siglip", tmp_path, False)
    tokens = HfTokens("hf:siglip", tokenizer, 64, fixed=True, lower=wants_lower_case("siglip", tokenizer))
    assert torch.equal(tokens(SHOUTED), tokens(SAID)) == lower


def test_hf_leaves_a_siglip_1_that_keeps_the_case(tmp_path):
    encoder = create_encoder(f"hf:{write_siglip(tmp_path / 'model')}")
    assert not torch.equal(encoder.tokenize(SHOUTED), encoder.tokenize(SAID))


@pytest.fixture()
def gemma(tmp_path, monkeypatch) -> Path:
    """A folder with Gemma's tokenizer, which also stands for every repository of the hub."""
    from transformers import AutoTokenizer

    write_gemma_tokenizer(tmp_path / "gemma")
    load = AutoTokenizer.from_pretrained
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: load(tmp_path / "gemma"))
    return tmp_path / "gemma"


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_open_clip(name, gemma):
    tokenizer = build_tokenizer(Source(name, open_clip.get_model_config(name), {}, None, name))
    ids = tokenizer(SHOUTED)
    assert ids.shape == (3, 64) and torch.equal(ids, tokenizer(SAID)) and len(ids.unique(dim=0)) == 3


def test_a_folder_of_open_clip(gemma):
    (gemma / "open_clip_config.json").write_text(json.dumps({"model_cfg": open_clip.get_model_config(OPEN_CLIP[0])}))
    (gemma / "open_clip_model.safetensors").touch()
    tokenizer = build_tokenizer(find_source(f"local-dir:{gemma}", None))
    assert torch.equal(tokenizer(SHOUTED), tokenizer(SAID)) and tokenizer(SAID).shape == (3, 64)
