"""Every encoder has one name for what it is: the fingerprint."""

import json
import shutil

from recbole_mm.encoder import create_encoder


def test_the_fingerprint_is_the_same_in_another_process(encoder, kind, elsewhere):
    assert elsewhere[kind] == [encoder.fingerprint(), encoder.preprocess_key]


def test_another_resolution_or_preprocessing_changes_the_fingerprint(own, kind, names, folders, tmp_path):
    before, key = own.fingerprint(), own.preprocess_key
    if kind in ("open_clip", "vlmo", "beit3", "hf"):
        own.image_std = (0.5, 0.5, 0.51)
        assert own.fingerprint() != before and own.preprocess_key == key
    if kind in ("vlmo", "beit3"):
        other = create_encoder(names[kind], seed=1, image_size=80)
        assert other.image_size == (80, 80) and other.fingerprint() != before and other.preprocess_key != key
    if kind in ("hf", "hf_image", "separate"):
        original = folders["hf" if kind == "hf" else "hf_image"]
        folder = shutil.copytree(original, tmp_path / "copy")
        name = names[kind].replace(str(original), str(folder))
        assert create_encoder(name).fingerprint() == before
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        settings["resample"] = 5 - settings["resample"]
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        other = create_encoder(name)
        assert other.fingerprint() != before and other.preprocess_key != key
