"""Principal components of frozen features."""

import pytest
import torch

from recbole_mm.errors import InputError
from recbole_mm.feature.rank import reduced
from recbole_mm.items.feature_table import Table
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving.queries import check_encodes
from recbole_mm.testing.planted import built, write_features


def table(rank: int, n: int = 40, width: int = 12, noise: float = 0.0) -> Table:
    """Rows of a given rank, and noise. The first is the padding item."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(n, rank, generator=draw) @ torch.randn(rank, width, generator=draw) + noise * torch.randn(n, width, generator=draw)
    rows[0] = 0
    return Table(rows, torch.arange(n) > 0, "made", codes=torch.arange(n))


def test_rows_of_a_lower_rank_keep_their_products(caplog):
    given = table(5)
    with caplog.at_level("INFO"):
        found = reduced("image", given, 5)
    assert found.rows.shape == (40, 5) and not found.rows[0].any() and found.codes is None
    torch.testing.assert_close(found.rows @ found.rows.T, given.rows @ given.rows.T, rtol=1e-4, atol=1e-4)
    assert "feature_rank 5: image keeps 1.0000 of the energy of 12 numbers per item" in caplog.text
    assert found.fingerprint == reduced("image", given, 5).fingerprint != reduced("image", given, 4).fingerprint
    assert torch.equal(found.rows, reduced("image", given, 5).rows)


@pytest.mark.parametrize("rank", [1, 4, 11])
def test_they_are_the_best_of_their_number(rank):
    given = table(12, noise=1.0)
    squares = torch.linalg.svdvals(given.rows.double()).square()
    kept = reduced("image", given, rank).rows.double().square().sum(0)
    torch.testing.assert_close(kept, squares[:rank], rtol=1e-4, atol=1e-3)


def test_more_components_than_numbers_or_items():
    given = table(5)
    assert reduced("image", given, 12) is given and reduced("image", given, 99) is given
    few = reduced("image", table(3, n=4), 6)
    assert few.rows.shape == (4, 6) and not few.rows[:, 4:].any()


def test_a_run_with_them(planted):
    files = write_features(planted, names=("a", "b"))
    config, model, train, valid, _ = built(planted, "VBPR", feature_files=files, feature_rank=3)
    assert model.item_features.dims == {"a": 3, "b": 3} and model.project.in_features == 6
    build_trainer(config, model)._train_epoch(train, 0)
    with pytest.raises(InputError, match="feature_rank 3: the items' features are components"):
        check_encodes(config, True)
