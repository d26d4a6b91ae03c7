"""Graphs against dense references written from their equations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.model import graph as graphs
from recbole_mm.model import sparse
from recbole_mm.model.graph import InteractionGraph, ItemGraph, knn_graph, light_gcn, propagate, sum_graphs
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.testing.planted import built

N_USERS, N_ITEMS = 7, 9
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pairs() -> np.ndarray:
    """bool (n_users, n_items), nothing of padding, one user and one item without any interaction."""
    chosen = np.random.default_rng(0).random((N_USERS, N_ITEMS)) < 0.4
    chosen[0], chosen[:, 0], chosen[3], chosen[:, 5] = False, False, False, False
    return chosen


@pytest.fixture
def graph(pairs) -> InteractionGraph:
    users, items = (torch.from_numpy(ids) for ids in pairs.nonzero())
    return InteractionGraph(users, items, N_USERS, N_ITEMS)


def dense(matrix: SparseMatrix) -> np.ndarray:
    return (matrix @ torch.eye(matrix.shape[1], dtype=torch.float64)).numpy()


def test_repeated_entries_add_up_to_the_same_matrix():
    """Which is how a GPU gets a matrix with more entries than cells."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(n, (60,), generator=draw) for n in (4, 6))
    values = torch.rand(60, generator=draw)
    fewer = sparse._without_repeats(rows, columns, values, (4, 6))
    assert len(fewer[0]) <= 24 and len(set(zip(*(ids.tolist() for ids in fewer[:2]), strict=True))) == len(fewer[0])
    np.testing.assert_allclose(dense(SparseMatrix(*fewer, (4, 6))), dense(SparseMatrix(rows, columns, values, (4, 6))), rtol=1e-6)


def slow_adjacency(pairs: np.ndarray, normalisation: str, self_loops: bool) -> np.ndarray:
    nodes = N_USERS + N_ITEMS
    a = np.zeros((nodes, nodes))
    for u, i in zip(*pairs.nonzero(), strict=True):
        a[u, N_USERS + i] = a[N_USERS + i, u] = 1
    a += self_loops * np.eye(nodes)
    degree, out = a.sum(1), np.zeros_like(a)
    for row, column in zip(*a.nonzero(), strict=True):
        scale = np.sqrt(degree[row] * degree[column]) if normalisation == "symmetric" else degree[row]
        out[row, column] = a[row, column] / scale
    return out


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("normalisation", ["symmetric", "row"])
def test_the_adjacency_is_the_normalised_one(graph, pairs, normalisation, self_loops):
    wanted = slow_adjacency(pairs, normalisation, self_loops)
    adjacency = graph.adjacency(normalisation, self_loops)
    np.testing.assert_allclose(dense(adjacency), wanted, atol=1e-7)
    x = torch.randn(N_USERS + N_ITEMS, 3, dtype=torch.float64, requires_grad=True)
    out = torch.randn_like(x)
    (adjacency @ x * out).sum().backward()
    np.testing.assert_allclose(x.grad, wanted.T @ out.detach().numpy(), atol=1e-6)
    if normalisation == "symmetric" and not self_loops:
        np.testing.assert_allclose(dense(graph.user_item()), wanted[:N_USERS, N_USERS:], atol=1e-7)


