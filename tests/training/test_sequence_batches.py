"""Batches of one row per user, beside a slow reference."""

import pytest
import torch

from recbole_mm.testing.planted import built, write_planted
from recbole_mm.training.sequence_batches import SequenceBatches

LONGEST = 3


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Of the users' histories, some are longer than the longest list, and u0 has too few interactions to learn from."""
    folder = write_planted(tmp_path_factory.mktemp("sequences") / "shop", n_users=10, n_items=40)
    kept = [line for line in (folder / "shop.inter").read_text().splitlines()
            if not line.startswith("u0\t") and not (line.startswith("u1\t") and float(line.split("\t")[2]) > 3)]  # fmt: skip
    (folder / "shop.inter").write_text("\n".join([*kept, "u0\ti1\t1"]) + "\n")
    return folder


def loader(folder, **keys) -> SequenceBatches:
    return built(folder, "SASRecM", **{"modalities": [], "MAX_ITEM_LIST_LENGTH": LONGEST, "train_batch_size": 4, **keys})[2]


def test_a_row_is_a_users_history_and_what_comes_next(shop):
    batches = loader(shop)
    assert isinstance(batches, SequenceBatches)
    data, rows = batches.dataset, {}
    own: dict[int, list[tuple[int, float]]] = {}
    for user, item, time in zip(*(data.inter_feat[name].tolist() for name in ("user_id", "item_id", "timestamp")), strict=True):
        own.setdefault(user, []).append((item, time))
    drawn = list(batches)
    assert [len(batch) for batch in drawn] == [4, 4, 1] and len(batches) == 3
    for batch in drawn:
        assert batch["item_id_list"].shape[1] == batch["item_length"].max()
        for row in range(len(batch)):
            n, user = int(batch["item_length"][row]), int(batch["user_id"][row])
            rows[user] = [batch[name][row].tolist() for name in ("item_id_list", "timestamp_list", "next_item_ids")]
            assert all(value == 0 for column in rows[user] for value in column[n:])
            rows[user] = [column[:n] for column in rows[user]]
    alone = data.token2id("user_id", "u0")
    assert rows.keys() == own.keys() - {alone} and len(own[alone]) == 1
    for user, (items, times, following) in rows.items():
        latest = own[user][-LONGEST - 1 :]
        assert list(zip(items, times, strict=True)) == latest[:-1]
        assert following == [item for item, _ in latest[1:]]


def test_the_order_follows_from_the_seed_and_goes_on_where_it_was(shop):
    def users(batches):
        return [batch["user_id"].tolist() for batch in batches]

    first, second = loader(shop), loader(shop)
    before = users(first)
    state = first.generator.get_state()
    assert before == users(second)
    after = users(first)
    assert after != before
    second.generator.set_state(state)
    assert users(second) == after


def test_negatives_are_items_that_the_user_does_not_have(shop):
    batches = loader(shop, loss_type="sampled_softmax", train_neg_sample_args={"distribution": "uniform", "sample_num": 20})
    data = batches.dataset
    had = set(zip(data.inter_feat["user_id"].tolist(), data.inter_feat["item_id"].tolist(), strict=True))
    for batch in batches:
        assert batch["neg_item_id"].shape == (len(batch), 20)
        users = batch["user_id"].repeat_interleave(20).tolist()
        drawn = set(zip(users, batch["neg_item_id"].flatten().tolist(), strict=True))
        assert not drawn & had and all(item > 0 for _, item in drawn)


def test_cold_items_are_in_no_history_of_training(shop):
    batches = loader(shop, cold_item_ratio=0.2)
    cold = set(batches.dataset.cold_items.tolist())
    read = torch.cat([batch[name].flatten() for batch in batches for name in ("item_id_list", "next_item_ids")])
    assert cold and not cold & set(read.tolist())


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_prefixes_with_negatives_are_read_like_rows_per_user(shop, distribution):
    """RecBole repeats a batch once per negative; the model reads the same steps, each with its own negatives."""
    arguments = {"distribution": distribution, "sample_num": 3}
    config, model, train, *_ = built(shop, "SASRecM", modalities=[], sequence_rows="prefixes", loss_type="sampled_softmax",
                                     train_neg_sample_args=arguments, train_batch_size=12)  # fmt: skip
    for batch in train:
        read = model.next_items(batch)
        assert len(read.users) == len(batch) // 3 and read.negatives.shape == (len(read.users), 3)
        assert torch.equal(read.users.repeat(3), batch["user_id"]) and torch.equal(read.targets.repeat(3), batch["item_id"])
        assert torch.equal(read.negatives.T.flatten(), batch["neg_item_id"])
