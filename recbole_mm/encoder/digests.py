"""Digests of tensors: they change with any name, dtype, shape or value."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> np.ndarray:
    """The bytes of a tensor's values in row-major order, from whichever device it is on."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def digest_of(tensors: Iterable[tuple[str, Tensor]], prefix: bytes = b"") -> str:
    """32 hexadecimal digits over ``prefix`` and named tensors, in the order given."""
    digest = blake2b(prefix, digest_size=16)
    for name, tensor in tensors:
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()