def test_the_graph_of_a_data_set_has_its_distinct_training_pairs(planted):
    *_, train, _, _ = built(planted, modalities=[])
    data = train.dataset
    known = set(zip(data.inter_feat["user_id"].tolist(), data.inter_feat["item_id"].tolist(), strict=True))
    data.inter_feat["user_id"][1], data.inter_feat["item_id"][1] = data.inter_feat["user_id"][0], data.inter_feat["item_id"][0]
    fewer = set(zip(data.inter_feat["user_id"].tolist(), data.inter_feat["item_id"].tolist(), strict=True))
    graph = InteractionGraph.from_dataset(data)
    assert len(graph) == len(fewer) == len(known) - 1
    assert set(zip(graph.users.tolist(), graph.items.tolist(), strict=True)) == fewer
    assert (graph.n_users, graph.n_items) == (data.user_num, data.item_num)


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("pool", ["last", "sum", "mean", "light_gcn"])
def test_propagation_is_that_of_matrix_powers(graph, pairs, layers, pool):
    adjacency, x = slow_adjacency(pairs, "symmetric", False), np.random.default_rng(1).normal(size=(N_USERS + N_ITEMS, 4))
    powers = [np.linalg.matrix_power(adjacency, n) for n in range(layers + 1)]
    operator = {"last": powers[-1], "sum": sum(powers)}.get(pool, sum(powers) / (layers + 1))
    ours = torch.tensor(x, requires_grad=True)
    if pool == "light_gcn":
        users, items = light_gcn(graph.adjacency(), ours[:N_USERS], ours[N_USERS:], layers)
        assert len(users) == N_USERS
        result = torch.cat([users, items])
    else:
        result = propagate(graph.adjacency(), ours, layers, pool)
    np.testing.assert_allclose(result.detach(), operator @ x, atol=1e-6)
    out = torch.randn_like(result)
    (result * out).sum().backward()
    np.testing.assert_allclose(ours.grad, operator.T @ out.numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_products_follow_the_dtype_and_half_precision_is_lifted(graph, pairs, dtype):
    x = torch.randn(N_USERS + N_ITEMS, 4).to(dtype).requires_grad_()
    result = propagate(graph.adjacency(), x, 1)
    result.sum().backward()
    assert result.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype) and x.grad.dtype == dtype
    wanted = slow_adjacency(pairs, "symmetric", False) @ x.detach().double().numpy()
    np.testing.assert_allclose(result.detach().double(), wanted, atol=1e-6)


def test_rows_of_users_and_plain_sums_are_the_matrix(graph, pairs):
    users = torch.tensor([4, 3, 0, 6, 4])
    assert np.array_equal(graph.rows(users).numpy(), pairs[users.numpy()])
    places, items = graph.of_users(users)
    assert sorted(zip(places.tolist(), items.tolist(), strict=True)) == list(zip(*pairs[users.numpy()].nonzero(), strict=True))
    np.testing.assert_array_equal(dense(graph.user_item(weighted=False)), pairs)


def test_dropout_of_a_matrix_keeps_entries_and_their_sum():
    torch.manual_seed(0)
    whole = torch.rand(60, 50) * (torch.rand(60, 50) < 0.5)
    matrix = SparseMatrix(*whole.nonzero().T, whole[whole != 0], (60, 50))
    less = torch.from_numpy(dense(matrix.dropout(0.25))).float()
    kept = less != 0
    torch.testing.assert_close(less[kept], whole[kept] / 0.75)
    assert 0.7 < kept.sum() / (whole != 0).sum() < 0.8
    x = torch.rand(50, 3, requires_grad=True)
    dropped = matrix.dropout(0.25)
    (dropped @ x).sum().backward()
    torch.testing.assert_close(x.grad, torch.from_numpy(dense(dropped)).float().sum(0).unsqueeze(1).expand(50, 3))


def test_edge_dropout_drops_both_directions_and_normalises_by_what_is_left():
    rng, n = np.random.default_rng(2), 200
    pairs = np.unravel_index(rng.permutation(n * n)[:8000], (n, n))
    order = np.lexsort(pairs[::-1])
    graph = InteractionGraph(*(torch.from_numpy(ids[order]) for ids in pairs), n, n)
    torch.manual_seed(0)
    part = graph.dropout(0.3)
    assert len(part) / len(graph) == pytest.approx(0.7, abs=0.02)
    a = np.zeros((2 * n, 2 * n))
    a[part.users, n + part.items] = a[n + part.items, part.users] = 1
    degree = np.maximum(a.sum(1), 1)
    np.testing.assert_allclose(dense(part.adjacency()), a / np.sqrt(np.outer(degree, degree)), atol=1e-7)
    assert not torch.equal(graph.dropout(0.3).users, part.users) and len(graph) == 8000
    assert len(graph.dropout(0.0)) == 8000


