"""The attention function against plain arithmetic."""

import pytest
import torch

from recbole_mm.encoder.vlmo import attention
from recbole_mm.encoder.vlmo.attention import biased_attention


def eager(qkv, bias, padding):
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    logits = logits if bias is None else logits + bias
    logits = logits if padding is None else logits.masked_fill(padding[:, None, None], -torch.inf)
    return (logits.softmax(-1) @ v).transpose(1, 2)


def case(n=3, length=7, heads=2, dim=4, dtype=torch.float64, padded=True, biased=True):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(n, length, 3, heads, dim, generator=generator, dtype=dtype).requires_grad_()
    bias = torch.randn(heads, length, length, generator=generator, dtype=dtype).requires_grad_() if biased else None
    padding = torch.arange(length) >= torch.tensor([[length], [3], [1]])[:n] if padded else None
    return qkv, bias, padding


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
@pytest.mark.parametrize("padded", [True, False])
def test_gradients_are_exact(monkeypatch, chunk, padded):
    monkeypatch.setattr(attention, "CHUNK_LOGITS", chunk)
    qkv, bias, padding = case(padded=padded)
    assert torch.autograd.gradcheck(lambda a, b: biased_attention(a, b, padding), (qkv, bias))


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_equals_plain_arithmetic(dtype, tolerance, padded, biased):
    qkv, bias, padding = case(dtype=dtype, padded=padded, biased=biased)
    wanted = [x.detach().float().requires_grad_() for x in (qkv, bias) if x is not None]
    given = [x for x in (qkv, bias) if x is not None]
    reference = eager(wanted[0], wanted[1] if biased else None, padding)
    weight = torch.linspace(-1, 1, reference.numel()).view_as(reference)
    expected = torch.autograd.grad((reference * weight).sum(), wanted)
    found = biased_attention(qkv, bias, padding)
    with torch.no_grad():
        torch.testing.assert_close(biased_attention(qkv, bias if bias is None else bias.detach(), padding), found)
    gradients = torch.autograd.grad((found * weight.to(dtype)).sum(), given)
    assert found.dtype == dtype and all(g.dtype == dtype for g in gradients)
    for one, other in zip((found, *gradients), (reference, *expected), strict=True):
        torch.testing.assert_close(one.float(), other, rtol=tolerance, atol=tolerance)


def test_no_items():
    qkv, bias, _ = case(n=0, padded=False)
    biased_attention(qkv, bias, None).sum().backward()
    assert qkv.grad.shape == qkv.shape and not bias.grad.any()
