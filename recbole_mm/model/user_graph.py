"""The graph between users who have items in common, which DualGNN, DRAGON and COHESION read."""

import numpy as np
import torch
from scipy.sparse import csr_matrix

from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.sparse import SparseMatrix

PAIRS_AT_ONCE = 2**21


def user_graph(interactions: InteractionGraph, k: int) -> SparseMatrix:
    """The matrix N (n_users, n_users): of each user, the k other users with the most items in common, weighted by a softmax over these k
    counts. Of users with equally many, those come first who have interacted with fewer items (which is the larger cosine), then the
    smaller ids. A user with fewer than k neighbours has a softmax over those, and one without any has a row of zeros.

    The counts are those of a sparse product, a few users at a time: never n_users x n_users numbers.
    """
    users, items = interactions.users.cpu().numpy(), interactions.items.cpu().numpy()
    n, shape = interactions.n_users, (interactions.n_users, interactions.n_items)
    by_degree = np.argsort(np.bincount(users, minlength=n), kind="stable")
    places = np.argsort(by_degree)
    ones = np.ones(len(users), dtype=np.int64)
    pairs, ranked = csr_matrix((ones, (users, items)), shape), csr_matrix((ones, (items, places[users])), shape[::-1])
    parts = [_most_in_common(pairs[start:stop], ranked, places[start:stop], k) for start, stop in _chunks(pairs, ranked)]
    owners, columns, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    entries = (torch.from_numpy(ids).to(interactions.users.device) for ids in (by_degree[owners], by_degree[columns], weights))
    return SparseMatrix(*entries, (n, n))


def _chunks(pairs: csr_matrix, ranked: csr_matrix) -> list[tuple[int, int]]:
    """Ranges of users whose rows of the product take about PAIRS_AT_ONCE multiplications."""
    work = np.cumsum(pairs @ np.diff(ranked.indptr))
    ends = np.unique(np.append(np.searchsorted(work, np.arange(PAIRS_AT_ONCE, work[-1], PAIRS_AT_ONCE)) + 1, len(work)))
    return list(zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=True))


def _most_in_common(pairs: csr_matrix, ranked: csr_matrix, own: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The entries (row, column, weight) of a few users, who are the rows ``own`` of the matrix. Of equal counts, the first columns are
    kept."""
    counts = (pairs @ ranked).tocoo()
    apart = counts.col != own[counts.row]
    rows, columns, counts = counts.row[apart].astype(np.int64), counts.col[apart], counts.data[apart]
    most, width = counts.max(initial=0), ranked.shape[1]
    keys = np.sort((rows * (most + 1) + most - counts) * width + columns)
    rows, columns, counts = keys // width // (most + 1), keys % width, most - keys // width % (most + 1)
    first = np.searchsorted(rows, rows)
    kept = np.arange(len(rows)) - first < k
    weights = np.exp((counts - counts[first])[kept], dtype=np.float64)
    rows, columns = rows[kept], columns[kept]
    totals = np.bincount(rows, weights, minlength=1)
    return own[rows], columns, (weights / totals[rows]).astype(np.float32)
