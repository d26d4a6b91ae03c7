"""How an item's features in several modalities are joined."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Weighs an item's rows in M modalities by what they say: a_m f_m, with a = k softmax(V [f_1 ; ... ; f_M] + b) over the k rows that
    are not zero.

    These are the gates of "Gated Multimodal Units for Information Fusion" (Arevalo et al., arXiv 1702.01992), each of which reads all
    modalities. A row that stands in for a missing modality is weighed like any other, and a row of zeros (``missing: zero``) leaves its
    weight to the others. V and b are zero at the start, so that every row weighs 1.

    Deviations: the gates are a softmax, so that modalities compete, and the rows pass through no tanh.

    Args:
        dims: the widths of the rows.
    """

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.weigh = zero_linear(sum(dims), len(dims))

    def forward(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """(n, dims[m]) for each modality m -> the same shapes."""
        given = torch.stack([row.any(-1) for row in rows], -1)
        logits = self.weigh(torch.cat(list(rows), -1)).masked_fill(~given, torch.finfo(rows[0].dtype).min)
        weights = given.sum(-1, keepdim=True) * torch.softmax(logits, -1)
        return [weight.unsqueeze(-1) * row for weight, row in zip(weights.unbind(-1), rows, strict=True)]


def zero_linear(width: int, size: int, bias: bool = True) -> nn.Linear:
    """A linear map that gives zeros at the start, and draws no random number."""
    linear = nn.utils.skip_init(nn.Linear, width, size, bias=bias)
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    return linear
