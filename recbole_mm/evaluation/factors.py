"""The two factors of a model's scores, where these are the product of two matrices and nothing else."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PRODUCTS = {torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}


class Factors(TorchFunctionMode):
    """Within a ``with``, notices the product of two matrices that has a given shape.

    Args:
        shape: rows and columns of the product.
        left_out: whether the product is not computed: a tensor without numbers (of the device ``meta``) then stands in its place.

    Attributes:
        found: the factors, (n, d) and (d, m), of each such product.
        products: what came of them.
    """

    def __init__(self, shape: tuple[int, int], left_out: bool) -> None:
        super().__init__()
        self.shape, self.left_out = shape, left_out
        self.found: list[tuple[Tensor, Tensor]] = []
        self.products: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func not in PRODUCTS or kwargs or [of.dim() for of in args] != [2, 2] or (len(args[0]), args[1].shape[1]) != self.shape:
            return func(*args, **(kwargs or {}))
        self.found.append(args)
        self.products.append(torch.empty(self.shape, dtype=args[0].dtype, device="meta") if self.left_out else func(*args))
        return self.products[-1]

    def are_all_of(self, scores: Tensor) -> bool:
        """Whether scores are the one product that was noticed, as it was computed."""
        product = self.products[0] if len(self.products) == 1 else scores[:0]
        return scores.numel() == product.numel() and scores.data_ptr() == product.data_ptr() and product._version == 0
