"""An exported folder recommends what its checkpoint does, without the data set."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import torch
from PIL import Image

from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.index import VectorIndex
from recbole_mm.testing.planted import built, write_features, write_planted

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "encoder_training": "pretrained"}
MODELS = {"VBPR": FILES, "BPR": {}, "ItemKNN": {}, "EASE": {}, "ADMMSLIM": {}, "SASRec": {"train_neg_sample_args": None}}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The recommender of a checkpoint that has trained for two epochs, and its export, which was moved; the shop is gone since."""
    made = {}

    def export(model: str) -> tuple[Recommender, Path]:
        if model not in made:
            shop = write_planted(tmp_path_factory.mktemp("export") / "shop", n_users=24, n_items=48)
            write_features(shop)
            keys = {"checkpoint_dir": str(tmp_path_factory.mktemp("saved")), "train_batch_size": 32, **MODELS[model]}
            config, net, train_data, *_ = built(shop, model, epochs=2, **keys)
            trainer = build_trainer(config, net)
            trainer.fit(train_data, None, verbose=False, saved=True)
            recommender, folder = Recommender.load(trainer.saved_model_file), shop.parent / "folder"
            write_folder(recommender.parts, folder, run_facts(trainer.saved_model_file))
            made[model] = recommender, folder.rename(shop.parent / "moved")
            shutil.rmtree(shop)
        return made[model]

    return export


@pytest.mark.parametrize("model", [model for model in MODELS if model != "ADMMSLIM"])
def test_recommends_what_the_checkpoint_does(exported, model):
    recommender, folder = exported(model)[0], Recommender.load(exported(model)[1])
    assert folder.users == recommender.users and folder.items == recommender.items
    pd.testing.assert_frame_equal(folder.recommend(k=5), recommender.recommend(k=5), rtol=1e-4, atol=1e-6)
    assert folder.history("u3") == recommender.history("u3")
    assert folder.manifest["model"] == model and folder.manifest["n_items"] == 48
    for by in ("model", *folder.modalities) if model != "SASRec" else ():
        pd.testing.assert_frame_equal(folder.similar("i5", 5, by), recommender.similar("i5", 5, by), rtol=1e-4, atol=1e-6)


def test_scores_that_are_centred(exported):
    """ADMMSLIM adds noise of 1e-5 to its scores, so ranks may differ."""
    before, after = exported("ADMMSLIM")[0].recommend(k=48), Recommender.load(exported("ADMMSLIM")[1]).recommend(k=48)
    both = before.merge(after, on=["user", "item"])
    assert len(both) == len(before) and (both["score_x"] - both["score_y"]).abs().max() < 2e-5


def test_other_systems_read_the_tables(exported):
    recommender, folder = exported("VBPR")
    users, items = (duckdb.read_parquet(str(folder / f"{name}.parquet")).df() for name in ("users", "items"))
    vectors = recommender.scores.vectors()
    assert list(users["user"]) == recommender.users and users["vector"][0] == pytest.approx(vectors[0][1].numpy())
    assert len(items) == 48 and items["vector"].iloc[-1] == pytest.approx(vectors[1][-1].numpy())


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_titles_and_pictures_travel(exported, model):
    """What an item of the planted shop looks like follows from its token; BPR has not read it."""
    catalogue = Recommender.load(exported(model)[1]).catalogue
    assert "dress" in catalogue.title("i6") and "dress" not in catalogue.title("i5")
    small = Image.open(BytesIO(catalogue.thumbnail("i6")))
    assert small.format == "JPEG" and max(small.size) <= 256


def test_what_cannot_be_read_or_replaced_is_one_line(exported, tmp_path):
    with pytest.raises(InputError, match="no exported folder"):
        Recommender.load(tmp_path)
    parts = exported("BPR")[0].parts
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="name another one"):
        write_folder(parts, tmp_path, {})
    write_folder(parts, tmp_path / "folder", {})
    write_folder(parts, tmp_path / "folder", {})
    manifest = json.loads((tmp_path / "folder" / "manifest.json").read_text())
    (tmp_path / "folder" / "seen.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="seen.safetensors is missing or not whole"):
        Recommender.load(tmp_path / "folder")
    (tmp_path / "folder" / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Recommender.load(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_the_index_of_a_folder_finds_what_the_model_ranks_first(exported, tmp_path, kind):
    recommender = exported("VBPR")[0]
    write_folder(recommender.parts, tmp_path / "folder", {}, index=kind)
    folder, index = Recommender.load(tmp_path / "folder"), VectorIndex.read(tmp_path / "folder" / "index.faiss")
    about = folder.manifest["index"]
    assert about["kind"] == index.kind == kind and about["users"] == 24 and about["recall"] == 1.0
    users, items = recommender.scores.vectors()
    rows, scores = index.search(users[1:], 5)
    wanted = (users[1:] @ items[1:].T).topk(5)
    assert torch.equal(rows, wanted.indices + 1)
    torch.testing.assert_close(scores, wanted.values)
    assert (folder.parts.index is not None) == (kind == "hnsw")
    pd.testing.assert_frame_equal(folder.recommend(k=5), recommender.recommend(k=5), rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(folder.recommend_for(["i1", "i5"], 4), recommender.recommend_for(["i1", "i5"], 4), rtol=1e-4, atol=1e-6)


def test_a_model_without_vectors_has_no_index(exported, tmp_path):
    recommender, folder = exported("EASE")
    assert Recommender.load(folder).manifest["index"] is None and not (folder / "index.faiss").exists()
    with pytest.raises(InputError, match="EASE has none: leave --index out"):
        write_folder(recommender.parts, tmp_path / "folder", {}, index="hnsw")
    assert not list(tmp_path.glob("*folder*"))
