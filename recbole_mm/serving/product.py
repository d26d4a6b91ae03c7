"""The vectors of users and items whose dot product a model's score is, for models that do not say which they are."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PRODUCTS = {torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.__matmul__}


class _Products(TorchFunctionMode):
    """Remembers the factors of every product of matrices that is computed while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function in PRODUCTS and len(args) == 2 and all(isinstance(a, Tensor) and a.dim() == 2 for a in args):
            self.factors.append(args)
        elif function is torch.nn.functional.linear and args[0].dim() == 2:
            self.factors.append((args[0], args[1].T))
        return result


def factors_of(scores: Callable[[], Tensor], n_items: int) -> tuple[Tensor, Tensor] | None:
    """The factors (n, d) and (n_items, d) of the scores (n, n_items) of some users, if they are a product of matrices that is
    computed on the way. What is added for an item, whoever the user is, is one more dimension, in which every user has a 1.

    Args:
        scores: computes the scores. It should be called for two users at least: of one alone, anything added looks like an item's.

    Returns:
        None if no such product is found. They have gradients where these are asked for.
    """
    with _Products() as products:
        whole = scores().view(-1, n_items)
    for left, right in reversed(products.factors):
        if left.shape[0] != len(whole) or right.shape[1] != n_items:
            continue
        added = whole - left @ right
        if bool((added - added[:1]).abs().max() <= 1e-5 * whole.abs().max().clamp_min(1)):
            users, items = left, right.T
            if bool(added.abs().max() > 1e-5 * whole.abs().max().clamp_min(1)):
                users, items = torch.cat([users, torch.ones_like(users[:, :1])], 1), torch.cat([items, added[:1].T], 1)
            return users, items
    return None
