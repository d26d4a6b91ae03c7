"""Supervised contrast against its formula in plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder.losses import supervised_contrastive


def reference(features, labels, items, t):
    """Of each row, the mean over its positives of -log(exp(c / t) / sum over all other rows of exp(c / t)); the mean over labelled rows."""
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in features.tolist()]
    known = [i for i, label in enumerate(labels) if label >= 0]
    score = {(i, j): math.exp(sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) / t) for i in known for j in known}
    total = 0.0
    for i in known:
        if not any(labels[j] == labels[i] and items[j] != items[i] for j in known):
            continue
        positives = [j for j in known if j != i and labels[j] == labels[i]]
        below = sum(score[i, j] for j in known if j != i)
        total += sum(-math.log(score[i, j] / below) for j in positives) / len(positives)
    return total / len(known) if known else 0.0


def batch(n, seed, classes=4, views=2):
    """Two views of n items, of which some are without a class and some alone in theirs."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, classes, (n,), generator=generator)
    labels[0] = classes
    features = torch.randn(views * n, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    return features, labels.repeat(views), torch.arange(n).repeat(views)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_a_slow_reference(seed, views, temperature):
    features, labels, items = batch(7, seed, views=views)
    expected = reference(features.detach(), labels.tolist(), items.tolist(), temperature)
    assert expected > 0
    assert supervised_contrastive(features, labels, items, temperature).item() == pytest.approx(expected, rel=1e-10)
    if views == 1:
        assert supervised_contrastive(features, labels, temperature=temperature).item() == pytest.approx(expected, rel=1e-10)


def test_one_pair_a_class_is_the_softmax_loss():
    features, _, _ = batch(3, 0)
    cosines = F.normalize(features, dim=-1) @ F.normalize(features, dim=-1).T
    logits = (cosines / 0.07).masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    expected = F.cross_entropy(logits, torch.tensor([1, 0, 3, 2, 5, 4]))
    torch.testing.assert_close(supervised_contrastive(features, torch.tensor([0, 0, 1, 1, 2, 2])), expected)


def test_gradients():
    features, labels, items = batch(5, 1)
    assert torch.autograd.gradcheck(lambda f: supervised_contrastive(f, labels, items, 0.3), (features,))


def test_an_item_alone_in_its_class_adds_nothing_but_is_a_negative():
    """Its two views are no positives of each other."""
    features, _, items = batch(3, 2)
    loss = supervised_contrastive(features, torch.tensor([0, 0, 1]).repeat(2), items)
    others = supervised_contrastive(features, torch.tensor([0, 0, -1]).repeat(2), items)
    assert torch.isfinite(loss) and loss * 6 > others * 4
    loss.backward()
    assert torch.isfinite(features.grad).all() and features.grad[2].any()


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [-1, -1, -1, -1], [0, -1, 1, -1]])
def test_all_alone_is_zero_with_a_graph(labels):
    features, _, items = batch(4, 3)
    loss = supervised_contrastive(features, torch.tensor(labels).repeat(2), items)
    loss.backward()
    assert loss.item() == 0 and not features.grad.any()


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_batches(n):
    features = torch.randn(n, 5, requires_grad=True)
    assert supervised_contrastive(features, torch.zeros(n, dtype=torch.int64)).item() == 0


def test_rows_that_are_all_alike_and_half_precision():
    features, labels, items = torch.ones(6, 4), torch.tensor([0, 0, 1]).repeat(2), torch.arange(3).repeat(2)
    assert supervised_contrastive(features, labels, items).item() == pytest.approx(math.log(5) * 4 / 6)
    half = supervised_contrastive(features.bfloat16(), labels, items)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(math.log(5) * 4 / 6)
