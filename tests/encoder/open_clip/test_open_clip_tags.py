"""Whose weights a file holds: activation and preprocessing belong to them, and a mismatch names what to use instead."""

import json
import logging

import open_clip
import pytest

from recbole_mm.encoder.open_clip.source import find_source
from recbole_mm.encoder.open_clip.tags import PREPROCESS_KEYS
from recbole_mm.errors import InputError

ONE = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "longest"}
TWO = {**ONE, "resize_mode": "squash"}
PAIRS = open_clip.list_pretrained()


@pytest.fixture()
def file(tmp_path):
    """``file(name)`` -> its path; nothing here reads what is in it."""

    def touch(name="w.safetensors"):
        path = tmp_path / "w" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path

    return touch


@pytest.fixture()
def twins(architecture):
    """Two architectures that differ in their activation. "old" and "meta_a" were trained with QuickGELU, "new" without."""
    quick = {"quick_gelu": True, **ONE}
    tags = {"old": quick, "old_s39b": ONE, "new": ONE, "meta_a": quick, "meta_b": quick, "mix_a": quick, "mix_b": ONE}
    architecture("twin", tags)
    architecture("twin-quickgelu", {tag: cfg for tag, cfg in tags.items() if "quick_gelu" in cfg}, quick_gelu=True)


def refused(name, source):
    with pytest.raises(InputError) as caught:
        find_source(name, str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "tag"), PAIRS)
def test_every_listed_pair_is_found_or_has_a_twin(name, tag, monkeypatch, file):
    path, cfg = file(), open_clip.get_pretrained_cfg(name, tag)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda asked: str(path) if asked == cfg else None)
    twin = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else name + "-quickgelu"
    found = []
    for source in (tag, f"{tag}={path}"):
        if twin in open_clip.list_models() and bool(cfg.get("quick_gelu")) != name.endswith("-quickgelu"):
            assert f"use open_clip:{twin}@{source}" in refused(name, source) and (twin, tag) in PAIRS
            continue
        found.append(find_source(name, source))
        assert found[-1].weights == path and found[-1].config == open_clip.get_model_config(name)
        assert {k: found[-1].preprocess.get(k) for k in PREPROCESS_KEYS} == {k: cfg.get(k) for k in PREPROCESS_KEYS}
        size = found[-1].config["vision_cfg"]["image_size"]
        assert cfg.get("size") in (None, size, (size, size), [size, size])
    assert len({(repr(f.preprocess), repr(f.config), f.tokenizer) for f in found}) <= 1


def test_quick_gelu_of_a_tag_must_agree(file):
    assert "use open_clip:ViT-B-16-quickgelu@openai" in refused("ViT-B-16", "openai")
    assert f"use open_clip:ViT-B-16-quickgelu@openai={file()}" in refused("ViT-B-16", f"openai={file()}")
    assert "use open_clip:ViT-B-16@laion2b_s34b_b88k" in refused("ViT-B-16-quickgelu", "laion2b_s34b_b88k")


def test_a_tag_before_a_file(file, architecture):
    name = architecture("several", {"one": ONE, "two": TWO})
    assert find_source(name, f"two={file()}").preprocess == TWO and find_source(name, f"TWO={file()}").weights == file()
    assert "no such weights file: /none.pt" in refused(name, "two=/none.pt")
    assert "no tag 'tow' (did you mean 'two'?)" in refused(name, f"tow={file()}")
    assert find_source(architecture("plain"), str(file("a=b.pt"))).weights == file("a=b.pt")


def test_tags_that_disagree_want_one_to_be_named(file, architecture):
    name, path = architecture("several", {"one": ONE, "two": TWO}), file()
    assert f"open_clip:several@one={path}, open_clip:several@two={path}" in refused(name, path)
    assert f"open_clip:ViT-L-14@laion2b_s32b_b82k={path}" in refused("ViT-L-14", path)


def test_a_configuration_beside_the_file(file, architecture, twins, small_config, caplog):
    path, name = file(), architecture("several", {"one": ONE, "two": TWO})

    def beside(preprocess, **changes):
        content = {"model_cfg": {**small_config, **changes}, "preprocess_cfg": preprocess}
        (path.parent / "open_clip_config.json").write_text(json.dumps(content))

    beside(TWO)
    assert find_source(name, str(path)).preprocess["resize_mode"] == "squash"
    assert find_source(name, f"one={path}").preprocess == ONE
    assert find_source(architecture("tagless"), str(path)).preprocess["resize_mode"] == "squash"
    assert f"open_clip:local-dir:{path.parent}" in refused("twin", path)
    beside({**ONE, "mean": [0.5, 0.5, 0.5]})
    assert f"open_clip:local-dir:{path.parent}" in refused("twin", path)
    beside({**ONE, "size": [32, 48], "fill_color": 0, "mode": "RGB"}, quick_gelu=True)
    with caplog.at_level(logging.WARNING):
        assert find_source("twin-quickgelu", str(path)).preprocess["size"] == [32, 48]
    assert not caplog.text
    message = refused("twin", path)
    assert f"open_clip:twin-quickgelu@{path}" in message and f"open_clip:local-dir:{path.parent}" in message
    beside(ONE)
    assert f"says GELU, and twin-quickgelu computes QuickGELU: use open_clip:twin@{path}" in refused("twin-quickgelu", path)
    (path.parent / "open_clip_config.json").write_text("{")
    assert "needs model_cfg" in refused("twin", path)


@pytest.mark.parametrize("name", ["my-OLD.safetensors", "old.pt", "Meta-A.safetensors", "meta_13b.pt"])
def test_a_telling_file_name_of_the_other_activation(name, file, twins, caplog):
    assert f"open_clip:twin-quickgelu@{file(name)}" in refused("twin", file(name))
    with caplog.at_level(logging.WARNING):
        assert find_source("twin-quickgelu", str(file(name))).preprocess.get("resize_mode") == "longest"
    assert not caplog.text


@pytest.mark.parametrize("name", ["old-s39b.safetensors", "the.new.one.pt"])
def test_a_telling_file_name_of_this_activation(name, file, twins, caplog):
    with caplog.at_level(logging.WARNING):
        assert find_source("twin", str(file(name))).preprocess == ONE
    assert not caplog.text
    assert f"open_clip:twin@{file(name)}" in refused("twin-quickgelu", file(name))


@pytest.mark.parametrize("name", ["weights.pt", "mix.pt"])
def test_a_file_name_that_tells_nothing_is_one_warning(name, file, twins, caplog):
    with caplog.at_level(logging.WARNING):
        assert find_source("twin", str(file(name))).preprocess == ONE
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert "computes GELU, and twin-quickgelu the other one" in caplog.text


def test_no_tags_at_all_means_clips_way(file, architecture, caplog):
    with caplog.at_level(logging.WARNING):
        assert find_source(architecture("tagless"), str(file())).preprocess == {}
    assert "assuming CLIP's preprocessing" in caplog.text


@pytest.mark.parametrize(("name", "file_name"), [("ViT-B-16", "openai.pt"), ("ViT-H-14", "DFN5B.bin"), ("ViT-L-14", "l14_metaclip.pt")])
def test_real_names(name, file_name, file):
    assert f"open_clip:{name}-quickgelu@" in refused(name, file(file_name))
