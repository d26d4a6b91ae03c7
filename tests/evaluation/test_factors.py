"""Scores are taken for a product only where they are nothing else."""

import pytest
import torch

from recbole_mm.evaluation.factors import Factors

USERS, ITEMS = torch.randn(5, 3), torch.randn(8, 3)
WAYS = {
    "transposed": (lambda: torch.matmul(USERS, ITEMS.transpose(0, 1)), True),
    "flat": (lambda: (USERS @ ITEMS.T).view(-1), True),
    "mm": (lambda: USERS.mm(ITEMS.T).reshape(-1), True),
    "with a bias": (lambda: USERS @ ITEMS.T + 1, False),
    "in place": (lambda: (USERS @ ITEMS.T).add_(1), False),
    "sigmoid": (lambda: torch.sigmoid(USERS @ ITEMS.T), False),
    "a part": (lambda: (USERS @ ITEMS.T)[:, :4], False),
    "of two": (lambda: [USERS @ ITEMS.T, USERS @ ITEMS.T][0], False),
    "another shape": (lambda: (ITEMS @ USERS.T).T, False),
    "pairs": (lambda: (USERS.unsqueeze(1) * ITEMS).sum(-1), False),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_product_and_nothing_else(way):
    score, product = WAYS[way]
    with torch.no_grad(), Factors((5, 8), left_out=False) as factors:
        scores = score()
    assert factors.are_all_of(scores) == product
    if product:
        with torch.no_grad(), Factors((5, 8), left_out=True) as factors:
            assert score().is_meta
        users, items = factors.found[0]
        assert torch.equal((users @ items).view(-1), scores.view(-1))
