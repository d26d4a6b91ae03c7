"""The best items and the ranks that are found without whole matrices are RecBole's, equal scores included."""

import numpy as np
import pytest
import torch
from recbole.evaluator import metrics as recboles
from recbole.evaluator.collector import Collector
from recbole.evaluator.evaluator import Evaluator
from recbole.evaluator.register import metrics_dict
from recbole.utils import EvaluatorType

from recbole_mm.evaluation import scores as forms
from recbole_mm.evaluation.collector import RankingCollector
from recbole_mm.evaluation.evaluator import RankingEvaluator
from recbole_mm.evaluation.scores import Candidates, Products, WholeRows
from recbole_mm.evaluation.top import top_k

RANKING = [
    name for name, kind in metrics_dict.items() if kind.metric_type == EvaluatorType.RANKING and kind.__module__ == recboles.__name__
]
CONFIG = {
    "metrics": RANKING, "topk": [1, 3, 10], "metric_decimal_place": 12, "eval_args": {"mode": {"valid": "full", "test": "full"}},
    "device": torch.device("cpu"), "tail_ratio": None, "LABEL_FIELD": "label",
}  # fmt: skip
N_USERS, N_ITEMS, WIDTH = 30, 900, 6


@pytest.fixture(autouse=True)
def numpy_names(monkeypatch):
    """Which RecBole's configuration gives back to numpy, and its metrics use."""
    for name, kind in (("float", float), ("bool", bool)):
        monkeypatch.setattr(np, name, kind, raising=False)


def drawn(levels: int | None, n_positive: int = 3):
    """Embeddings whose products are whole numbers where there are ``levels``, what is masked, and what is relevant: (row, item) pairs."""
    rng = torch.Generator().manual_seed(levels or 0)
    if levels:
        tables = [torch.randint(-levels, levels + 1, (n, WIDTH), generator=rng).float() for n in (N_USERS, N_ITEMS)]
    else:
        tables = [torch.randn(n, WIDTH, generator=rng) for n in (N_USERS, N_ITEMS)]
    lots = torch.rand(N_USERS, N_ITEMS - 1, generator=rng).argsort(1) + 1
    rows = torch.arange(N_USERS).unsqueeze(1)
    counts = torch.arange(N_USERS).unsqueeze(1) % n_positive + 1
    relevant, masked = torch.arange(N_ITEMS - 1) < counts, (torch.arange(N_ITEMS - 1) >= counts) & (torch.arange(N_ITEMS - 1) < counts + 40)
    return tables, *((rows.expand_as(lots)[of], lots[of]) for of in (masked, relevant))


def whole(tables, masked) -> torch.Tensor:
    scores = tables[0] @ tables[1].T
    scores[:, 0] = scores[masked] = -torch.inf
    return scores


def training() -> dict:
    counts = np.random.default_rng(0).integers(1, 9, N_ITEMS // 2)
    return {"data.num_items": N_ITEMS, "data.count_items": {i + 1: int(n) for i, n in enumerate(counts)}}


def measured(collector, evaluator, batches, config=CONFIG) -> dict:
    collector, evaluator = collector(config), evaluator(config)
    for key, value in training().items():
        collector.data_struct.set(key, value)
    for scores, relevant in batches:
        whole = torch.is_tensor(scores) and isinstance(collector, RankingCollector)
        collector.eval_batch_collect(WholeRows(scores) if whole else scores, None, *relevant)
    return evaluator.evaluate(collector.get_data_struct())


def halves(rows: torch.Tensor, items: torch.Tensor, half: int):
    own = (rows < 17) == (half == 0)
    return rows[own] - 17 * half, items[own]


@pytest.mark.parametrize("levels", [None, 1, 3], ids="levels {}".format)
@pytest.mark.parametrize("n_positive", [3, 30])
@pytest.mark.parametrize("config", [CONFIG, {**CONFIG, "tail_ratio": 3, "topk": [5]}], ids=["", "tail"])
def test_every_metric_is_recboles(levels, n_positive, config):
    tables, masked, relevant = drawn(levels, n_positive)
    scores = whole(tables, masked)
    batches = [(scores[:17], halves(*relevant, 0)), (scores[17:], halves(*relevant, 1))]
    theirs, ours = measured(Collector, Evaluator, batches, config), measured(RankingCollector, RankingEvaluator, batches, config)
    assert list(ours) == list(theirs) and "gauc" in ours and len(ours) == 11 * len(config["topk"]) + 1
    assert {name: pytest.approx(value, abs=1e-7, rel=1e-7) for name, value in theirs.items()} == ours


@pytest.mark.parametrize("levels", [None, 1, 3], ids="levels {}".format)
@pytest.mark.parametrize("n_positive", [3, 30])
@pytest.mark.parametrize("room", [5_000, 20 * N_ITEMS, N_USERS * N_ITEMS, 2])
def test_products_in_parts_are_the_whole_matrix(levels, n_positive, room, monkeypatch):
    monkeypatch.setattr(forms, "IN_PARTS", 8)
    monkeypatch.setattr(forms, "WHOLE", 4)
    tables, masked, relevant = drawn(levels, n_positive)
    products = Products(*tables, masked, torch.empty(room))
    found = measured(RankingCollector, RankingEvaluator, [(products, relevant)])
    assert found == pytest.approx(measured(RankingCollector, RankingEvaluator, [(whole(tables, masked), relevant)]), abs=1e-12)
    scores = whole(tables, masked)
    assert torch.equal(products.top(10), scores.topk(10).indices)
    assert torch.equal(Products(*tables, masked, torch.empty(room)).rank_sums(*relevant), WholeRows(scores).rank_sums(*relevant))


@pytest.mark.parametrize("levels", [None, 1], ids="levels {}".format)
@pytest.mark.parametrize("n", [3, 40])
def test_candidates_are_a_matrix_of_few(levels, n):
    """Among them are items that are given twice, and rows with fewer than k candidates or one of -inf."""
    tables, _, relevant = drawn(levels)
    rng = torch.Generator().manual_seed(5)
    rows = torch.cat([relevant[0], torch.arange(N_USERS).repeat_interleave(n)])
    items = torch.cat([relevant[1], torch.randint(1, N_ITEMS, (N_USERS * n,), generator=rng)])
    values = (tables[0][rows] * tables[1][items]).sum(1)
    values[items == relevant[1][4]] = -torch.inf
    scores = torch.full((N_USERS, N_ITEMS), -torch.inf)
    scores[rows, items] = values
    theirs = measured(Collector, Evaluator, [(scores, relevant)])
    ours = measured(RankingCollector, RankingEvaluator, [(Candidates(rows, items, values, N_USERS, N_ITEMS), relevant)])
    assert {name: pytest.approx(value, abs=1e-7, rel=1e-7) for name, value in theirs.items()} == ours


@pytest.mark.parametrize("k", [1, 7, 20])
def test_top_k_is_that_of_torch(k):
    rng = torch.Generator().manual_seed(k)
    real = torch.randn(8, 6001, generator=rng)
    few = torch.randint(0, 50, (8, 6001), generator=rng).float()
    odd = real.clone()
    odd[0], odd[1, 10:], odd[2, 5], odd[3, ::7] = torch.nan, -torch.inf, torch.nan, torch.inf
    for scores in (real, few, odd, few[:, :40], real[:, :130]):
        assert torch.equal(top_k(scores, k), scores.topk(k).indices)
