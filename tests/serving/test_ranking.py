"""The best items by score: exact, and the same whatever the machine, beside a slow reference."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbole_mm.serving import ranking
from recbole_mm.serving.exact import best_products
from recbole_mm.serving.ranking import FEW, GROUP, best


def slowly(scores: Tensor, k: int) -> list[tuple[int, int, float]]:
    """(row, column, score) of the best k, by sorting everything in Python."""
    rows = []
    for row, values in enumerate(scores.tolist()):
        order = sorted(range(len(values)), key=lambda column: (-values[column], column))[:k]
        rows += [(row, column, values[column]) for column in order if values[column] > -torch.inf]
    return rows


def as_rows(found: tuple[Tensor, Tensor, Tensor]) -> list[tuple[int, int, float]]:
    return list(zip(*(part.tolist() for part in found), strict=True))


@st.composite
def score_tables(draw) -> Tensor:
    """A few rows of up to ten groups, of few or many distinct values, some of them -inf."""
    n, m, seed = draw(st.integers(0, 4)), draw(st.integers(1, 10 * GROUP)), draw(st.integers(0, 2**16))
    levels, hidden = draw(st.sampled_from([1, 2, 7, 10**6])), draw(st.sampled_from([0.0, 0.1, 0.95, 1.0]))
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randint(-levels, levels, (n, m), generator=rng).float()
    return scores.masked_fill(torch.rand((n, m), generator=rng) < hidden, -torch.inf)


@settings(max_examples=150, deadline=None)
@given(score_tables(), st.sampled_from([1, 2, 3, 10, 500, 2000]))
def test_best_is_the_slow_sort(scores, k):
    for few in (0, FEW):
        with patch.object(ranking, "FEW", few):
            assert as_rows(best(scores, k)) == slowly(scores, k)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_best_products_is_the_slow_sort_of_the_product(data):
    """Small whole numbers, so that every order of summing gives the same scores, and ties abound."""
    n, m, d, k = (data.draw(st.integers(*bounds)) for bounds in ((0, 5), (1, 12 * GROUP), (1, 5), (1, 4)))
    rng = torch.Generator().manual_seed(data.draw(st.integers(0, 2**16)))
    queries, items = (torch.randint(-3, 4, (size, d), generator=rng).float() for size in (n, m))
    allowed = torch.rand(m, generator=rng) >= data.draw(st.sampled_from([0.0, 0.1, 0.9, 1.0]))
    n_banned = data.draw(st.integers(0, 40)) if n else 0
    banned = torch.randint(max(n, 1), (n_banned,), generator=rng), torch.randint(m, (n_banned,), generator=rng)
    scores = (queries @ items.T).masked_fill(~allowed, -torch.inf)
    scores[banned] = -torch.inf
    assert as_rows(best_products(queries, items, k, allowed, banned, at_once=(2, 3 * GROUP))) == slowly(scores, k)


@pytest.mark.parametrize("k", [1, 10, 400])
def test_best_products_of_many_items(k):
    rng = torch.Generator().manual_seed(0)
    queries, items = torch.randn(300, 16, generator=rng), torch.randn(20_000, 16, generator=rng)
    rows, columns, values = best_products(queries, items, k)
    wanted, places = (queries @ items.T).topk(k)
    assert rows.tolist() == torch.arange(300).repeat_interleave(k).tolist()
    torch.testing.assert_close(values.view(300, k), wanted)
    assert float((columns.view(300, k) == places).float().mean()) > 0.999, "but for what rounding may exchange"
