"""The data set of sequence models, beside RecBole's rows and a slow reading of the file."""

import pytest
import torch

from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset
from recbole_mm.testing.planted import built, write_planted

SPLITS = [{"LS": "valid_and_test"}, {"RS": [0.7, 0.1, 0.2]}, {"TS": [0.6, 0.2, 0.2]}]
KEYS = {"modalities": [], "MAX_ITEM_LIST_LENGTH": 4}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("sequences") / "shop", n_users=12, n_items=24)


def rows(dataset) -> list[str]:
    return sorted(map(str, zip(*(values.tolist() for values in dataset.inter_feat.interaction.values()), strict=True)))


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_validation_and_test_have_recboles_rows(shop, split):
    keys = {**KEYS, "eval_args": {"split": split, "order": "TO", "group_by": "user", "mode": "full"}}
    ours, prefixes, recboles = (built(shop, model, **keys, **more)[2:] for model, more in [
        ("SASRecM", {}), ("SASRecM", {"sequence_rows": "prefixes"}), ("SASRec", {"fast_loop": False, "train_neg_sample_args": None}),
    ])  # fmt: skip
    for part in range(1, 3):
        columns = [loader[part].dataset.inter_feat.interaction for loader in (ours, prefixes, recboles)]
        assert all(list(columns[0]) == list(other) for other in columns[1:])
        assert all(torch.equal(columns[0][name], other[name]) for other in columns[1:] for name in columns[0])
    assert rows(prefixes[0].dataset) == rows(recboles[0].dataset)


def test_training_has_each_interaction_once_and_no_histories(shop):
    train, valid, test = built(shop, "SASRecM", **KEYS)[2:]
    assert isinstance(train.dataset, MultiModalSequentialDataset) and "item_id_list" not in train.dataset.inter_feat.columns
    of_user = {}
    for line in (shop / "shop.inter").read_text().splitlines()[1:]:
        user, item, time = line.split("\t")
        of_user.setdefault(user, []).append((float(time), item))
    data = train.dataset
    found = list(
        zip(data.id2token("user_id", data.inter_feat["user_id"]), data.id2token("item_id", data.inter_feat["item_id"]), strict=True)
    )
    wanted = [(user, item) for user, own in of_user.items() for _, item in sorted(own)[:-2]]
    assert sorted(found) == sorted(wanted)
    assert [item for user, item in found if user == "u3"] == [item for user, item in wanted if user == "u3"]
    assert not pairs(data) & (pairs(valid.dataset) | pairs(test.dataset))


def pairs(dataset) -> set[tuple[int, int]]:
    return set(zip(*(dataset.inter_feat[field].tolist() for field in ("user_id", "item_id")), strict=True))


def test_after_the_split_the_whole_is_there_for_a_training_on_everything(shop):
    train, valid, test = built(shop, "SASRecM", **KEYS)[2:]
    assert len(train.dataset.whole) == len(train.dataset.inter_feat) + len(valid.dataset) + len(test.dataset) == 12 * 6
