"""Rows leave a feature store, and all others stay bit for bit, also for who reads it meanwhile."""

import pytest
import torch

from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.forget_rows import digests_of, forget_rows
from recbole_mm.items.states import StateTable

WIDE = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
LONG = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(2))


def filled(folder, rows, dtype: str = "fp32") -> FeatureStore:
    """Two shards: the contents a, b, c of items x, y, z, and d, e of y and z."""
    store = FeatureStore(folder, 3, dtype)
    store.add(["a", "b", "c"], rows[:3], ["x", "y", "z"])
    store.add(["d", "e"], rows[3:], ["y", "z"])
    return store


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_rows_of_forgotten_items_go(tmp_path, dtype):
    before = filled(tmp_path, WIDE, dtype).rows(["a", "c", "e"])
    assert digests_of(tmp_path, {"y"}) == {"b", "d"}
    assert forget_rows(tmp_path, {"y"}, {"b"}, {}) == 2
    after = FeatureStore(tmp_path, 3, dtype)
    assert torch.equal(after.rows(["a", "c", "e"]), before) and "b" not in after and "d" not in after
    row = WIDE[1].to(after.dtype).numpy().tobytes()
    assert not [file for file in tmp_path.iterdir() if row in file.read_bytes() or b'"y' in file.read_bytes()]
    assert forget_rows(tmp_path, {"y"}, {"b"}, {}) == 0 and len(list(tmp_path.iterdir())) == 2


def test_a_content_that_a_kept_item_shares_stays_under_its_name(tmp_path):
    before = filled(tmp_path, WIDE).rows(["b"])
    files = set(tmp_path.iterdir())
    assert forget_rows(tmp_path, {"y"}, {"b", "d"}, {"b": "w"}) == 1
    assert torch.equal(FeatureStore(tmp_path, 3).rows(["b"]), before)
    assert digests_of(tmp_path, {"w"}) == {"b"} and not digests_of(tmp_path, {"y"})
    assert len(files & set(tmp_path.iterdir())) == 1  # the shard whose rows all stay has the name that it had


def test_whoever_has_the_store_open_reads_on(tmp_path):
    store = filled(tmp_path, LONG)
    table = StateTable(store, ["a", "c", "d"])
    forget_rows(tmp_path, {"y"}, (), {})
    assert torch.equal(table.rows(torch.tensor([0, 1, 2])), LONG[[0, 2, 3]])
    again = StateTable(store, ["a", "", "e"])
    assert torch.equal(again.rows(torch.tensor([0, 2])), LONG[[0, 4]])
    flat = filled(tmp_path / "flat", WIDE)
    forget_rows(tmp_path / "flat", {"x"}, (), {})
    assert torch.equal(flat.rows(["b", "", "e"]), WIDE[[1, 1, 4]] * torch.tensor([[1.0], [0], [1]]))
    with pytest.raises(KeyError):
        flat.rows(["a"])


def test_what_a_killed_call_left_is_taken_out_by_the_next(tmp_path, monkeypatch):
    """It has written the new shard and not yet removed the old one."""
    filled(tmp_path, WIDE)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            forget_rows(tmp_path, {"x"}, (), {})
    assert "a" in FeatureStore(tmp_path, 3) and len(list(tmp_path.iterdir())) == 3
    forget_rows(tmp_path, {"x"}, (), {})
    store = FeatureStore(tmp_path, 3)
    assert "a" not in store and torch.equal(store.rows(["b", "c", "d"]), WIDE[1:4]) and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_a_damaged_shard_goes(tmp_path, cut):
    filled(tmp_path, WIDE)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:cut])
    forget_rows(tmp_path, {"y"}, (), {})
    assert not list(tmp_path.iterdir())
