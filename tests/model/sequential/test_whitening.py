"""Parametric whitening and the mixture of experts against UniSRec's equations, item by item."""

import torch

from recbole_mm.model.sequential.whitening import ExpertMixture


def mixture(n_experts: int = 3, dropout: float = 0.0) -> ExpertMixture:
    torch.manual_seed(0)
    made = ExpertMixture(6, 4, n_experts, dropout).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def slow_mixture(made: ExpertMixture, x: torch.Tensor) -> torch.Tensor:
    weights = torch.stack([torch.exp(made.gate[:, k] @ x) for k in range(len(made.experts))])
    rows = [expert.w.weight @ (x - expert.b) for expert in made.experts]
    return sum(g * row for g, row in zip(weights / weights.sum(), rows, strict=True))


def test_rows_are_the_papers():
    made, x = mixture().eval(), torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(made(x), torch.stack([slow_mixture(made, row) for row in x]))


def test_gates_are_noisy_in_training_alone():
    made, x = mixture(), torch.randn(5, 6, dtype=torch.float64)
    assert not torch.allclose(made.train()(x), made(x))
    torch.testing.assert_close(made.eval()(x), made(x))
    made(x).sum().backward()
    assert made.noise.grad is None
    made.train()(x).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in made.parameters())


def test_experts_weigh_the_same_at_the_start():
    torch.manual_seed(0)
    made = ExpertMixture(6, 4, 3, 0.2).eval()
    x = torch.randn(5, 6)
    torch.testing.assert_close(made(x), sum(expert(x) for expert in made.experts) / 3)
    assert all(not expert.b.any() for expert in made.experts)