def test_sampled_edges_follow_their_weights():
    """Two of four without replacement: the chance of each set is the sum over its orders of w_a / W * w_b / (W - w_a)."""
    graph = InteractionGraph(torch.tensor([1, 1, 2, 3]), torch.tensor([1, 2, 1, 3]), 4, 4)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    torch.manual_seed(0)
    seen = np.zeros(4)
    for _ in range(4000):
        part = graph.sample(0.5, weights)
        assert len(part) == 2
        at = {(1, 1): 0, (1, 2): 1, (2, 1): 2, (3, 3): 3}
        for pair in zip(part.users.tolist(), part.items.tolist(), strict=True):
            seen[at[pair]] += 1 / 4000
    w = weights.double().numpy()
    chance = [w[a] + sum(w[b] * w[a] / (1 - w[b]) for b in range(4) if b != a) for a in range(4)]
    np.testing.assert_allclose(seen, chance, atol=0.025)


def slow_knn(x: np.ndarray, k: int, absent: set[int]) -> np.ndarray:
    """(n, n): the similarity where the column is one of the row's k nearest."""
    out = np.zeros((len(x), len(x)))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for i in range(len(x)):
        if i in absent:
            continue
        others = [j for j in range(len(x)) if j not in absent]
        others.sort(key=lambda j: (-round(float(unit[i] @ unit[j]), 6), j))
        for j in others[:k]:
            out[i, j] = unit[i] @ unit[j]
    return out


def dense_graph(graph: ItemGraph) -> np.ndarray:
    out = np.zeros((len(graph.indices), len(graph.indices)))
    np.add.at(out, (np.arange(len(out))[:, None], graph.indices.numpy()), graph.weights.detach().double().numpy())
    return out


@pytest.mark.parametrize("cells", [1, 100, 2**24], ids="chunk of {}".format)
def test_knn_is_that_of_all_pairs_in_any_chunks(monkeypatch, cells):
    monkeypatch.setattr(graphs, "CELLS_AT_ONCE", cells)
    monkeypatch.setattr(sparse, "CELLS_AT_ONCE", cells)
    x = np.random.default_rng(3).normal(size=(40, 6))
    absent = torch.zeros(40, dtype=torch.bool)
    absent[[7, 12]] = True
    ours = knn_graph(torch.tensor(x), 5, absent=absent)
    assert ours.indices.shape == ours.weights.shape == (40, 5)
    np.testing.assert_allclose(dense_graph(ours), slow_knn(x, 5, {0, 7, 12}), atol=1e-9)
    np.testing.assert_allclose(dense_graph(ours.binary()), slow_knn(x, 5, {0, 7, 12}) != 0)


def test_padding_and_absent_items_have_no_neighbours_and_are_none():
    x = torch.ones(6, 3) + 0.01 * torch.randn(6, 3)
    x[0] = 0
    for absent, alone in ((None, [0]), (torch.tensor([False, False, True, False, False, False]), [0, 2])):
        a = dense_graph(knn_graph(x, 4, absent=absent))
        assert not a[alone].any() and not a[:, alone].any() and (a.sum(1) > 0).sum() == 6 - len(alone)
    nobody = knn_graph(x, 4, absent=torch.ones(6, dtype=torch.bool))
    assert not dense_graph(nobody.normalised()).any()
    assert not dense_graph(knn_graph(torch.zeros(6, 3), 4).normalised()).any(), "features of nothing but zeros"


def test_of_equally_near_items_the_first_are_neighbours():
    x = torch.randn(1, 8).repeat(600, 1)
    ours = knn_graph(x, 3)
    assert ours.indices[1:].tolist() == [[1, 2, 3]] * 599


def test_fewer_items_than_neighbours():
    x = torch.randn(4, 5)
    a = dense_graph(knn_graph(x, 10))
    np.testing.assert_allclose(a, slow_knn(x.double().numpy(), 10, {0}), atol=1e-6)


