"""The model and the encoder in an exported folder: new users and new items as from the checkpoint, when data set and weights are gone."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from recbole_mm.config.registry import our_models
from recbole_mm.errors import InputError
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.parts import run_parts
from recbole_mm.testing.planted import built, write_features, write_planted

PRETRAINED = {"encoder_training": "pretrained"}
SEQUENTIAL = {"train_neg_sample_args": None}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Every 7th item lacks its picture, and every 5th its text."""
    return write_planted(tmp_path_factory.mktemp("model_folder") / "shop", n_users=24, n_items=48, missing=True)


@pytest.fixture()
def exported(shop, tmp_path):
    """The recommender of a model as the seed makes it, and that of its export. Of a shop of its own, nothing is left then."""

    def export(model: str, with_encoder: bool = False, own: bool = False, **keys) -> tuple[Recommender, Recommender]:
        folder = Path(shutil.copytree(shop, tmp_path / "shop")) if own else shop
        config, net, train_data, *_ = built(folder, model, **{**(PRETRAINED if model in our_models() else {}), **keys})
        run = Recommender(run_parts(config, net, train_data._dataset, train_data._dataset))
        write_folder(run.parts, tmp_path / "first", {}, with_encoder)
        if own:
            shutil.rmtree(folder)
        return run, Recommender.load((tmp_path / "first").rename(tmp_path / "moved"))

    return export


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "FEARec", "Caser", "MultiVAE", "CDAE", "MacridVAE"])
def test_a_model_that_reads_histories_reads_those_of_anybody(exported, model):
    run, folder = exported(model, **(SEQUENTIAL if model not in ("MultiVAE", "CDAE", "MacridVAE") else {}))
    same(folder.recommend_for(["i4", "i8", "i12"], k=40), run.recommend_for(["i4", "i8", "i12"], k=40))
    same(folder.recommend(["u3", "u4"], k=9), run.recommend(["u3", "u4"], k=9))


@pytest.mark.parametrize("model", ["NeuMF", "AsymKNN", "NNCF", "GCMC"])
def test_a_score_that_is_no_product_is_computed_by_the_model(exported, model):
    run, folder = exported(model)
    same(folder.recommend(["u3", "u4"], k=9), run.recommend(["u3", "u4"], k=9))


@pytest.mark.parametrize("missing", ["learned", "mean", "zero", "neighbours"])
def test_features_are_those_of_the_run_where_items_lack_some(exported, missing):
    run, folder = exported("CLIPRec", missing=missing, own=True)
    before, after = run.parts.items.source.model, folder.parts.items.source._source.model
    for modality, rows in before.item_features.table().items():
        torch.testing.assert_close(after.item_features.table()[modality], rows)
        assert torch.equal(after.item_features.present(modality), before.item_features.present(modality))
    assert after.item_features.encoder is None


