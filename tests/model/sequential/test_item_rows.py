"""Item rows: how they start, and what auto means."""

import pytest
import torch

from recbole_mm.model.base import ModalityProjection
from recbole_mm.model.sequential.components import neighbour_components, start_from_components
from recbole_mm.testing.planted import built, write_features
from recbole_mm.training.build import build_trainer


@pytest.fixture()
def features() -> dict[str, torch.Tensor]:
    """Few directions matter in them, and their mean is far from zero."""
    draw = torch.Generator().manual_seed(0)
    return {m: 5 + torch.randn(200, 3, generator=draw) @ torch.randn(3, width, generator=draw) for m, width in (("a", 12), ("b", 40))}


def test_maps_start_as_the_principal_components(features):
    maps = ModalityProjection({"a": 12, "b": 40}, 16)
    before = torch.get_rng_state()
    start_from_components(maps, features)
    assert torch.equal(before, torch.get_rng_state())
    for m, rows in maps(features).items():
        centred = features[m] - features[m].mean(0)
        assert rows.norm(dim=1).mean().item() == pytest.approx(2**-0.5, rel=1e-3)
        scale = rows.norm() / centred.norm()
        assert torch.allclose(rows @ rows.T, scale**2 * centred @ centred.T, atol=1e-3), "inner products are those of the features"
    assert not maps.maps["a"].weight[12:].any()
    start_from_components(maps, {m: torch.ones_like(rows) for m, rows in features.items()})
    assert not any(parameter.any() for parameter in maps.parameters()), "features that are all alike say nothing"


SCRATCH = {"encoder_training": "end2end", "feature_files": None}


@pytest.mark.parametrize(("keys", "starts"), [({}, True), (SCRATCH, False)], ids=["table", "scratch"])
def test_a_run_starts_from_them_and_a_loaded_model_does_not(planted, keys, starts, tmp_path):
    keys = {"feature_files": write_features(planted, ("a",)), "epochs": 1, "checkpoint_dir": str(tmp_path), **keys}
    config, model, train, valid, _ = built(planted, "SASRecM", **keys)
    name, before = next((n, p.detach().clone()) for n, p in model.content.named_parameters() if n.endswith("weight"))
    ids = model.item_embedding.weight.detach().clone()
    model.start_training()
    assert torch.equal(before, model.content.get_parameter(name)) != starts
    assert not torch.equal(ids, model.item_embedding.weight)
    trained = built(planted, "SASRecM", **{**keys, "learning_rate": 0.0})
    build_trainer(trained[0], trained[1]).fit(train, valid, saved=False, verbose=False)
    assert torch.equal(trained[1].item_embedding.weight, model.item_embedding.weight), "a run begins there by itself"


def test_items_that_are_near_each_other_begin_alike():
    """Users of two kinds, who have items of one kind each; nobody has item 9."""
    draw = torch.Generator().manual_seed(0)
    items = torch.stack([1 + user % 2 * 4 + torch.randperm(4, generator=draw) for user in range(1, 9)])
    users = torch.arange(1, 9).repeat_interleave(4)
    shuffled = torch.arange(4).repeat(8).argsort(stable=True)  # by time, as RecBole has them
    rows = neighbour_components(users[shuffled], items.flatten()[shuffled], 10, 16)
    assert torch.equal(rows, neighbour_components(users, items.flatten(), 10, 16))
    cosines = torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(rows, dim=1).T
    same = (torch.arange(1, 9).unsqueeze(0) > 4) == (torch.arange(1, 9).unsqueeze(1) > 4)
    assert cosines[1:9, 1:9][same].min() > 0.3 and cosines[1:9, 1:9][~same].abs().max() < 1e-5
    assert rows[0].abs().max() < 1e-6 and rows[9].abs().max() < 1e-6
    assert not neighbour_components(torch.arange(5), torch.arange(5), 10, 16).any()


def test_auto_is_recboles_by_ids_alone(planted):
    by_ids, by_content = (built(planted, "SASRecM", **keys)[0] for keys in ({"modalities": []}, {"encoder_training": "pretrained"}))
    wanted = ("hidden_size", "hidden_dropout_prob", "attn_dropout_prob", "loss_scores", "loss_temperature", "id_start")
    assert [by_ids[key] for key in wanted] == [64, 0.5, 0.5, "dot", 1.0, "random"]
    assert [by_content[key] for key in wanted] == [256, 0.3, 0.3, "cosine", 0.07, "neighbours"]
    assert built(planted, "HSTU", modalities=[], hidden_size=32, loss_scores="cosine")[0]["loss_temperature"] == 0.07


def test_id_dropout_hides_ids_in_training_alone(planted):
    model = built(planted, "SASRecM", feature_files=write_features(planted, ("a",)), id_dropout=0.4, hidden_size=8)[1]
    with torch.no_grad():
        model.item_embedding.weight.zero_()
        content = model.eval().item_rows()
        model.item_embedding.weight.normal_()
        hidden = (model.train().item_rows() == content).all(1)
        assert 0.1 < hidden.float().mean() < 0.8
        assert not (model.eval().item_rows() == content).all(1).any()
