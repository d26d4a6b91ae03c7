"""What the checks of a model read off it: scores, losses, and how well items without interactions are ranked."""

import numpy as np
import torch
from torch import Tensor

from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.testing.shops import is_cold


def scores_of(model) -> Tensor:
    """(n_users, n_items) of users 1, 2, ..., padding left out."""
    model.eval()
    with torch.no_grad():
        return model.full_sort_predict({"user_id": torch.arange(1, model.n_users)}).view(model.n_users - 1, -1)[:, 1:]


def loss_of(model, batch) -> Tensor:
    """Of a batch, whatever is drawn at random drawn the same every time."""
    return sum(losses_of(model, batch))


def losses_of(model, batch) -> tuple[Tensor, ...]:
    """The parts of the loss."""
    model.train()
    torch.manual_seed(0)
    losses = model.calculate_loss(batch)
    return losses if isinstance(losses, tuple) else (losses,)


def main_loss(model, losses: tuple[Tensor, ...]) -> Tensor:
    """The recommendation loss alone, where the model names it: others may rise at first, as an alignment of embeddings that begin small
    does."""
    names = getattr(model, "loss_names", ())
    return losses[names.index("recommendation")] if "recommendation" in names else sum(losses)


def cold_auc(model, dataset) -> float:
    """Of the pairs of a cold item of the user's own style and another cold item, the share that is ranked right."""
    numbers, right = [int(token[1:]) for token in item_tokens(dataset)[1:]], []
    cold = [place for place, i in enumerate(numbers) if is_cold(i)]
    for row, token in zip(scores_of(model).numpy(), user_tokens(dataset)[1:], strict=True):
        own = np.array([(numbers[place] - int(token[1:])) % 4 == 0 for place in cold])
        difference = row[cold][own][:, None] - row[cold][~own]
        right.append(np.mean((difference > 0) + 0.5 * (difference == 0)))
    return float(np.mean(right))


def has_gradient(parameter: Tensor) -> bool:
    """Whether the last backward pass reached a parameter."""
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
