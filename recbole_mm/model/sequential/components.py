"""What item rows begin as: the principal components of features, and of which items are near each other in histories."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import svds
from torch import Tensor

from recbole_mm.model.base import ModalityProjection

SAMPLE = 20_000
"""At most so many items tell the components."""
OVERSAMPLING, ROUNDS = 8, 4
NEAR, RANK = 5, 64
"""Items of a history count as near each other up to so many places apart; and of their co-occurrence, at most so many components are
taken, which leave out what happened once."""


@torch.no_grad()
def start_from_components(maps: ModalityProjection, features: Mapping[str, Tensor]) -> None:
    """Sets each modality's map to the principal components of its features, as many as there are (Halko et al., SIAM Review 2011): x ->
    g V (x - mean), with g such that the mapped features, all modalities added, are about 1 long. What is alike in features is then alike in
    rows from the first step on. What a map has room for beyond the components starts at zero.

    Args:
        features: {modality: (n, width)}.
    """
    with torch.random.fork_rng(devices=[]):  # the same components whatever was drawn before, and the same draws after
        torch.manual_seed(0)
        for m, rows in features.items():
            linear, rows = maps.maps[m], rows.float().cpu()
            rows = rows[torch.randperm(len(rows))[:SAMPLE]]
            mean = rows.mean(0)
            wanted = min(len(linear.weight), *rows.shape)
            _, _, found = torch.pca_lowrank(rows, min(wanted + OVERSAMPLING, *rows.shape), niter=ROUNDS)
            components = found[:, :wanted].T
            length = ((rows - mean) @ components.T).norm(dim=1).mean() * len(features) ** 0.5
            linear.weight.zero_()
            linear.bias.zero_()
            if length > 0:
                linear.weight[:wanted] = components / length
                linear.bias[:wanted] = -(components / length) @ mean


def neighbour_components(users: Tensor, items: Tensor, n_items: int, size: int) -> Tensor:
    """Item rows that are alike where items are near each other in histories: (n_items, size), about 1 long on average, and zero for items
    without neighbours.

    They are the principal components of the matrix of co-occurrence, an item k places away counting 1 / k, which is divided by the roots of
    both items' sums, as in spectral clustering (Ng, Jordan & Weiss, NIPS 2001). The smaller the evidence, the shorter the row.

    Args:
        users, items: of the training interactions, int64 (n,) each, each user's in the order of time.
    """
    order = np.argsort(users.numpy(), kind="stable")
    users, items = users.numpy()[order], items.numpy()[order]
    near = csr_matrix((n_items, n_items))
    for apart in range(1, NEAR + 1):
        own = users[apart:] == users[:-apart]
        pair = items[:-apart][own], items[apart:][own]
        near = near + csr_matrix((np.full(own.sum(), 1 / apart), pair), shape=near.shape)
    if not near.nnz:
        return torch.zeros(n_items, size)
    near = near + near.T
    scale = diags((np.asarray(near.sum(axis=1)).ravel() + 1) ** -0.5)
    rank = min(RANK, size, n_items - 2)
    vectors, values, _ = svds(scale @ near @ scale, k=rank, v0=np.ones(n_items), random_state=0)
    rows = torch.from_numpy(np.ascontiguousarray(vectors * values)).float()
    draw = torch.Generator().manual_seed(0)
    turned = rows @ torch.linalg.qr(torch.randn(size, rank, generator=draw))[0].T
    lengths = turned.norm(dim=1)
    return turned / lengths[lengths > 0].mean()
