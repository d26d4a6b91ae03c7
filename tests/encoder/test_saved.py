"""Encoders in folders that stand alone: equal fingerprints and rows, from another place, without the files they came from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.saved import load_encoder, save_encoder
from recbole_mm.encoder.tuning.lora import merge_lora
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.errors import InputError
from tests import hf_folders
from tests.encoder.own import OwnEncoder


def sentence(folder: Path) -> str:
    return f"hf:{hf_folders.write_sentence_modules(hf_folders.write_bert(folder / 'sentence'), 'mean', dense=12)}"


def separate(folder: Path) -> str:
    return f"separate:image=vlmo:tiny,text=hf:{hf_folders.write_bert(folder / 'bert')}"


def text_tower(folder: Path) -> str:
    """open_clip's picture tower beside a text tower of transformers."""
    from open_clip import CustomTextCLIP

    tower = hf_folders.write_roberta(folder / "text_tower")
    config = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}}
    text = {"hf_model_name": "none/such", "hf_tokenizer_name": "none/such", "context_length": 16, "hf_pooler_type": "mean_pooler"}
    content = {"model_cfg": {**config, "text_cfg": text}, "preprocess_cfg": {"mean": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    for file in tower.glob("*token*"):
        shutil.copy(file, folder / file.name)
    with torch.random.fork_rng():
        built = CustomTextCLIP(**config, text_cfg={**text, "hf_model_name": str(tower), "hf_model_pretrained": False})
        torch.save(built.state_dict(), folder / "open_clip_model.pt")
    return f"open_clip:local-dir:{folder}"


NAMES = {
    "open_clip": lambda folder: "open_clip:tiny",
    "text_tower": text_tower,
    "hf": lambda folder: f"hf:{hf_folders.write_clip(folder / 'clip')}",
    "siglip": lambda folder: f"hf:{hf_folders.write_siglip(folder / 'siglip')}",
    "sentence": sentence,
    "vlmo": lambda folder: "vlmo:tiny",
    "beit3": lambda folder: "beit3:tiny",
    "separate": separate,
}


def rows_of(encoder: ItemEncoder) -> dict[str, torch.Tensor]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 60, 3), dtype=np.uint8))
    given = {}
    if "image" in encoder.modalities:
        given["image"] = encoder.preprocess_image(picture).unsqueeze(0)
    if "text" in encoder.modalities:
        given["text"] = encoder.tokenize(["a red wool scarf"])
    with torch.no_grad():
        return encoder(given | ({"joint": (given["image"], given["text"])} if "joint" in encoder.modalities else {}))


def moved(encoder: ItemEncoder, source: Path, folder: Path) -> ItemEncoder:
    """The encoder saved and loaded in another place, after everything that it came from is gone."""
    save_encoder(encoder, folder / "first")
    shutil.rmtree(source)
    (folder / "first").rename(folder / "second")
    for file in (folder / "second").rglob("*.json"):
        assert str(source.parent) not in file.read_text(), f"{file} names a place on this machine"
    return load_encoder(folder / "second")


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("tuning", ["none", "full", "lora", "adapter", "multiway"])
def test_a_saved_encoder_needs_nothing_else(kind, tuning, tmp_path):
    if kind == "text_tower" and tuning not in ("none", "full"):
        pytest.skip("the same as for the other towers of open_clip")
    if tuning == "multiway" and kind not in ("sentence", "beit3", "separate"):
        pytest.skip("kept as other adapters are")
    source = tmp_path / "source"
    source.mkdir()
    encoder = create_encoder(NAMES[kind](source), seed=3)
    if tuning != "none":
        tune(encoder, tuning, lora_rank=4, adapter_dim=8, multiway_dim=8)
        with torch.no_grad():
            for parameter in encoder.parameters():
                if parameter.requires_grad:
                    nn.init.normal_(parameter, std=0.1) if "lora_B" in kind or not parameter.any() else parameter.mul_(1.1)
    before, fingerprint = rows_of(encoder), encoder.fingerprint()
    back = moved(encoder, source, tmp_path)
    assert encoder.fingerprint() == fingerprint and not any(parameter.requires_grad for parameter in back.parameters())
    assert back.fingerprint() == (merge_lora(encoder).fingerprint() if tuning == "lora" else fingerprint)
    for modality, rows in rows_of(back).items():
        torch.testing.assert_close(rows, before[modality], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["vlmo", "beit3"])
def test_a_size_of_pictures_of_ones_own_is_kept(kind, tmp_path):
    encoder = create_encoder(f"{kind}:tiny", image_size=96)
    save_encoder(encoder, tmp_path / "saved")
    assert load_encoder(tmp_path / "saved").image_size == (96, 96)


def test_an_encoder_without_a_weights_file_is_not_saved(tmp_path):
    with pytest.raises(InputError, match="keep the checkpoint"):
        save_encoder(OwnEncoder(), tmp_path / "own")


def test_a_folder_without_an_encoder_or_with_another_is_one_line(tmp_path):
    with pytest.raises(InputError, match="holds no readable encoder"):
        load_encoder(tmp_path)
    for name, seed in (("one", 0), ("two", 1)):
        save_encoder(create_encoder("open_clip:tiny", seed=seed), tmp_path / name)
    shutil.copy(tmp_path / "two" / "open_clip_model.safetensors", tmp_path / "one")
    with pytest.raises(InputError, match="is not the encoder that was saved there"):
        load_encoder(tmp_path / "one")


CHANGES = [{"name": "hf:org/name"}, {"name": "x:{folder}"}, {"options": None}, {"options": {"trust_remote_code": True}}]


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_reads_nothing_but_its_own_files_and_runs_no_code(change, tmp_path):
    save_encoder(create_encoder("open_clip:tiny"), tmp_path)
    record = json.loads((tmp_path / "encoder.json").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(InputError):
        load_encoder(tmp_path)
