"""``feature_rank``: frozen features by their first principal components."""

from hashlib import blake2b
from logging import getLogger

import torch
from torch import Tensor

from recbole_mm.items.feature_table import Table

OVERSAMPLED = 16
ROUNDS = 4
logger = getLogger(__name__)


def reduced(modality: str, table: Table, rank: int) -> Table:
    """A table whose rows are given by their first ``rank`` principal components. They are not centred, so that with all components
    products, cosines and linear maps of rows stay as they are; then, or where rows have no more numbers, the table is returned as it is.

    The log says which share of the energy is kept: of the sum of all squares. The components belong to these items: the fingerprint names
    their rows, so that a checkpoint is refused over other ones.
    """
    rows = table.rows.double()
    if rank >= rows.shape[1]:
        logger.info(f"feature_rank {rank}: {modality} has {rows.shape[1]} numbers per item, and stays as it is")
        return table
    scores = rows @ _components(rows, rank)
    energy = float(scores.square().sum() / rows.square().sum().clamp_min(1e-300))
    logger.info(f"feature_rank {rank}: {modality} keeps {energy:.4f} of the energy of {rows.shape[1]} numbers per item")
    digest = blake2b(f"{table.fingerprint} {rank}".encode(), digest_size=16)
    digest.update(table.rows.cpu().numpy().tobytes())
    return table._replace(rows=scores.to(table.rows.dtype), fingerprint=digest.hexdigest(), codes=None)


def _components(rows: Tensor, rank: int) -> Tensor:
    """The first right singular vectors (width, rank), found by subspace iteration (Halko, Martinsson & Tropp 2011) from a fixed start, each
    with its largest number positive: the same on every machine but for rounding."""
    start = torch.randn(rows.shape[1], min(rank + OVERSAMPLED, *rows.shape), generator=torch.Generator().manual_seed(0), dtype=rows.dtype)
    basis = start.to(rows.device)
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(rows.T @ (rows @ basis)).Q
    found = basis @ torch.linalg.svd(rows @ basis, full_matrices=False).Vh[:rank].T
    found = torch.nn.functional.pad(found, (0, rank - found.shape[1]))  # fewer items than components: the others are zero
    signs = found.gather(0, found.abs().argmax(0, keepdim=True)).sign()
    return found * torch.where(signs == 0, 1.0, signs)
