"""What users have used is what RecBole's sampler says, without a set for each of them."""

import numpy as np
import pytest
import recbole.data.utils as recbole_data

from recbole_mm.data.samplers import create_samplers
from recbole_mm.training.loaders import create_dataset
from tests.data.tables import config, write


def parts_of(tmp_path, n_items: int = 12, **keys):
    rng = np.random.default_rng(1)
    rows = [
        [f"u{u}", f"i{i}", "1", str(n)] for n, (u, i) in enumerate(zip(rng.integers(0, 9, 90), rng.integers(0, n_items, 90), strict=True))
    ]
    folder = write(tmp_path / "shop", rows)
    settings = config(folder, **keys)
    dataset = create_dataset(settings)
    return settings, dataset, dataset.build()


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_used_items_and_draws_are_recboles(tmp_path, distribution):
    settings, dataset, parts = parts_of(tmp_path, 40, train_neg_sample_args={"distribution": distribution, "sample_num": 1, "alpha": 0.7})
    for mine, theirs in zip(create_samplers(settings, dataset, parts), recbole_data.create_samplers(settings, dataset, parts), strict=True):
        assert len(mine.used_ids) == len(theirs.used_ids) and mine.phase == theirs.phase and mine.distribution == theirs.distribution
        assert [mine.used_ids[user] for user in range(dataset.user_num)] == list(theirs.used_ids)
        users = parts[0].inter_feat["user_id"].numpy()
        assert list(mine.used_ids[users]) == list(theirs.used_ids[users])
        draws = []
        for sampler in (mine, theirs):
            np.random.seed(2)
            draws.append(sampler.sample_by_user_ids(users, None, 3).tolist())
        assert draws[0] == draws[1]


def test_a_user_who_has_every_item_is_refused_as_ever(tmp_path):
    settings, dataset, parts = parts_of(tmp_path, 4)
    for make in (create_samplers, recbole_data.create_samplers):
        with pytest.raises(ValueError, match="interacted with all items"):
            make(settings, dataset, parts)


def test_without_negatives_in_training_the_evaluation_has_its_own(tmp_path):
    settings, dataset, parts = parts_of(tmp_path, 40, model="SASRec")
    train, valid, test = create_samplers(settings, dataset, parts)
    assert train is None and valid.phase == "valid" and test.phase == "test" and valid.alpha == 1.0
