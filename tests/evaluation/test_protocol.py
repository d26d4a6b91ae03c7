"""What is masked, what is drawn as a negative, and what a cold item is."""

import numpy as np
import pytest
import torch

from recbole_mm import run
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.evaluation.protocol import evaluate_parts
from recbole_mm.testing.planted import settings
from recbole_mm.training.loaders import create_dataset, data_preparation


def loaders(folder, model="BPR", **keys):
    config = MultiModalConfig(model, folder.name, config_dict=settings(folder, **keys))
    dataset = create_dataset(config)
    return dataset, *data_preparation(config, dataset)


def pairs(loader) -> set[tuple[int, int]]:
    interactions = loader.dataset.inter_feat
    return set(zip(interactions["user_id"].tolist(), interactions["item_id"].tolist(), strict=True))


@pytest.mark.parametrize("model", ["BPR", "CLIPRec"])
@pytest.mark.parametrize("mask_valid", [True, False])
def test_what_is_masked_at_test(planted, model, mask_valid):
    _, train, valid, test = loaders(planted, model, mask_valid_items=mask_valid)
    masked = {(user, item) for user in test.uid_list.tolist() for item in test.uid2history_item[user].tolist()}
    assert masked == (pairs(train) | pairs(valid) if mask_valid else pairs(train))
    relevant = {(user, item) for user in test.uid_list.tolist() for item in test.uid2positive_item[user].tolist()}
    assert relevant == pairs(test)
    before = {(user, item) for user in valid.uid_list.tolist() for item in valid.uid2history_item[user].tolist()}
    assert before == pairs(train)


def test_masking_changes_the_score_as_it_should(planted):
    """Popularity ranks validation items as high as any: left unmasked they take places from the test items."""
    keys = {"epochs": 1, "eval_args": {"split": {"RS": [0.2, 0.4, 0.4]}}}
    masked, unmasked = (
        run("Pop", planted.name, config_dict=settings(planted, mask_valid_items=mask, **keys), saved=False)["test_result"]
        for mask in (True, False)
    )
    assert unmasked["recall@10"] < masked["recall@10"]


def test_negatives_can_be_kept_to_the_items_of_training(planted):
    drawn = {}
    for source in ("all", "training"):
        dataset, train, *_ = loaders(planted, negative_items=source, eval_args={"split": {"RS": [0.2, 0.4, 0.4]}})
        seen = set(train.dataset.inter_feat["item_id"].tolist())
        assert len(seen) < dataset.item_num - 1
        drawn[source] = set().union(*(set(batch["neg_item_id"].tolist()) for _ in range(10) for batch in train))
        positives = pairs(train)
        assert not any(
            pair in positives for batch in train for pair in zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True)
        )
    assert drawn["training"] == seen and drawn["all"] == set(range(1, dataset.item_num))


@pytest.mark.parametrize("model", ["BPR", "CLIPRec"])
def test_cold_items_are_in_no_training_part_and_are_no_negatives(planted, model):
    dataset, train, valid, test = loaders(planted, model, cold_item_ratio=0.25, loss_type="BPR")
    cold = set(dataset.cold_items.tolist())
    assert len(cold) == 12 and 0 not in cold
    assert not cold & set(train.dataset.inter_feat["item_id"].tolist())
    assert cold & set(valid.dataset.inter_feat["item_id"].tolist()) and cold & set(test.dataset.inter_feat["item_id"].tolist())
    assert not any(cold & set(batch["neg_item_id"].tolist()) for batch in train)
    tokens = lambda data: set(data.id2token("item_id", data.cold_items.numpy()))  # noqa: E731
    assert tokens(loaders(planted, model, cold_item_ratio=0.25)[0]) == tokens(dataset)
    assert tokens(loaders(planted, model, cold_item_ratio=0.25, seed=1)[0]) != tokens(dataset)


def test_a_file_of_cold_items(planted, tmp_path):
    file = tmp_path / "cold.txt"
    file.write_text("i3\ni7\n")
    dataset, *_ = loaders(planted, cold_items=str(file))
    assert set(dataset.id2token("item_id", dataset.cold_items.numpy())) == {"i3", "i7"}
    file.write_text("i3\nnobody\n")
    with pytest.raises(InputError, match="1 tokens are no items of this data set: nobody"):
        loaders(planted, cold_items=str(file))
    with pytest.raises(InputError, match="there is no file"):
        loaders(planted, cold_items=str(tmp_path / "no.txt"))
    with pytest.raises(InputError, match="cold_item_ratio"):
        loaders(planted, cold_item_ratio=1.5)


def test_content_finds_cold_items_and_ids_do_not(planted):
    keys = {"cold_item_ratio": 0.25, "use_id": False, "epochs": 8, "encoder_learning_rate": 3e-3, "learning_rate": 0.02, "stopping_step": 9,
            "encoder": "beit3:tiny"}  # fmt: skip
    result = run("CLIPRec", planted.name, config_dict=settings(planted, **keys), saved=False)
    assert {"test_result", "test_result_warm", "test_result_cold"} <= result.keys()
    assert result["test_result_cold"]["recall@10"] > 0.5, "content finds items that nobody bought in training"
    ids = run("BPR", planted.name, config_dict=settings(planted, cold_item_ratio=0.25, epochs=3), saved=False)
    assert ids["test_result_cold"]["recall@10"] < 0.45
    assert "test_result_cold" not in run("BPR", planted.name, config_dict=settings(planted, epochs=1), saved=False)


def test_parts_count_only_their_items(planted):
    dataset, train, _, test = loaders(planted, cold_item_ratio=0.25)
    seen = []

    class Trainer:
        def evaluate(self, loader, load_best_model):
            seen.append(loader)
            return {}

    config = train.config
    evaluate_parts(config, Trainer(), train, test)
    cold = set(dataset.cold_items.tolist())
    everything = pairs(test)
    warm_loader, cold_loader = seen
    assert pairs(warm_loader) == {p for p in everything if p[1] not in cold} and pairs(cold_loader) == everything - pairs(warm_loader)
    for loader in seen:
        for user in loader.uid_list.tolist():
            masked = set(loader.uid2history_item[user].tolist())
            others = {item for u, item in everything if u == user} - {item for u, item in pairs(loader) if u == user}
            assert others <= masked and not masked & set(loader.uid2positive_item[user].tolist())
    assert torch.equal(torch.from_numpy(np.sort(dataset.cold_items.numpy())), dataset.cold_items)
