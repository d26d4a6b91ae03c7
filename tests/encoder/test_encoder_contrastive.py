import math

import numpy as np
import pytest
import torch

from recbole_mm.encoder.contrastive import clamped_exp, image_text_contrastive


def reference(image, text, scale, bias=None):
    n = len(image)
    unit = [[row / math.sqrt(sum(x * x for x in row)) for row in side] for side in (image, text)]
    z = [[scale * float(np.dot(unit[0][i], unit[1][j])) for j in range(n)] for i in range(n)]
    if bias is not None:
        pairs = [(1 if i == j else -1) * (z[i][j] + bias) for i in range(n) for j in range(n)]
        return sum(math.log1p(math.exp(-p)) for p in pairs) / n
    total = 0.0
    for i in range(n):
        total += -z[i][i] + math.log(sum(math.exp(z[i][j]) for j in range(n)))
        total += -z[i][i] + math.log(sum(math.exp(z[j][i]) for j in range(n)))
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
