"""What stands in for a modality that an item lacks, if no vector is learned for it."""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor


class Interactions:
    """The training interactions: (n,) internal user ids and item ids."""

    def __init__(self, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> None:
        ones = np.ones(len(users), dtype=np.float32)
        self.matrix = csr_matrix((ones, (users, items)), shape=(n_users, n_items))

    def neighbour_mean(self, rows: Tensor, present: Tensor) -> Tensor:
        """``rows`` (n_items, d), with every absent row replaced by the mean over the item's neighbours. These are the items that its users
        interacted with, each counted once per such interaction (one hop of the training-free completion of Malitesta et al., arXiv
        2408.11767). Items without neighbours that have the modality get the mean of all present rows."""
        absent = (~present).cpu().numpy()
        known = rows.detach().cpu().float().numpy() * ~absent[:, None]
        reach = self.matrix.T.tocsr()[absent]
        sums, counts = reach @ (self.matrix @ known), reach @ (self.matrix @ (~absent).astype(np.float32))
        overall = known.sum(0) / max((~absent).sum(), 1)
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], overall)
        return rows.index_copy(0, torch.from_numpy(absent.nonzero()[0]).to(rows.device), torch.from_numpy(means).to(rows))


def fill_mean(rows: Tensor, present: Tensor) -> Tensor:
    """``rows`` (n, d), with every absent row replaced by the mean of the present ones."""
    mask = present.unsqueeze(1)
    return torch.where(mask, rows, (rows * mask).sum(0) / mask.sum().clamp(min=1))
