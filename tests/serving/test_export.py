"""An exported folder recommends what its checkpoint does, without the data set."""

import json
import shutil

import pandas as pd
import pytest

from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.testing.planted import built, write_features, write_planted

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "encoder_training": "pretrained"}
MODELS = {"VBPR": FILES, "BPR": {}, "ItemKNN": {}, "EASE": {}, "ADMMSLIM": {}, "SASRec": {"train_neg_sample_args": None}, "NeuMF": {}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a model that has trained for two epochs on a shop that is gone since, with the recommender that it gave before."""
    made = {}

    def train(model: str):
        if model not in made:
            folder = write_planted(tmp_path_factory.mktemp("export") / "shop", n_users=24, n_items=48)
            write_features(folder)
            keys = {"checkpoint_dir": str(tmp_path_factory.mktemp("saved")), "train_batch_size": 32, **MODELS[model]}
            config, net, train_data, *_ = built(folder, model, epochs=2, **keys)
            trainer = build_trainer(config, net)
            trainer.fit(train_data, None, verbose=False, saved=True)
            made[model] = Recommender.load(trainer.saved_model_file), run_facts(trainer.saved_model_file)
            shutil.rmtree(folder)
        return made[model]

    return train


@pytest.mark.parametrize("model", [model for model in MODELS if model not in ("NeuMF", "ADMMSLIM")])
def test_recommends_what_the_checkpoint_does(checkpoint, tmp_path, model):
    recommender, facts = checkpoint(model)
    write_folder(recommender.parts, tmp_path / "folder", facts)
    (tmp_path / "folder").rename(tmp_path / "moved")
    folder = Recommender.load(tmp_path / "moved")
    assert folder.users == recommender.users and folder.items == recommender.items
    pd.testing.assert_frame_equal(folder.recommend(k=5), recommender.recommend(k=5), rtol=1e-4, atol=1e-6)
    assert folder.history("u3") == recommender.history("u3")
    assert folder.manifest["model"] == model and folder.manifest["n_items"] == 48
    for by in ("model", *folder.modalities) if model != "SASRec" else ():
        pd.testing.assert_frame_equal(folder.similar("i5", 5, by), recommender.similar("i5", 5, by), rtol=1e-4, atol=1e-6)


def test_scores_that_are_centred(checkpoint, tmp_path):
    """ADMMSLIM adds noise of 1e-5 to its scores, so ranks may differ."""
    recommender, facts = checkpoint("ADMMSLIM")
    write_folder(recommender.parts, tmp_path / "folder", facts)
    before, after = recommender.recommend(k=48), Recommender.load(tmp_path / "folder").recommend(k=48)
    both = before.merge(after, on=["user", "item"])
    assert len(both) == len(before) and (both["score_x"] - both["score_y"]).abs().max() < 2e-5


def test_other_systems_read_the_tables(checkpoint, tmp_path):
    recommender, facts = checkpoint("VBPR")
    write_folder(recommender.parts, tmp_path / "folder", facts)
    import duckdb

    users, items = (duckdb.read_parquet(str(tmp_path / "folder" / f"{name}.parquet")).fetchall() for name in ("users", "items"))
    vectors = recommender.scores.vectors()
    assert [row[0] for row in users] == recommender.users and users[0][1] == pytest.approx(vectors[0][1].tolist())
    assert len(items) == 48 and items[-1][-1] == pytest.approx(vectors[1][-1].tolist())


def test_what_cannot_be_exported_or_read_is_one_line(checkpoint, tmp_path):
    recommender, facts = checkpoint("NeuMF")
    with pytest.raises(InputError, match="NeuMF has no vectors.*recommend from the checkpoint"):
        write_folder(recommender.parts, tmp_path / "folder", facts)
    assert not (tmp_path / "folder").exists()
    with pytest.raises(InputError, match="no exported folder"):
        Recommender.load(tmp_path)
    recommender, facts = checkpoint("BPR")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="name another one"):
        write_folder(recommender.parts, tmp_path, facts)
    write_folder(recommender.parts, tmp_path / "folder", facts)
    write_folder(recommender.parts, tmp_path / "folder", facts)
    manifest = json.loads((tmp_path / "folder" / "manifest.json").read_text())
    (tmp_path / "folder" / "seen.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="seen.safetensors is missing or not whole"):
        Recommender.load(tmp_path / "folder")
    (tmp_path / "folder" / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Recommender.load(tmp_path / "folder")
