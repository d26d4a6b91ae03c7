"""Every encoder has one name for what it is: the fingerprint."""

import copy
import json
import shutil

import torch

from recbole_mm.encoder import create_encoder


def test_the_seed_decides_random_weights_and_the_global_random_state_stays(encoder, kind, names):
    state = torch.get_rng_state()
    assert create_encoder(names[kind], seed=1).fingerprint() == encoder.fingerprint()
    assert (create_encoder(names[kind], seed=2).fingerprint() != encoder.fingerprint()) == encoder.from_scratch
    assert torch.equal(state, torch.get_rng_state())


def test_the_fingerprint_is_the_same_in_another_process(encoder, kind, elsewhere):
    assert elsewhere[kind] == [encoder.fingerprint(), encoder.preprocess_key]


def test_any_change_of_weights_changes_the_fingerprint(own):
    seen, parameters = {own.fingerprint()}, list(own.parameters())
    chosen = torch.randperm(len(parameters), generator=torch.Generator().manual_seed(0))[:6].tolist()
    for i in {0, len(parameters) - 1, *chosen}:
        before = len(seen)
        with torch.no_grad():
            parameters[i].view(-1)[-1].add_(1e-3)
        seen.add(own.fingerprint())
        assert len(seen) == before + 1
    assert copy.deepcopy(own).train().fingerprint() in seen


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
