"""Where a timm encoder comes from, and what is said when it does not."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.export import export_weights
from recbole_mm.encoder.factory import check_name
from recbole_mm.encoder.timm import TimmEncoder
from recbole_mm.errors import InputError
from tests.hf_folders import write_bert
from tests.timm_folders import write_timm

NAME = "test_efficientnet"
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture()
def folder(folders, tmp_path) -> Path:
    """One to damage."""
    return shutil.copytree(folders[NAME], tmp_path / "folder")


def refuses(name: str, *words: str, **options) -> None:
    with pytest.raises(InputError) as caught:
        create_encoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def edit(path: Path, **changes) -> None:
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_folders_and_files_give_the_same_encoder_under_every_name(folder):
    encoder = create_encoder(f"timm:{NAME}@{folder}")
    edit(folder / "config.json", model_type="timm_wrapper", architectures=["TimmWrapperForImageClassification"], torch_dtype="float32")
    wrapped = {f"timm_model.{key}": value for key, value in load_file(folder / "model.safetensors").items()}
    for name in (f"timm:{NAME}.r160_in1k@{folder}", f"timm:{NAME}@{folder}/model.safetensors", f"hf:{folder}"):
        check_name(name)
        again = create_encoder(name)
        assert isinstance(again, TimmEncoder) and again.name == name and again.fingerprint() == encoder.fingerprint()
    save_file(wrapped, folder / "model.safetensors")
    assert create_encoder(f"hf:{folder}").fingerprint() == encoder.fingerprint()
    torch.save({"state_dict": {key.removeprefix("timm_model."): value for key, value in wrapped.items()}}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert create_encoder(f"hf:{folder}").fingerprint() == encoder.fingerprint()


def test_an_old_repository_has_its_configuration_in_one_dictionary(folder):
    fingerprint = create_encoder(f"timm:{NAME}@{folder}").fingerprint()
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"architecture": NAME, **content["pretrained_cfg"]}))
    assert create_encoder(f"timm:{NAME}@{folder}").fingerprint() == fingerprint


def test_a_file_alone_is_prepared_for_as_its_tag(folder, tmp_path, caplog):
    file = shutil.copy(folder / "model.safetensors", tmp_path / "weights.safetensors")
    encoder = create_encoder(f"timm:{NAME}@{file}")
    assert encoder.image_size == (160, 160) and encoder.image_mean == (0.485, 0.456, 0.406) and not caplog.records
    assert create_encoder(f"timm:{NAME}.r160_in1k@{file}").fingerprint() == encoder.fingerprint()
    refuses(f"timm:{NAME}.r160_in2k@{file}", f"{NAME} has no tag 'r160_in2k' (did you mean 'r160_in1k'?)")


def test_tags_that_differ_in_preprocessing_are_told_for_a_file_alone(tmp_path, caplog):
    file = write_timm(tmp_path, "resnet18", layers=(1, 1, 1, 1), channels=(4, 4, 4, 8)) / "model.safetensors"
    (tmp_path / "config.json").unlink()
    refuses(f"timm:resnet18@{file}", "missing", "of another shape", "instead of")
    assert "as for the tag a1_in1k" in caplog.text and "tv_in1k" in caplog.text and "resnet18.tag@/path" in caplog.text
    caplog.clear()
    refuses(f"timm:resnet18.tv_in1k@{file}", "missing")
    assert not caplog.records


def test_a_tuned_encoder_is_read_from_its_file(folder, tmp_path):
    encoder = create_encoder(f"timm:{NAME}@{folder}")
    with torch.no_grad():
        encoder.model.conv_head.weight.mul_(2)
    export_weights(encoder, folder / "model.safetensors")
    assert create_encoder(f"timm:{NAME}@{folder}").fingerprint() == encoder.fingerprint()


def test_what_a_folder_may_lack_or_hold(folder, tmp_path):
    name = f"timm:{NAME}@{folder}"
    refuses(f"timm:test_resnet@{folder}", f"of the architecture {NAME}, not test_resnet; write timm:{NAME}@{folder}")
    refuses(f"timm:{folder}", "names a folder without its architecture; write timm:architecture@/folder, or hf:/folder")
    edit(folder / "config.json", architecture="test_efficientnett")
    refuses(f"hf:{folder}", "timm has no architecture 'test_efficientnett' (did you mean 'test_efficientnet'")
    with pytest.raises(InputError, match="timm has no architecture"):
        check_name(f"hf:{folder}")
    edit(folder / "config.json", architecture=NAME, model_args={"no_such_argument": 1})
    refuses(name, f"timm cannot build {NAME}", "no_such_argument")
    edit(folder / "config.json", model_args=None, pretrained_cfg="none")
    refuses(name, "config.json has a pretrained_cfg or model_args that is no dictionary")
    edit(folder / "config.json", architecture=None)
    refuses(name, "names no architecture", f"use hf:{folder}")
    (folder / "config.json").unlink()
    refuses(name, f"{folder} holds no config.json")


def test_weights_that_do_not_fit(folder):
    file, name = folder / "model.safetensors", f"timm:{NAME}@{folder}"
    whole = load_file(file)
    for change, words in (
        ({"conv_head.weight": None}, ("1 missing: conv_head.weight",)),
        ({"conv_tail.weight": torch.zeros(2)}, ("1 unexpected: conv_tail.weight",)),
        ({"conv_head.weight": torch.zeros(2, 3)}, ("1 of another shape: conv_head.weight (2, 3) instead of",)),
    ):
        save_file({key: value for key, value in {**whole, **change}.items() if value is not None}, file)
        refuses(name, str(file), f"do not fit {NAME}", *words)
    file.write_bytes(file.read_bytes()[:1000])
    refuses(name, "not a readable weights file")
    file.unlink()
    refuses(name, "holds no weights: model.safetensors or pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Path}))
    refuses(name, "never run")


def test_released_weights_are_found_in_the_cache_or_it_says_where_they_are(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refuses(f"timm:{NAME}", f"timm/{NAME}.r160_in1k", f"timm:{NAME}@/folder", "HF_HOME", "HF_HUB_OFFLINE")
    refuses(f"hf:timm/{NAME}.r160_in1k", f"timm/{NAME}.r160_in1k is not in the cache")
    repository = tmp_path / f"models--timm--{NAME}.r160_in1k"
    shutil.copytree(folder, repository / "snapshots" / SHA)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SHA)
    encoder = create_encoder(f"timm:{NAME}")
    assert encoder.image_size == (160, 160) and create_encoder(f"timm:{NAME}@r160_in1k").fingerprint() == encoder.fingerprint()
    assert create_encoder(f"hf:timm/{NAME}.r160_in1k").image_size == (32, 32), "as its own config.json says"


def test_weights_that_only_their_authors_host_are_fetched_from_there(tmp_path, monkeypatch):
    asked = []

    def offline(url: str, *_, **__) -> None:
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    refuses("timm:gcvit_xxtiny", "cannot be downloaded (no network)", "get it from https://", "@/path/to/gcvit")
    assert len(asked) == 1 and "gcvit_xxtiny" in asked[0]


def test_an_architecture_without_released_weights_says_so():
    refuses("timm:botnet50ts_256", "timm has no released weights of botnet50ts_256", "timm:botnet50ts_256@/path")


def test_one_of_two_separate_encoders(folders, tmp_path):
    vit, bert = f"timm:vit_small_patch14_dinov2?pool=avg@{folders['vit_small_patch14_dinov2']}", f"hf:{write_bert(tmp_path / 'bert')}"
    encoder = create_encoder(f"separate:image={vit},text={bert}")
    assert encoder.image.source.pool == "avg" and encoder.output_dims == {"image": 32, "text": 32}
    assert create_encoder(f"separate:text={bert},image={vit}").fingerprint() == encoder.fingerprint()
    swin = create_encoder(f"separate:image=timm:swin_tiny_patch4_window7_224@{folders['swin_tiny_patch4_window7_224']},text={bert}")
    assert swin.channels_last
