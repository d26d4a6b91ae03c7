"""Retrieval against a slow, plain reckoning."""

import pytest
import torch

from recbole_mm.finetune import retrieval as module
from recbole_mm.finetune.retrieval import category_precision, retrieval, score


def slow(query, target, groups, k):
    """Share of the queries with fewer than k wrong candidates at or above their best right one."""
    found = 0
    for i in range(len(query)):
        cosines = [float(torch.cosine_similarity(query[i], target[j], dim=0)) for j in range(len(target))]
        right = [j for j in range(len(target)) if any(int(numbers[i]) == int(numbers[j]) for numbers in groups.values())]
        best = max(cosines[j] for j in right)
        found += sum(cosine >= best for j, cosine in enumerate(cosines) if j not in right) < k
    return found / len(query)


@pytest.mark.parametrize("rows_at_once", [7, 1024])
def test_recall_of_both_directions(rows_at_once, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows_at_once)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(30, 6, generator=generator)
    text = image + 0.9 * torch.randn(30, 6, generator=generator)
    groups = {"image": torch.arange(30) // 2, "text": torch.randint(20, (30,), generator=generator)}
    found = retrieval(image, text, groups)
    assert list(found) == ["image->text R@1", "image->text R@10", "text->image R@1", "text->image R@10"]
    assert found["image->text R@1"] == pytest.approx(slow(image, text, groups, 1))
    assert found["text->image R@1"] == pytest.approx(slow(text, image, groups, 1))
    assert found["image->text R@10"] == pytest.approx(slow(image, text, groups, 10))
    assert 0.2 < found["image->text R@1"] < found["image->text R@10"]


def test_the_best_and_the_worst():
    rows, apart = torch.eye(20), {m: torch.arange(20) for m in ("image", "text")}
    assert score(retrieval(rows, 3 * rows, apart)) == 1
    assert score(retrieval(torch.ones(20, 20), torch.ones(20, 20), apart)) == 0, "rows that are all alike retrieve nothing"
    assert score(retrieval(rows, rows.roll(1, 0), apart)) == 0
    one = {"image": torch.arange(20), "text": torch.zeros(20)}
    assert score(retrieval(rows, rows.roll(1, 0), one)) == 1, "all have the same text"


def test_categories_of_the_nearest(monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    generator = torch.Generator().manual_seed(1)
    rows, labels = torch.randn(40, 6, generator=generator), torch.randint(4, (40,), generator=generator)
    labels[:3], queries = torch.tensor([7, 8, 8]), torch.arange(40) < 20
    shares = []
    for i in range(1, 20):
        order = sorted((j for j in range(40) if j != i), key=lambda j: -float(torch.cosine_similarity(rows[i], rows[j], dim=0)))
        peers = int((labels == labels[i]).sum()) - 1
        shares.append(sum(int(labels[j]) == int(labels[i]) for j in order[:10]) / min(10, peers))
    assert category_precision(rows, labels, queries) == pytest.approx(sum(shares) / 19)
    assert category_precision(torch.eye(9)[labels], labels, queries) == 1
    assert category_precision(rows, labels, torch.arange(40) < 1) is None, "alone in its category"
    assert category_precision(rows[:0], labels[:0], queries[:0]) is None
