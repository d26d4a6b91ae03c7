"""Where a transformers encoder comes from, and what is said when it does not."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from recbole_mm.encoder import create_encoder
from recbole_mm.errors import InputError
from tests import hf_folders

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("hf_source")
    return {kind: getattr(hf_folders, f"write_{kind}")(root / kind) for kind in ("bert", "vit", "clip")}


@pytest.fixture()
def copy(originals, tmp_path):
    """``copy(kind)``: a folder to damage."""
    return lambda kind: shutil.copytree(originals[kind], tmp_path / kind)


def refuses(name, *words, **options):
    with pytest.raises(InputError) as caught:
        create_encoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def edit(path, **changes):
    hf_folders._json(path, {**json.loads(path.read_text()), **changes})


def test_what_a_folder_may_lack(copy, tmp_path):
    refuses(f"hf:{tmp_path / 'none'}", "no such folder", "none")
    refuses("hf:org/name/more", "neither a hub repository (org/name) nor a folder")
    for kind, file, words in (
        ("bert", "config.json", "holds no config.json"),
        ("vit", "preprocessor_config.json", "holds no preprocessor_config.json"),
        ("clip", "model.safetensors", "holds no weights: model.safetensors or pytorch_model.bin"),
    ):
        path = copy(kind)
        (path / file).unlink()
        refuses(f"hf:{path}", str(path), words)
    path = hf_folders.write_bert(tmp_path / "mute")
    for file in ("vocab.txt", "tokenizer_config.json"):  # without which transformers makes up a vocabulary of nothing
        (path / file).unlink()
        refuses(f"hf:{path}", f"the tokenizer in {path} cannot be loaded", "vocab.txt", "tokenizer.json")
    path = hf_folders.write_clip(tmp_path / "merges")
    (path / "merges.txt").unlink()
    refuses(f"hf:{path}", f"the tokenizer in {path} cannot be loaded", "tokenizer.json")


def test_a_config_of_something_else(copy):
    path = copy("bert") / "config.json"
    for changes, words in (
        ({"model_type": "bertt"}, ("no model_type 'bertt' (did you mean 'bert'?)", "newer transformers")),
        ({"model_type": None}, ("names no model_type",)),
        ({"model_type": "llava"}, ("a llava model does not give one row", "neither generative")),
        ({"model_type": "wav2vec2"}, ("a wav2vec2 model does not give one row", "audio")),
        ({"model_type": "bart"}, ("a bart model does not give one row",)),
        ({"model_type": "bert", "quantization_config": {"bits": 4}}, ("quantised",)),
    ):
        edit(path, **changes)
        refuses(f"hf:{path.parent}", *words)
    path.write_text("{")
    refuses(f"hf:{path.parent}", "config.json is not readable JSON")


def test_weights_that_do_not_fit(copy):
    path = copy("vit")
    weights = load_file(path / "model.safetensors")
    lost = [key for key in weights if "layernorm_before" in key] + ["pooler.dense.bias"]
    save_file({key: value for key, value in weights.items() if key not in lost}, path / "model.safetensors", {"format": "pt"})
    refuses(f"hf:{path}", "do not fit a vit model: 5 missing", "layernorm_before.bias")
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    edit(path / "config.json", hidden_size=64)
    refuses(f"hf:{path}", "do not fit a vit model", "of another shape: embeddings.cls_token (1, 1, 32) instead of (1, 1, 64)")
    path = copy("clip")
    edit(path / "preprocessor_config.json", crop_size={"height": 48, "width": 48})
    refuses(f"hf:{path}", "cannot encode a plain image")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_that_cannot_be_read(copy, tmp_path):
    path = copy("bert")
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refuses(f"hf:{path}", f"{path / 'model.safetensors'} is not a readable weights file")
    (path / "model.safetensors").unlink()
    for content in (pickle.dumps(Evil(str(tmp_path / "ran"))), b"no weights"):
        (path / "pytorch_model.bin").write_bytes(content)
        refuses(f"hf:{path}", "pytorch_model.bin is not a readable weights file")
    torch.save({"a": Evil(str(tmp_path / "ran"))}, path / "pytorch_model.bin")
    refuses(f"hf:{path}", "pytorch_model.bin is not a readable weights file")
    assert not (tmp_path / "ran").exists()
    hf_folders._json(path / "model.safetensors.index.json", {"weight_map": {"a": "model-00001-of-00001.safetensors"}})
    refuses(f"hf:{path}", "no such weights file", "model-00001-of-00001.safetensors")


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_in_torchs_own_format_and_half_precision(copy, originals, legacy):
    path = copy("bert")
    weights = {key: value.half() for key, value in load_file(path / "model.safetensors").items()}
    (path / "model.safetensors").unlink()
    torch.save(weights, path / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    edit(path / "config.json", dtype="float16", torch_dtype="float16")
    encoder, original = create_encoder(f"hf:{path}"), create_encoder(f"hf:{originals['bert']}")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    for mine, theirs in zip(encoder.parameters(), original.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("model_type", ["bert_of_ours", "bert"])
def test_code_in_a_folder_does_not_run_untrusted(copy, tmp_path, model_type):
    path = copy("bert")
    (path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    edit(path / "config.json", model_type=model_type, auto_map={"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"})
    if model_type == "bert":  # which transformers computes with its own code
        assert create_encoder(f"hf:{path}").output_dims == {"text": 32}
    else:
        refuses(f"hf:{path}", "Python code of its own", "set `trust_remote_code: True`")
    assert not (tmp_path / "ran").exists()


def test_code_in_a_folder_runs_when_trusted(copy, tmp_path, monkeypatch, in_new_process):
    path = copy("bert")
    (path / "theirs.py").write_text(
        "from transformers import BertConfig, BertModel\n"
        "class Config(BertConfig):\n    model_type = 'bert_of_ours'\n"
        "class Model(BertModel):\n    config_class = Config\n"
    )
    edit(path / "config.json", model_type="bert_of_ours", auto_map={"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"})
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    code = f"from recbole_mm.encoder import create_encoder as c; e = c('hf:{path}', trust_remote_code=True)"
    assert in_new_process(code + "; print(type(e.model).__module__, e.output_dims)").strip().endswith("theirs {'text': 32}")


def test_a_cached_repository_is_found_without_a_network(originals, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--tiny-clip"
    shutil.copytree(originals["clip"], repository / "snapshots" / SHA)
    for name in ("main", "v1"):
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / name).write_text(SHA)
    there = create_encoder(f"hf:{originals['clip']}").fingerprint()
    for name in ("hf:org/tiny-clip", "hf:org/tiny-clip@v1", f"hf:org/tiny-clip@{SHA}"):
        assert create_encoder(name).fingerprint() == there
    refuses("hf:org/tiny-clip@v2", "org/tiny-clip at revision v2 is not in the cache", "HF_HUB_OFFLINE")
    refuses("hf:org/other", "the hub repository org/other is not in the cache", "hf:/folder", "HF_HOME")


def test_nothing_is_printed_and_the_random_state_stays(originals, capfd, recwarn):
    state = torch.get_rng_state()
    encoders = [create_encoder(f"hf:{originals[kind]}", seed=seed) for seed, kind in enumerate(("vit", "bert", "clip"))]
    encoders[1].tokenize(["word " * 900])
    assert torch.equal(state, torch.get_rng_state())
    assert not recwarn.list and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("file,taken", [("model.safetensors", "model*.safetensors"), ("pytorch_model.bin", "pytorch_model*.bin")])
def test_only_what_is_needed_is_downloaded(originals, monkeypatch, file, taken):
    from contextlib import nullcontext
    from types import SimpleNamespace

    import huggingface_hub

    from recbole_mm.encoder.hf import source as hf_source

    asked = {}
    listing = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in (file, "tf_model.h5", "config.json")])
    monkeypatch.setattr(hf_source, "hub_access", lambda: nullcontext(True))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, repository, revision=None: listing)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *names, **options: asked.update(options) or str(originals["clip"]))
    assert create_encoder("hf:org/name@v3").aligned
    assert asked["revision"] == "v3" and [p for p in asked["allow_patterns"] if "model*" in p] == [taken]


def test_a_sentence_transformers_clip_lies_in_a_subfolder(originals, tmp_path):
    shutil.copytree(originals["clip"], tmp_path / "0_CLIPModel")
    hf_folders._json(tmp_path / "modules.json", [{"idx": 0, "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}])
    assert create_encoder(f"hf:{tmp_path}").fingerprint() == create_encoder(f"hf:{originals['clip']}").fingerprint()
