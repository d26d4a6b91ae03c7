"""A small architecture that open_clip is taught for the length of a test."""

import json

import pytest


@pytest.fixture()
def architecture(small_config, tmp_path, monkeypatch):
    """``architecture(name, tags, **changes)`` teaches open_clip a small architecture for the length of a test."""
    import open_clip
    from open_clip import factory, pretrained

    for registry in (factory._MODEL_CONFIGS, pretrained._PRETRAINED):
        for key in list(registry):
            monkeypatch.setitem(registry, key, registry[key])
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(pretrained, "_PRETRAINED", dict(pretrained._PRETRAINED))

    def add(name, tags=None, **changes):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**small_config, **changes}))
        open_clip.add_model_config(path)
        if tags:
            pretrained._PRETRAINED[name] = tags
        return name

    return add
