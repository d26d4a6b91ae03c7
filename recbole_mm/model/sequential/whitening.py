"""From the rows of a language model to item rows: parametric whitening and a mixture of experts."""

import torch
from torch import Tensor, nn
from torch.nn import functional

NOISE_FLOOR = 0.01


class Whitening(nn.Module):
    """(x - b) W, with b, which starts at zero, and W learnt: (n, width) -> (n, size).

    Args:
        dropout: the share of x's numbers that are hidden in training.
    """

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.b, self.dropout = nn.Parameter(torch.zeros(width)), nn.Dropout(dropout)
        self.w = nn.Linear(width, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w(self.dropout(x) - self.b)


class ExpertMixture(nn.Module):
    """sum_k g_k whitening_k(x), with g = softmax(x W_g + e * softplus(x W_e)) and e normal noise in training, zero otherwise.

    W_g and W_e start at zero, so all experts weigh the same.
    """

    def __init__(self, width: int, size: int, n_experts: int, dropout: float) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Whitening(width, size, dropout) for _ in range(n_experts))
        self.gate, self.noise = (nn.Parameter(torch.zeros(width, n_experts)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(n, width) -> (n, size)."""
        logits = x @ self.gate
        if self.training:
            logits = logits + torch.randn_like(logits) * (functional.softplus(x @ self.noise) + NOISE_FLOOR)
        gates = logits.softmax(-1)
        return sum(gates[:, k : k + 1] * expert(x) for k, expert in enumerate(self.experts))
