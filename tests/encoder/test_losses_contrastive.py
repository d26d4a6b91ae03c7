import math

import numpy as np
import pytest
import torch

from recbole_mm.encoder.losses import clamped_exp, image_text_contrastive, shared_pairs


def reference(image, text, scale, bias=None, same=None):
    n = len(image)
    unit = [[row / math.sqrt(sum(x * x for x in row)) for row in side] for side in (image, text)]
    z = [[scale * float(np.dot(unit[0][i], unit[1][j])) for j in range(n)] for i in range(n)]
    seen = [[j for j in range(n) if j == i or same is None or not same[i][j]] for i in range(n)]
    if bias is not None:
        pairs = [(1 if i == j else -1) * (z[i][j] + bias) for i in range(n) for j in seen[i]]
        return sum(math.log1p(math.exp(-p)) for p in pairs) / n
    total = 0.0
    for i in range(n):
        total += -z[i][i] + math.log(sum(math.exp(z[i][j]) for j in seen[i]))
        total += -z[i][i] + math.log(sum(math.exp(z[j][i]) for j in seen[i]))
    return total / (2 * n)


def rows(n, d, seed):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)), 3 * generator.normal(size=(n, d))


@pytest.mark.parametrize("bias", [None, -10.0, 0.5])
@pytest.mark.parametrize(("n", "d", "scale"), [(2, 3, 1.0), (5, 4, 14.3), (17, 8, 60.0)])
def test_equals_a_slow_reference(n, d, scale, bias):
    image, text = rows(n, d, seed=n)
    loss = image_text_contrastive(torch.tensor(image), torch.tensor(text), scale, bias)
    assert loss.item() == pytest.approx(reference(image, text, scale, bias), rel=1e-10)


@pytest.mark.parametrize("bias", [None, -10.0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_shared_pictures_and_texts_are_no_negatives(seed, bias):
    n, rng = 9, np.random.default_rng(seed)
    ids = [rng.integers(-1, 5, n) for _ in range(2)]
    same = [[any(v[i] == v[j] != -1 for v in ids) for j in range(n)] for i in range(n)]
    found = shared_pairs(*map(torch.tensor, ids))
    assert found.tolist() == same and any(same[i][j] for i in range(n) for j in range(i))
    image, text = rows(n, 4, seed)
    loss = image_text_contrastive(torch.tensor(image), torch.tensor(text), 14.3, bias, found)
    assert loss.item() == pytest.approx(reference(image, text, 14.3, bias, same), rel=1e-10)


@pytest.mark.parametrize("bias", [None, -1.0])
def test_a_batch_of_one_picture_has_a_finite_loss_and_gradient(bias):
    image, text = (torch.tensor(side, requires_grad=True) for side in rows(4, 3, seed=0))
    loss = image_text_contrastive(image, text, 50.0, bias, torch.ones(4, 4, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite() and image.grad.isfinite().all() and text.grad.isfinite().all()
    assert (loss == 0) == (bias is None)


@pytest.mark.parametrize("bias", [None, -1.0])
def test_gradients_of_rows_scale_and_bias(bias):
    image, text = (torch.tensor(side, requires_grad=True) for side in rows(4, 3, seed=0))
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    inputs = (image, text, scale) if bias is None else (image, text, scale, torch.tensor(bias).double().requires_grad_())
    assert torch.autograd.gradcheck(image_text_contrastive, inputs)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("bias", [None, -1.0])
def test_nothing_to_contrast_is_zero_with_a_graph(n, bias):
    image, text = torch.ones(n, 3, requires_grad=True), torch.ones(n, 3, requires_grad=True)
    loss = image_text_contrastive(image, text, 1.0, bias)
    loss.backward()
    assert loss.item() == 0 and image.grad.abs().sum() == 0 and text.grad.abs().sum() == 0


def test_half_precision_rows_are_contrasted_in_float32():
    image, text = (torch.tensor(side).bfloat16() for side in rows(6, 8, seed=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = image_text_contrastive(image, text, 20.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference(image.double().numpy(), text.double().numpy(), 20.0), rel=1e-5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 3\)"):
        image_text_contrastive(torch.ones(2, 3), torch.ones(3, 3), 1.0)


@pytest.mark.parametrize(("log_scale", "upstream", "expected"), [(1.0, -1.0, -math.e), (4.6052, -1.0, 0.0), (4.6052, 1.0, 100.0)])
def test_clamp_stops_only_the_way_up(log_scale, upstream, expected):
    parameter = torch.tensor(log_scale, requires_grad=True)
    scale = clamped_exp(parameter)
    scale.backward(torch.tensor(upstream))
    assert scale <= 100 and parameter.grad.item() == pytest.approx(expected, rel=1e-3)
