"""An index of item vectors by inner product (FAISS): a file for other systems, and a search that need not look at every item."""

from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError, MissingPackage, one_line
from recbole_mm.serving.exact import Found, best_products
from recbole_mm.serving.ranking import found, top

KINDS = ("flat", "hnsw")
LINKS, WIDTH_BUILT, WIDTH_SEARCHED = 48, 400, 128
"""Of HNSW: the links of an item (M), and how many candidates are kept while it is built (efConstruction) and searched (efSearch)."""
MOST_ASKED = 1024
"""How many an index is asked for at most; where more are needed, all items are looked at."""
ENOUGH = 0.95
"""The share of the best items that an index finds at least."""


class VectorIndex:
    """An index of FAISS whose ids are rows of a table of vectors.

    Attributes:
        index: FAISS's ``IndexIDMap``.
        kind: ``flat`` (every item is looked at) or ``hnsw`` (a graph of near items is walked through).
        n_rows: the number of rows of the table, up to the last that is in the index.
    """

    def __init__(self, index) -> None:
        self.index, self._inner = index, faiss().downcast_index(index.index)
        self.kind = "hnsw" if hasattr(self._inner, "hnsw") else "flat"
        self.n_rows = 1 + int(faiss().vector_to_array(index.id_map).max(initial=-1))

    @classmethod
    def built(cls, vectors: Tensor, allowed: Tensor, kind: str = "flat") -> "VectorIndex":
        """Over the rows of ``vectors`` (m, d) that are ``allowed`` (m,); no other is ever found.

        Raises:
            InputError: an unknown kind.
            MissingPackage: FAISS is not installed.
        """
        if kind not in KINDS:
            raise InputError(f"an index is {' or '.join(KINDS)}, not '{kind}'")
        inner = faiss().IndexFlatIP(vectors.shape[1])
        if kind == "hnsw":
            inner = faiss().IndexHNSWFlat(vectors.shape[1], LINKS, faiss().METRIC_INNER_PRODUCT)
            inner.hnsw.efConstruction, inner.hnsw.efSearch = WIDTH_BUILT, WIDTH_SEARCHED
        index, rows = faiss().IndexIDMap(inner), allowed.nonzero().squeeze(1)
        index.add_with_ids(_floats(vectors[rows]), rows.numpy())
        return cls(index)

    @classmethod
    def read(cls, file: Path) -> "VectorIndex":
        """Raises:
        InputError: there is no such file, or it holds no such index.
        MissingPackage: FAISS is not installed.
        """
        try:
            index = faiss().read_index(str(file), faiss().IO_FLAG_MMAP_IFC)
            return cls(index)
        except (RuntimeError, AttributeError) as error:
            raise InputError(f"{file} cannot be read: {one_line(error)}") from error

    def write(self, file: Path) -> None:
        """Writes a file that FAISS reads; it is there whole or not at all."""
        write_whole(file, lambda path: faiss().write_index(self.index, str(path)))

    @property
    def width(self) -> int:
        """How many candidates a search of ``hnsw`` keeps (efSearch): more of them find more and take longer."""
        return self._inner.hnsw.efSearch if self.kind == "hnsw" else 0

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Rows and scores (n, k) of the best that are found for queries (n, d), best first; row -1 and score -inf where there are no
        more."""
        options = {}
        if self.kind == "hnsw":
            options["params"] = faiss().SearchParametersHNSW(efSearch=max(self.width, 2 * k))
        scores, rows = self.index.search(_floats(queries), k, **options)
        rows, scores = torch.from_numpy(rows), torch.from_numpy(scores)
        return rows, scores.masked_fill(rows < 0, -torch.inf)

    def best(self, queries: Tensor, vectors: Tensor, k: int, allowed: Tensor, banned: tuple[Tensor, Tensor]) -> Found:
        """What ``best_products`` returns, as far as the index finds it: it is asked for as many more as a query has banned. Rows behind
        those of the index are looked at one by one, and so are all for queries that have banned very many or would get fewer than k."""
        sizes = 2 ** (torch.bincount(banned[0], minlength=len(queries)) + k).double().log2().ceil().long()
        parts, left = [], [(sizes > min(MOST_ASKED, self.index.ntotal)).nonzero().squeeze(1)]
        for size in sizes[sizes <= min(MOST_ASKED, self.index.ntotal)].unique().tolist():
            some = (sizes == size).nonzero().squeeze(1)
            rows, values = self._candidates(queries[some], vectors, size)
            pairs = some.unsqueeze(1) * len(vectors) + rows
            hidden = (rows < 0) | ~allowed[rows] | torch.isin(pairs, banned[0] * len(vectors) + banned[1])
            values, places = top(values.masked_fill(hidden, -torch.inf), k)
            whole = values[:, -1] > -torch.inf
            parts.append(_placed(found(values[whole], rows[whole].gather(1, places[whole])), some[whole]))
            left.append(some[~whole])
        some = torch.cat(left).sort().values
        places = torch.full((len(queries),), -1).index_put_((some,), torch.arange(len(some)))[banned[0]]
        own = places[places >= 0], banned[1][places >= 0]
        parts.append(_placed(best_products(queries[some], vectors, k, allowed, own), some))
        places, rows, values = (torch.cat(of_all) for of_all in zip(*parts, strict=True))
        order = places.argsort(stable=True)
        return places[order], rows[order], values[order]

    def _candidates(self, queries: Tensor, vectors: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The rows that are looked at for queries (n, d), ascending, and their scores."""
        rows, values = self.search(queries, size)
        behind = torch.arange(self.n_rows, len(vectors)).expand(len(queries), -1)
        rows, order = torch.cat([rows, behind], 1).sort(dim=1)
        return rows, torch.cat([values, queries @ vectors[self.n_rows :].T], 1).gather(1, order)

    def recall(self, queries: Tensor, vectors: Tensor, allowed: Tensor, k: int = 10) -> float:
        """The share of the true best k of ``vectors`` (m, d) that is found, mean over queries (n, d). What is as good as the last of
        them, up to rounding, counts as one of them."""
        places, _, values = best_products(queries, vectors, k, allowed)
        sizes = torch.bincount(places, minlength=len(queries))
        last = torch.full((len(queries),), -torch.inf).scatter_reduce(0, places, values, "amin", include_self=False)
        rounding = 1e-5 * queries.norm(dim=1) * vectors.norm(dim=1).max()
        rows, _ = self.search(queries, k)
        true = torch.einsum("nkd,nd->nk", vectors[rows.clamp_min(0)], queries).masked_fill(rows < 0, -torch.inf)
        hits = (true >= (last - rounding).unsqueeze(1)).sum(1)
        return float((hits / sizes.clamp_min(1))[sizes > 0].mean()) if len(places) else 1.0

    def check(self, queries: Tensor, vectors: Tensor, allowed: Tensor, k: int = 10) -> float:
        """The recall of the best k. Where ``hnsw`` finds less than ENOUGH, its searches become wider until it does.

        Raises:
            InputError: ``flat`` does not find them all, or ``hnsw`` never enough.
        """
        recall = self.recall(queries, vectors, allowed, k)
        while self.kind == "hnsw" and recall < ENOUGH and self.width < self.index.ntotal:
            self._inner.hnsw.efSearch *= 2
            recall = self.recall(queries, vectors, allowed, k)
        if recall < (1.0 if self.kind == "flat" else ENOUGH):
            hint = "use the index flat" if self.kind == "hnsw" else "the vectors may not be finite"
            raise InputError(f"the index {self.kind} finds {recall:.3f} of the true best {k}: {hint}")
        return recall


def _placed(some: Found, places: Tensor) -> Found:
    return places[some[0]], *some[1:]


def _floats(vectors: Tensor) -> np.ndarray:
    return np.ascontiguousarray(vectors.numpy(), dtype=np.float32)


def faiss() -> ModuleType:
    """Raises MissingPackage: it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingPackage("an index needs the package faiss: pip install 'recbole-mm[serve]'", name="faiss") from error
    return faiss
