"""Edges against dense matrices."""

import numpy as np
import pytest
import torch

from recbole_mm.model.edges import Edges
from recbole_mm.model.graph import InteractionGraph


@pytest.fixture
def pairs() -> np.ndarray:
    """bool (n_users, n_items), one user and one item without any interaction."""
    chosen = np.random.default_rng(0).random((7, 9)) < 0.4
    chosen[3], chosen[:, 5] = False, False
    return chosen


@pytest.fixture
def graph(pairs) -> InteractionGraph:
    return InteractionGraph(*map(torch.from_numpy, pairs.nonzero()), *pairs.shape)


def test_edges_are_a_dense_matrix_and_so_are_their_gradients(graph, pairs):
    torch.manual_seed(0)
    edges, here = Edges.of_users(graph), torch.from_numpy(pairs)
    a, b = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (graph.n_users, graph.n_items))
    shares = edges.softmax(edges.products(a, b))
    out = edges.sum(shares, b)
    weights = torch.where(here, a @ b.T, -torch.inf).softmax(1).nan_to_num(0)
    torch.testing.assert_close(out, weights @ b)
    torch.testing.assert_close(shares, weights[edges.rows, edges.columns])
    upstream = torch.randn_like(out)
    ours = torch.autograd.grad(out, (a, b), upstream)
    for gradient, wanted in zip(ours, torch.autograd.grad(weights @ b, (a, b), upstream), strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_the_edges_of_nodes_are_the_adjacency(graph):
    values, edges = torch.rand(2 * len(graph)), Edges.of_nodes(graph)
    there = torch.zeros(graph.n_users + graph.n_items, graph.n_users + graph.n_items)
    there[edges.rows, edges.columns] = values
    assert np.array_equal(there.numpy() != 0, (graph.adjacency() @ torch.eye(len(there))).numpy() != 0)
    torch.testing.assert_close(edges.sum(values, torch.eye(len(there))), there)