def slow_laplacian(a: np.ndarray) -> np.ndarray:
    """LATTICE's: D^-1/2 A D^-1/2 with D the sums of rows."""
    degree = a.sum(1)
    scale = np.array([0.0 if d <= 0 else d**-0.5 for d in degree])
    return np.diag(scale) @ a @ np.diag(scale)


def test_lattices_learned_graph_and_its_gradients_are_those_of_the_dense_formula():
    """Two modalities' kNN graphs summed with weights, normalised, applied to embeddings: value and gradients of all that trains."""
    torch.manual_seed(1)
    n, k = 30, 4
    features = [torch.rand(n, d, dtype=torch.float64, requires_grad=True) for d in (5, 7)]
    logits, h = torch.randn(2, dtype=torch.float64, requires_grad=True), torch.randn(n, 6, dtype=torch.float64, requires_grad=True)
    out = torch.randn(n, 6, dtype=torch.float64)
    learned = sum_graphs([knn_graph(x, k) for x in features], logits.softmax(0)).normalised()
    ours = learned @ h
    (ours * out).sum().backward()
    grads = [t.grad.clone() for t in (*features, logits, h)]
    for t in (*features, logits, h):
        t.grad = None
    a = 0
    for x, w in zip(features, logits.softmax(0), strict=True):
        unit = x / x.norm(dim=1, keepdim=True)
        kept = torch.from_numpy(slow_knn(x.detach().numpy(), k, {0}) != 0)
        a = a + w * torch.where(kept, unit @ unit.T, 0.0)
    degree = a.sum(1)
    scale = torch.cat([degree.new_zeros(1), degree[1:].rsqrt()])
    laplacian = scale.unsqueeze(1) * a * scale
    np.testing.assert_allclose(laplacian.detach(), slow_laplacian(a.detach().numpy()), atol=1e-12)
    np.testing.assert_allclose(dense_graph(learned), laplacian.detach(), atol=1e-9)
    np.testing.assert_allclose(ours.detach(), (laplacian @ h).detach(), atol=1e-9)
    np.testing.assert_allclose((learned.frozen() @ h).detach(), ours.detach(), atol=1e-6)
    (laplacian @ h * out).sum().backward()
    for ours_grad, t in zip(grads, (*features, logits, h), strict=True):
        torch.testing.assert_close(ours_grad, t.grad, rtol=1e-7, atol=1e-9)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(2)
    x, h = torch.rand(12, 4, dtype=torch.float64, requires_grad=True), torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h: knn_graph(x, 3).normalised() @ h, (x, h))
    frozen = knn_graph(x.detach(), 3).frozen()
    x = torch.randn(12, 3, requires_grad=True)
    (frozen @ x).sum().backward()
    np.testing.assert_allclose(x.grad, (dense(frozen).T @ np.ones((12, 3))), atol=1e-5)


def test_a_float32_laplacian_is_within_1e_6_of_the_dense_one():
    x = np.random.default_rng(4).normal(size=(500, 32))
    ours = dense_graph(knn_graph(torch.tensor(x, dtype=torch.float32), 10).normalised())
    assert np.abs(ours - slow_laplacian(slow_knn(x, 10, {0}))).max() < 1e-6


def test_large_catalogues_never_need_all_pairs_at_once():
    """12,000 items: all pairs would be 0.6 GB as float32; the graph takes a fifth of it above what was there before."""
    code = (
        "import resource, torch; from recbole_mm.model import graph, sparse\n"
        "graph.CELLS_AT_ONCE = sparse.CELLS_AT_ONCE = 2**20\n"
        "x = torch.randn(12_000, 16, requires_grad=True); graph.knn_graph(x[:500], 10).weights.sum().backward()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "graph.knn_graph(x, 10).normalised().weights.sum().backward()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert int(grown) * 1024 < 12_000**2 * 4 / 5
