"""A wrong name of an encoder is found before anything is read, downloaded or built."""

import json

import pytest

from recbole_mm.encoder import create_encoder, list_backends, register_backend
from recbole_mm.encoder.factory import check_name
from recbole_mm.errors import InputError
from recbole_mm.quick_start import run
from recbole_mm.testing.planted import settings


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny", "is not of the form backend:name"),
        ("opn_clip:tiny", r"unknown backend 'opn_clip' \(did you mean 'open_clip'\?\)"),
        ("open_clip:ViT-B-61@openai", "open_clip has no architecture 'ViT-B-61'.*ViT-B-16"),
        ("open_clip:ViT-B-16", "names no weights"),
        ("open_clip:ViT-B-16@opnai", "has no tag 'opnai'"),
        ("open_clip:ViT-B-16@openai", "use open_clip:ViT-B-16-quickgelu@openai"),
        ("open_clip:ViT-B-32@/no/such.pt", "no such weights file: /no/such.pt"),
        ("open_clip:local-dir:/no/such", "no such folder: /no/such"),
        ("open_clip:tiny@/no/such.pt", "no such weights file: /no/such.pt"),
        ("hf:/no/such", "no such folder: /no/such"),
        ("hf:one two", "neither a hub repository"),
        ("timm:resnet51@a1_in1k", r"timm has no architecture 'resnet51' \(did you mean 'resnet5"),
        ("timm:resnet50@a1_in2k", r"resnet50 has no tag 'a1_in2k' \(did you mean 'a1_in1k'"),
        ("timm:resnet50.a1_in1k@a2_in1k", "names two tags"),
        ("timm:resnet50@/no/such.safetensors", "no such weights file: /no/such.safetensors"),
        ("timm:vit_small_patch14_dinov2?pool=mean", "'\\?pool=mean' is none of \\?pool=cls, \\?pool=avg"),
        ("vlmo:huge@224", "huge"),
        ("vlmo:base", "names no weights"),
        ("vlmo:base@225", "no released tag '225'"),
        ("vlmo:tiny@/no/such.pt", "no such weights file: /no/such.pt"),
        ("beit3:bse@224", "bse"),
        ("beit3:base@/no/such.pth", "no such weights file: /no/such.pth"),
        ("beit3:base@itc_225", r"no tag and no file 'itc_225'"),
        ("separate:image=open_clip:tiny,text=hf:/no/such", "no such folder: /no/such"),
        ("separate:image=open_clip:tiny", "is not of the form"),
    ],
)
def test_wrong_names(name, says, monkeypatch):
    monkeypatch.setattr("recbole_mm.encoder.factory._backends", {backend: _nothing for backend in list_backends()})
    with pytest.raises(InputError, match=says):
        check_name(name)


def _nothing(name, source, *, seed=0):
    pytest.fail("an encoder is built")


@pytest.mark.parametrize(
    "name",
    [
        "open_clip:ViT-B-16-quickgelu@openai", "open_clip:tiny", "open_clip:hf-hub:a/b", "hf:a/b@main", "vlmo:base@224", "hf:timm/a",
        "timm:resnet50", "timm:resnet50@a1_in1k", "timm:resnet50.a1_in1k", "timm:vit_small_patch14_dinov2?pool=avg@lvd142m",
        "beit3:large@itc_224", "vlmo:tiny", "beit3:tiny", "separate:image=open_clip:tiny,text=hf:a/b",
    ],
)  # fmt: skip
def test_what_may_be_right_is_not_downloaded(name):
    check_name(name)


def test_options_are_checked_too():
    with pytest.raises(InputError, match="no encoder option 'image_size'"):
        check_name("open_clip:tiny", ["image_size"])


def test_folders_under_another_backends_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lite").mkdir()
    (tmp_path / "lite" / "config.json").write_text(json.dumps({"architecture": "tf_efficientnet_lite0", "model_type": "timm_wrapper"}))
    with pytest.raises(InputError, match="a folder without its architecture"):
        check_name("timm:lite")
    for name in ("st:lite", f"st:{tmp_path}/lite"):
        with pytest.raises(InputError, match=f"holds a model of timm's, not of sentence-transformers; write hf:{tmp_path}/lite"):
            check_name(name)
    with pytest.raises(InputError, match=r"no such hub repository: lite; the folder is named \./lite"):
        create_encoder("hf:lite")


def test_a_setting_that_an_encoder_lacks_is_told_by_its_key(planted):
    with pytest.raises(InputError, match="encoder_max_patches: open_clip:tiny has no such setting"):
        run("CLIPRec", "no_such_data_set", config_dict=settings(planted, encoder="open_clip:tiny", encoder_max_patches=9))


def test_a_backend_of_a_users_own_may_check_its_names():
    def check(name, source):
        if name != "right":
            raise InputError(f"mine:{name} is wrong")

    register_backend("checked_backend", check=check)(_nothing)
    check_name("checked_backend:right")
    with pytest.raises(InputError, match="mine:left is wrong"):
        check_name("checked_backend:left")


@pytest.mark.parametrize("encoder", ["opn_clip:tiny", "open_clip:ViT-B-61@openai", "hf:/no/such"])
def test_a_run_finds_it_before_it_looks_for_the_data(planted, encoder, capsys):
    with pytest.raises(InputError, match="encoder '?opn_clip|ViT-B-61|/no/such"):
        run("CLIPRec", "no_such_data_set", config_dict=settings(planted, encoder=encoder, state="INFO"))
    assert capsys.readouterr() == ("", "")
    with pytest.raises(InputError, match="no data set folder"):
        run("CLIPRec", "no_such_data_set", config_dict=settings(planted, encoder=encoder, modalities=[]))
