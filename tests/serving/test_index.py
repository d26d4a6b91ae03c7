"""The index of vectors: its file, what it finds beside the exact best, and its self-check."""

import sys

import pytest
import torch

from recbole_mm.errors import InputError, MissingPackage
from recbole_mm.serving import index as index_module
from recbole_mm.serving.exact import best_products
from recbole_mm.serving.index import VectorIndex

N_ITEMS, N_USERS, WIDTH = 700, 60, 8


@pytest.fixture(scope="module")
def vectors():
    """Users, items with norms that differ, and which items are allowed: not the padding, and not every ninth."""
    rng = torch.Generator().manual_seed(0)
    users, items = torch.randn(N_USERS, WIDTH, generator=rng), torch.randn(N_ITEMS, WIDTH, generator=rng)
    items *= torch.rand(N_ITEMS, 1, generator=rng).mul(3).exp()
    return users, items, torch.arange(N_ITEMS) % 9 > 0


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_file_finds_what_was_written_and_no_padding(kind, vectors, tmp_path):
    users, items, allowed = vectors
    VectorIndex.built(items, allowed, kind).write(tmp_path / "index.faiss")
    index = VectorIndex.read(tmp_path / "index.faiss")
    rows, scores = index.search(users, 20)
    assert index.kind == kind and index.n_rows == N_ITEMS and bool(allowed[rows].all())
    torch.testing.assert_close(scores, torch.einsum("nkd,nd->nk", items[rows], users))
    rows, scores = index.search(users[:1], N_ITEMS)
    assert rows[0, -1] == -1 and scores[0, -1] == -torch.inf


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_the_best_without_what_is_banned_removed_or_added(kind, vectors):
    """Some have banned almost everything, some nothing; items were removed and added since the index was built."""
    users, items, allowed = vectors
    index = VectorIndex.built(items, allowed, kind)
    rng = torch.Generator().manual_seed(1)
    now, items = allowed.clone(), torch.cat([items, 4 * items[1:40]])
    now[torch.randperm(N_ITEMS, generator=rng)[:100]] = False
    now = torch.cat([now, torch.arange(39) % 5 > 0])
    hides = torch.rand(N_USERS, 1, generator=rng).pow(4) > torch.rand(N_USERS, len(items), generator=rng)
    hides[0], hides[1] = True, False
    order = torch.randperm(int(hides.sum()), generator=rng)
    banned = tuple(part[order] for part in hides.nonzero(as_tuple=True))
    places, rows, values = index.best(users, items, 10, now, banned)
    wanted = best_products(users, items, 10, now, banned)
    assert not bool(hides[places, rows].any()) and bool(now[rows].all())
    if kind == "flat":
        assert torch.equal(rows, wanted[1]) and torch.equal(places, wanted[0])
        torch.testing.assert_close(values, wanted[2])
    else:
        pairs, true = (set(zip(p.tolist(), r.tolist(), strict=True)) for p, r in ((places, rows), wanted[:2]))
        assert len(pairs & true) / len(true) > 0.95 and len(places) == len(wanted[0])


def test_no_queries_and_more_than_there_are(vectors):
    users, items, allowed = vectors
    index, nothing = VectorIndex.built(items, allowed, "flat"), (torch.zeros(0, dtype=torch.int64),) * 2
    assert [len(part) for part in index.best(users[:0], items, 3, allowed, nothing)] == [0, 0, 0]
    assert len(index.best(users[:2], items, 5000, allowed, nothing)[0]) == 2 * int(allowed.sum())


def test_the_check_widens_the_search_until_enough_is_found(vectors, monkeypatch):
    users, items, allowed = vectors
    for name, value in {"LINKS": 3, "WIDTH_BUILT": 4, "WIDTH_SEARCHED": 1}.items():
        monkeypatch.setattr(index_module, name, value)
    index = VectorIndex.built(items, allowed, "hnsw")
    narrow = index.recall(users, items, allowed)
    recall = index.check(users, items, allowed)
    assert narrow < 0.95 <= recall <= 1 and index.width > 1
    assert VectorIndex.built(items, allowed, "flat").check(users, items, allowed) == 1.0


def test_the_check_finds_an_index_of_other_vectors(vectors):
    users, items, allowed = vectors
    for kind in ("flat", "hnsw"):
        with pytest.raises(InputError, match=f"the index {kind} finds 0.* of the true best 10"):
            VectorIndex.built(items.flip(0), allowed, kind).check(users, items, allowed)


def test_rounding_ties_count_as_found(vectors):
    users, items, allowed = vectors
    copies = items[:40].repeat(20, 1)
    everything = torch.ones(len(copies), dtype=torch.bool)
    assert VectorIndex.built(copies, everything, "flat").check(users, copies, everything) == 1.0


def test_bad_input_is_one_line(vectors, tmp_path, monkeypatch):
    (tmp_path / "broken.faiss").write_bytes(b"IxMp" + b"\xff" * 60)
    with pytest.raises(InputError, match="an index is flat or hnsw, not 'tree'"):
        VectorIndex.built(*vectors[1:], "tree")
    for name in ("broken.faiss", "none.faiss"):
        with pytest.raises(InputError, match=f"{name} cannot be read") as error:
            VectorIndex.read(tmp_path / name)
        assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingPackage, match="recbole-mm.serve."):
        VectorIndex.read(tmp_path / "broken.faiss")
