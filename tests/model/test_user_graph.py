"""The graph between users against a dense count of their items in common."""

import subprocess
import sys
from math import exp
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.model import user_graph as module
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.user_graph import user_graph

ROOT = Path(__file__).resolve().parents[2]


def of(pairs: np.ndarray) -> InteractionGraph:
    """The graph of bool (n_users, n_items)."""
    return InteractionGraph(*(torch.from_numpy(ids) for ids in pairs.nonzero()), *pairs.shape)


def matrix(pairs: np.ndarray, k: int) -> np.ndarray:
    return (user_graph(of(pairs), k) @ torch.eye(len(pairs))).numpy()


def slow_user_graph(pairs: np.ndarray, k: int) -> np.ndarray:
    """(n_users, n_users), from all pairs of users."""
    n, out = len(pairs), np.zeros((len(pairs), len(pairs)))
    common = pairs.astype(int) @ pairs.astype(int).T
    for u in range(n):
        others = [v for v in range(n) if v != u and common[u, v]]
        nearest = sorted(others, key=lambda v: (-common[u, v], pairs[v].sum(), v))[:k]
        weights = [exp(common[u, v]) for v in nearest]
        for v, weight in zip(nearest, weights, strict=True):
            out[u, v] = weight / sum(weights)
    return out


@pytest.fixture
def pairs() -> np.ndarray:
    """30 users, 12 items, many ties; user 0 is padding, user 5 has nothing in common with anybody, and user 6 with user 7 alone."""
    drawn = np.random.default_rng(0).random((30, 12)) < 0.25
    drawn[:, 0], drawn[0] = False, False
    drawn[5:8], drawn[:, 9:] = False, False
    drawn[5, 9] = drawn[6, 10] = drawn[7, 10] = drawn[7, 1] = True
    return drawn


@pytest.mark.parametrize("k", [1, 4, 40])
@pytest.mark.parametrize("at_once", [1, 60, 2**21], ids="chunk of {}".format)
def test_it_is_the_softmax_over_the_largest_counts_in_any_chunks(monkeypatch, pairs, at_once, k):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    wanted = slow_user_graph(pairs, k)
    np.testing.assert_allclose(matrix(pairs, k), wanted, atol=1e-6)
    assert not wanted[[0, 5]].any() and wanted[6, 7] == 1


def test_of_equal_counts_the_users_of_fewer_items_come_first_then_the_smaller_ids():
    pairs = np.zeros((6, 6), dtype=bool)
    pairs[1, 1] = pairs[2, [1, 2]] = pairs[3, 1] = pairs[4, [1, 3, 4]] = pairs[5, 1] = True
    assert matrix(pairs, 2)[1].nonzero()[0].tolist() == [3, 5]
    assert matrix(pairs, 3)[1].nonzero()[0].tolist() == [2, 3, 5]


def test_large_counts_do_not_overflow():
    pairs = np.ones((3, 900), dtype=bool)
    pairs[2, :100] = False
    np.testing.assert_allclose(matrix(pairs, 2)[0], [0, 1, 0], atol=1e-6)


def test_without_any_interaction_there_is_no_neighbour():
    assert not matrix(np.zeros((3, 4), dtype=bool), 5).any()


def test_a_gradient_passes_back_through_it(pairs):
    x = torch.randn(len(pairs), 3, requires_grad=True)
    out = torch.randn(len(pairs), 3)
    ((user_graph(of(pairs), 4) @ x) * out).sum().backward()
    np.testing.assert_allclose(x.grad, slow_user_graph(pairs, 4).T @ out.numpy(), atol=1e-5)


def test_many_users_never_need_all_pairs_at_once():
    """20,000 users: all pairs would be 1.6 GB as float32; the graph takes a tenth of it above what was there before."""
    code = (
        "import resource, torch\n"
        "from recbole_mm.model import user_graph\n"
        "from recbole_mm.model.graph import InteractionGraph\n"
        "user_graph.PAIRS_AT_ONCE = 2**17\n"
        "def made(n): return user_graph.user_graph(InteractionGraph(torch.arange(n).repeat(5), torch.randint(1, n, (5 * n,)), n, n), 40)\n"
        "made(100); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "made(20_000); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert int(grown) * 1024 < 20_000**2 * 4 / 10