def product(shop: Path, i: int, token: str) -> dict[str, object]:
    """A new item that looks and reads like item i of the planted shop."""
    words = ("leather boots for the mountain", "silk dress for the evening")[i // 2 % 2]
    return {"item_id": token, "title": words, "image": (shop / "images" / f"{i}.png").read_bytes()}


@pytest.mark.parametrize("model", sorted(our_models()))
def test_a_copy_of_an_item_stands_beside_it(exported, shop, model):
    """Of every model of ours, from the run and from its export. Many items have the same text, and each has its own picture."""
    found = []
    for recommender in exported(model, with_encoder=True, encoder="open_clip:tiny"):
        recommender.add_items([product(shop, i, f"copy of i{i}") for i in (6, 11)])
        for i in (6, 11):
            assert recommender.similar(f"copy of i{i}", 1, "image")["item"][0] == f"i{i}"
            if model in ("EASEM", "ItemKNNM"):
                with pytest.raises(InputError, match=f"{model} cannot say what is like 'copy of i{i}', .* give a modality"):
                    recommender.similar(f"copy of i{i}", 1)
            else:
                assert recommender.similar(f"copy of i{i}", 1)["item"][0] == f"i{i}"
        table = recommender.recommend(["u1", "u2"], k=50).set_index(["user", "item"])["score"]
        found.append(table.sort_index().reset_index())
    same(*found)


TRAINED = {
    "end2end": {"encoder_training": "end2end", "encoder_tuning": "lora", "lora_rank": 2},
    "side": {"encoder_training": "end2end", "encoder_tuning": "side", "side_dim": 4},
    "cached": {"encoder_training": "end2end", "encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True},
    "finetuned": {"encoder_training": "finetuned", "finetune_epochs": 1, "finetune_weights": {"itc": 1}},
    "cross": {"fusion": "cross"},
    "cross, end2end": {"fusion": "cross", "encoder_training": "end2end"},
    "bf16": {"encoder_precision": "bf16"},
}


@pytest.mark.parametrize("training", TRAINED)
def test_searches_and_new_items_when_shop_and_weights_are_gone(exported, shop, training):
    run, folder = exported("CLIPRec", with_encoder=True, own=True, **TRAINED[training])
    same(folder.search("silk dress", 9), run.search("silk dress", 9))
    same(folder.search(shop / "images" / "8.png", 9), run.search(shop / "images" / "8.png", 9))
    for recommender in (run, folder):
        recommender.add_items([product(shop, 8, "new"), {"item_id": "only words", "title": "boots"}])
        known, new, words = recommender._served.rows(["i8", "new", "only words"]).tolist()
        for modality in recommender.parts.items.modalities:
            rows, present = recommender.parts.items.features(modality)
            torch.testing.assert_close(rows[new], rows[known], rtol=1e-3, atol=1e-3 if training == "bf16" else 1e-5)
            assert bool(present[new]) and bool(present[words]) == (modality == "text")
    same(folder.recommend(["u1"], k=49), run.recommend(["u1"], k=49))


def test_what_a_folder_lacks_is_one_line(exported, shop):
    run, folder = exported("CLIPRec")
    for call in (lambda: folder.search("boots"), lambda: folder.add_items([product(shop, 8, "new")])):
        with pytest.raises(InputError, match="was exported without its encoder.*--with-encoder"):
            call()
    assert len(folder.items) == len(run.items)


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_a_model_that_cannot_rank_new_items_says_so(exported, model):
    for recommender in exported(model, **(SEQUENTIAL if model == "SASRec" else {})):
        with pytest.raises(InputError, match=f"{model} without item features cannot rank items"):
            recommender.add_items([{"item_id": "new", "title": "boots"}])
        with pytest.raises(InputError, match="no encoder to read a query"):
            recommender.search("boots")


def test_an_encoder_that_is_not_there_is_not_exported(exported, shop):
    with pytest.raises(InputError, match="this run has no encoder"):
        exported("BPR", with_encoder=True)
    assert not (shop.parent / "first").exists()


def test_a_folder_holds_no_pickle_and_no_place_of_this_machine(exported, tmp_path):
    exported("VBPR", with_encoder=True, checkpoint_dir=str(tmp_path / "saved"), cache_dir=str(tmp_path / "cache"))
    files = [file for file in (tmp_path / "moved").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".parquet", ".safetensors", ".faiss"}
    for file in files:
        assert file.stat().st_mode & 0o666 == file.parent.stat().st_mode & 0o666, f"{file} is for its owner alone"
        assert str(tmp_path).encode() not in file.read_bytes(), file


def test_a_column_may_hold_a_picture_or_the_vector_of_a_feature_file(exported, shop):
    files = write_features(shop, ("image", "text"))
    _, folder = exported("VBPR", modalities=["image", "text"], feature_files=files)
    rows = {m: values[6].numpy() for m, (values, _) in folder.parts.items.source.features().items()}
    folder.add_items([{"item_id": "vectors", **rows}, {"item_id": "one", "text": rows["text"], "image": str(shop / "images" / "6.png")}])
    assert folder.catalogue.thumbnail("one") and not folder.catalogue.thumbnail("vectors")
    with pytest.raises(InputError, match="item 'one' has no image"):
        folder.similar("one", by="image")
    with pytest.raises(InputError, match="item 'none' has none of image, text: its columns may be image, text"):
        folder.add_items([{"item_id": "none", "image": str(shop / "images" / "6.png")}])


@pytest.mark.parametrize("modalities", [["image", "text"], ["image"]])
def test_items_that_come_together_are_as_if_they_came_alone(exported, shop, modalities):
    run, _ = exported("CLIPRec", modalities=modalities)
    lacking = {1: {"image": ""}, 2: {"title": ""}} if "text" in modalities else {2: {"title": ""}}
    rows = [product(shop, i, f"new{i}") | lacking.get(i, {}) for i in (4, 1, 2, 5)]
    for item, row in zip(run.parts.items.encoded(rows), rows, strict=True):
        [alone] = run.parts.items.encoded([row])
        assert item.item == alone.item == row["item_id"]
        assert item.present == alone.present == {m: bool(row["title" if m == "text" else m]) for m in modalities}
        torch.testing.assert_close(torch.tensor(item.vector), torch.tensor(alone.vector), rtol=1e-4, atol=1e-5)


def test_a_folder_runs_no_code(exported, tmp_path):
    _, folder = exported("SASRec", **SEQUENTIAL)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    file = tmp_path / "moved" / "settings.json"
    settings = json.loads(file.read_text())
    settings["config"]["plugins"] = [str(tmp_path / "evil.py")]
    file.write_text(json.dumps(settings))
    assert len(folder.recommend_for(["i4"], k=3)) == 3 and not (tmp_path / "ran").exists()


def test_models_over_a_knowledge_graph(exported, shop):
    """KGCN's score is no product; what RippleNet keeps of each user is no matter of a folder."""
    triples, links = ([f"e{i}\tr{i % 2}\te{i * 3 % 48}" for i in range(48)], [f"i{i}\te{i}" for i in range(48)])
    (shop / "shop.kg").write_text("\n".join(["head_id:token\trelation_id:token\ttail_id:token", *triples]))
    (shop / "shop.link").write_text("\n".join(["item_id:token\tentity_id:token", *links]))
    graph = {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    columns = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], **graph}}
    run, folder = exported("KGCN", **columns)
    same(folder.recommend(["u3", "u4"], k=9), run.recommend(["u3", "u4"], k=9))
    with pytest.raises(InputError, match="RippleNet cannot be built again from a folder.*recommend from the checkpoint"):
        exported("RippleNet", **columns)
