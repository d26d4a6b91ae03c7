"""A model over replaced features scores as one that was built on them, and is itself again afterwards."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from recbole_mm.model.graph import ItemGraph
from recbole_mm.results.replacement import ANOTHER, MEAN, REPLACEMENTS, ZEROS, replaced
from recbole_mm.testing.planted import built, write_features, write_planted

MODELS = (
    "CLIPRec",
    "VBPR",
    "LightGCNM",
    "MMGCN",
    "MMGCL",
    "SLMRec",
    "LATTICE",
    "FREEDOM",
    "MGCN",
    "BM3",
    "PGL",
    "SMORE",
    "MENTOR",
    "GRCN",
    "LGMRec",
    "DiffMM",
)
FILES = {"a": "a.safetensors", "b": "b.safetensors"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("replaced") / "shop", n_users=12, n_items=24)
    write_features(folder, names=("a", "b"))
    return folder


def model_over(shop: Path, name: str, **keys):
    """An untrained model in evaluation mode."""
    return built(shop, name, **{"modalities": ["a", "b"], "feature_files": FILES, "encoder_training": "pretrained", **keys})[1].eval()


@torch.no_grad()
def scores(model) -> torch.Tensor:
    users, items = model.final_embeddings()
    return users[1:] @ items[1:].T


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_the_scores_are_those_of_a_model_built_on_the_other_features(shop: Path, name: str):
    model = model_over(shop, name)
    before = scores(model)
    with replaced(model, ["a"], ANOTHER, seed=3):
        rows, during = model.item_features.table()["a"], scores(model)
        trained = {f"trained.rows.{m}": table for m, table in model.trained.table().items()} if getattr(model, "trained", None) else {}
    tokens = {"item_tokens": json.dumps(built(shop, "BPR")[2]._dataset.field2id_token["item_id"][1:].tolist())}
    save_file({"features": rows[1:].numpy()}, shop / "other.safetensors", tokens)
    other = model_over(shop, name, feature_files=FILES | {"a": "other.safetensors"})
    other.load_state_dict(model.state_dict() | trained)
    assert during.numpy() == pytest.approx(scores(other).numpy(), abs=1e-6)
    assert torch.equal(scores(model), before) and (name == "BM3") == torch.equal(during, before)


@torch.no_grad()
@pytest.mark.parametrize("name", ["LATTICE", "FREEDOM", "MGCN"])
@pytest.mark.parametrize("by", [ZEROS, MEAN])
def test_where_all_items_have_the_same_none_has_a_neighbour(shop: Path, name: str, by: str):
    model = model_over(shop, name)
    with replaced(model, ["a", "b"], by):
        users, items = model.final_embeddings()
        alone = model.build_item_graph(model.item_features.table())
    for graph in alone.values() if isinstance(alone, dict) else [alone]:
        assert not (graph.weights if isinstance(graph, ItemGraph) else graph @ torch.ones(25, 1)).any()
    assert torch.isfinite(users).all() and torch.isfinite(items).all()


@torch.no_grad()
def test_what_stands_in_for_the_features(planted_missing: Path):
    """Items that lack a picture keep what they had instead, and none of the others keeps its own."""
    model = built(planted_missing, "VBPR", encoder_training="pretrained", missing="zero")[1].eval()
    features = model.item_features
    before, here = features.table(), features.present("image")
    found = {}
    for by in REPLACEMENTS:
        with replaced(model, ["image"], by):
            found[by] = features.table()
            ids = torch.tensor([5, 2, 5])
            assert torch.equal(features(ids)["image"], found[by]["image"][ids]) and torch.equal(found[by]["text"], before["text"])
    assert not found[ZEROS]["image"].any()
    assert torch.allclose(found[MEAN]["image"], before["image"][here].mean(0).expand_as(before["image"]))
    moved = found[ANOTHER]["image"]
    assert torch.equal(moved[~here], before["image"][~here]) and not (moved[here] == before["image"][here]).all(1).any()
    assert np.array_equal(np.unique(moved[here].numpy(), axis=0), np.unique(before["image"][here].numpy(), axis=0))
    assert torch.equal(features.table()["image"], before["image"]) and torch.equal(features.present("image"), here)


@torch.no_grad()
def test_an_encoder_that_trains_is_replaced_as_well(shop: Path):
    model = built(shop, "CLIPRec", encoder_training="end2end", use_id=False)[1].eval()
    before = scores(model)
    with replaced(model, ["image", "text"], ZEROS):
        assert not scores(model).any() and not model.item_features(torch.tensor([1, 2]))["text"].any()
    assert torch.equal(scores(model), before) and before.any()


@torch.no_grad()
def test_what_goes_wrong_meanwhile_leaves_the_model_as_it_was(shop: Path):
    model = model_over(shop, "VBPR")
    before = scores(model)
    with pytest.raises(KeyError), replaced(model, ["a"], ZEROS):
        scores(model)
        raise KeyError
    assert torch.equal(scores(model), before)
