"""The linear map from a student's rows to its teacher's space."""

import torch
from torch import Tensor, nn

CUTOFF = 1e-6
"""Directions in which the student's rows differ by less than this share of the most are left out."""


def fitted(rows: Tensor, taught: Tensor) -> nn.Linear:
    """The linear map with a bias that brings rows nearest to a teacher's, by least squares; of several, the one with the least weights.

    Args:
        rows: (n, d), the student's.
        taught: (n, e), its teacher's rows of the same contents.
    """
    rows, taught = rows.double().cpu(), taught.double().cpu()
    mean, target = rows.mean(0), taught.mean(0)
    weight = torch.linalg.lstsq(rows - mean, taught - target, rcond=CUTOFF, driver="gelsd").solution
    found = nn.utils.skip_init(nn.Linear, rows.shape[1], taught.shape[1])
    with torch.no_grad():
        found.weight.copy_(weight.T)
        found.bias.copy_(target - mean @ weight)
    return found
