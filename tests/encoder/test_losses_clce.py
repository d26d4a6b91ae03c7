"""CLCE against its formula in plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder.losses import clce_loss, label_aware_contrastive


def reference(features, labels, t, beta):
    """-log(mean over positives of exp / (sum over positives of exp + weighted sum over negatives of exp)), averaged over anchors."""
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in features.tolist()]
    cosine = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in unit] for u in unit]
    known = [i for i, label in enumerate(labels) if label >= 0]
    losses = []
    for i in known:
        positives = [j for j in known if j != i and labels[j] == labels[i]]
        negatives = [j for j in known if labels[j] != labels[i]]
        if not positives:
            continue
        pull = sum(math.exp(cosine[i][j] / t) for j in positives)
        tilt = sum(math.exp(beta * cosine[i][j]) for j in negatives)
        push = sum(len(negatives) * math.exp(beta * cosine[i][k]) / tilt * math.exp(cosine[i][k] / t) for k in negatives)
        losses.append(-math.log(pull / len(positives) / (pull + push)))
    return sum(losses) / len(losses) if losses else 0.0


def batch(n, seed, classes=3, unknown=True):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    return features, torch.randint(-1 if unknown else 0, classes, (n,), generator=generator)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("temperature", "beta"), [(0.5, None), (0.5, 0.0), (0.1, 3.0), (1.0, 0.5)])
def test_equals_a_slow_reference(seed, temperature, beta):
    features, labels = batch(11, seed)
    expected = reference(features.detach(), labels.tolist(), temperature, 1 / temperature if beta is None else beta)
    assert label_aware_contrastive(features, labels, temperature, beta).item() == pytest.approx(expected, rel=1e-10)


def test_without_hardness_and_with_one_positive_it_is_the_softmax_loss():
    features, _ = batch(6, 0)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    cosines = F.normalize(features, dim=-1) @ F.normalize(features, dim=-1).T
    logits = (cosines / 0.3).masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    expected = F.cross_entropy(logits, torch.tensor([1, 0, 3, 2, 5, 4]))
    torch.testing.assert_close(label_aware_contrastive(features, labels, 0.3, beta=0.0), expected)


def test_gradients():
    features, labels = batch(7, 1)
    assert torch.autograd.gradcheck(lambda f: label_aware_contrastive(f, labels, 0.5, 2.0), (features,))


def test_rows_without_a_category_take_no_part():
    features, labels = batch(9, 2)
    loss = label_aware_contrastive(features, labels)
    loss.backward()
    assert (labels < 0).any() and (features.grad[labels < 0] == 0).all() and (features.grad[labels >= 0] != 0).any(1).all()
    torch.testing.assert_close(label_aware_contrastive(features[labels >= 0], labels[labels >= 0]), loss)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [0, 0, 1, -1]], ids=str)
def test_one_class_no_pairs_no_labels(labels):
    features, _ = batch(4, 3)
    loss = label_aware_contrastive(features, torch.tensor(labels), 0.01)
    loss.backward()
    assert loss.item() == pytest.approx(reference(features.detach(), labels, 0.01, 100.0), rel=1e-6, abs=1e-12)
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_clce_is_the_weighted_sum(weight):
    features, labels = batch(8, 4)
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known = [i for i in range(8) if labels[i] >= 0]
    entropy = sum(math.log(sum(map(math.exp, logits[i].tolist()))) - logits[i, labels[i]].item() for i in known) / len(known)
    expected = (1 - weight) * entropy + weight * reference(features.detach(), labels.tolist(), 0.5, 2.0)
    assert clce_loss(features, logits, labels, weight).item() == pytest.approx(expected, rel=1e-10)


def test_clce_of_unlabelled_rows_is_zero_with_a_graph():
    features, logits = torch.ones(3, 4, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    loss = clce_loss(features, logits, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0 and (features.grad == 0).all() and (logits.grad == 0).all()


def test_half_precision_is_computed_in_float32():
    features, labels = batch(8, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = clce_loss(features.bfloat16(), torch.zeros(8, 3).bfloat16(), labels, 1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference(features.detach().bfloat16().double(), labels.tolist(), 0.5, 2.0), rel=1e-5)
