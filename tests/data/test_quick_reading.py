"""Large files are read, filtered and split by whole columns, and what comes out is what RecBole makes of them."""

import os
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType

from recbole_mm.data import column_cache
from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.column_cache import forget_columns
from recbole_mm.data.quick_file import read_quickly
from tests.data.tables import config, read, write
from tests.processes import together

KINDS = {"user_id": FeatureType.TOKEN, "item_id": FeatureType.TOKEN, "rating": FeatureType.FLOAT, "timestamp": FeatureType.FLOAT}


@pytest.fixture(autouse=True)
def every_file_is_large(monkeypatch):
    monkeypatch.setattr(column_cache, "LARGE", 0)


@pytest.fixture
def shop(tmp_path):
    """700 interactions of users and items of all popularities, with names of many scripts; some items have no interaction."""
    rng = np.random.default_rng(3)
    users = [f"u{n}" for n in range(80)] + ["Zoë", "数 据", '"quoted"', '5" nail', "NaN-ish", "007", "7", "[x]"]
    items = [f"i{n}" for n in range(70)] + ["ключ", "a,b", "a;b", " padded ", "1e3", "True"]
    chosen = zip(rng.integers(0, len(users), 900) % rng.integers(1, len(users) + 1, 900), rng.integers(0, len(items) - 4, 900), strict=True)
    rows = [[users[u], items[i], repr(float(rng.random() * 5)), str(10**9 + n // 3)] for n, (u, i) in enumerate(dict.fromkeys(chosen))]
    folder = write(tmp_path / "shop", rows)
    table = [[item, ["red", "blue", ""][n % 3], repr(n / 7)] for n, item in enumerate(items)]
    return write(folder, table, "item_id:token\tcolour:token\tprice:float", "item")


def check_same(one, other) -> None:
    """Equal, but for the 16th digit of a number, which pandas 2 reads wrong and DuckDB right."""
    for table in ("inter_feat", "item_feat"):
        left, right = getattr(one, table), getattr(other, table)
        pd.testing.assert_frame_equal(pd.DataFrame(left), pd.DataFrame(right), rtol=1e-12, atol=0.0)
    assert one.field2id_token.keys() == other.field2id_token.keys()
    for field, tokens in one.field2id_token.items():
        assert tokens.tolist() == other.field2id_token[field].tolist() and one.field2token_id[field] == other.field2token_id[field]
    for notes in ("field2type", "field2source", "field2seqlen", "field2bucketnum"):
        assert dict(getattr(one, notes)) == dict(getattr(other, notes)), notes


FILTERS = (
    {},
    {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[7,inf)"},
    {"user_inter_num_interval": "[3,20]", "item_inter_num_interval": "(2,25)"},
    {"user_inter_num_interval": "[12,30];[4,6]", "item_inter_num_interval": None},
    {"rm_dup_inter": "last", "val_interval": {"rating": "[1,inf)", "price": "[0,8]"}, "filter_inter_by_user_or_item": True},
)


@pytest.mark.parametrize("keys", FILTERS, ids=str)
def test_the_tables_are_those_of_recbole(shop, keys):
    keys = {"load_col": {"inter": list(KINDS), "item": ["item_id", "colour", "price"]}, **keys}
    quick, ours = (read(shop, fast_loop=fast, **keys) for fast in (True, False))
    check_same(quick, ours)
    check_same(quick, read(shop, **keys))  # out of the cache
    if "val_interval" not in keys:  # RecBole reads quotes in another way, and refuses a quote that has no partner
        rows = (shop / "shop.inter").read_text().replace('"', "")
        (shop / "shop.inter").write_text(rows)
        (shop / "shop.item").write_text((shop / "shop.item").read_text().replace('"', ""))
        check_same(read(shop, **keys), Dataset(config(shop, **keys)))


SPLITS = [
    {"split": split, "group_by": group, "order": order, "mode": "full"}
    for split, group, order in [
        *product(({"RS": [0.8, 0.1, 0.1]}, {"RS": [3, 1, 1]}, {"RS": [0.9, 0.05, 0.05]}), ("user", "none"), ("RO",)),
        *product(({"LS": "valid_and_test"}, {"LS": "valid_only"}, {"LS": "test_only"}), ("user",), ("RO", "TO")),
        ({"TS": [0.7, 0.1, 0.2]}, "user", "TO"),
    ]
]


@pytest.mark.parametrize("how", SPLITS, ids=str)
def test_the_parts_have_the_rows_of_recboles_in_their_order(shop, how):
    parts = []
    for fast in (True, False):
        dataset = read(shop, fast_loop=fast, eval_args=how, load_col={"inter": list(KINDS)})
        torch.manual_seed(7)
        parts.append(dataset.build())
    check_same_parts(*parts)
    assert sum(map(len, parts[0])) == len(dataset.inter_feat)


def check_same_parts(parts, others) -> None:
    for mine, theirs in zip(parts, others, strict=True):
        assert [*mine.inter_feat.interaction] == [*theirs.inter_feat.interaction]
        for field, values in theirs.inter_feat.interaction.items():
            assert mine.inter_feat[field].dtype == values.dtype and torch.equal(mine.inter_feat[field], values), field
        assert mine.field2type == theirs.field2type and dict(mine.field2seqlen) == dict(theirs.field2seqlen)


@pytest.mark.parametrize("longest", [3, 50])
@pytest.mark.parametrize("numerical", [[], ["rating"]])
def test_histories_are_recboles(shop, monkeypatch, longest, numerical):
    """Of columns of every type: words, numbers in a list, numbers with a weight of their own."""
    monkeypatch.setattr("recbole_mm.data.quick_sequences.ROWS_AT_ONCE", 64)
    file = shop / "shop.inter"
    head, *rows = file.read_text().splitlines()
    rows = [f"{row}\t{' '.join('abc'[: n % 4])}\t{' '.join(map(str, range(n % 3)))}" for n, row in enumerate(rows)]
    file.write_text("\n".join([head + "\twords:token_seq\tsizes:float_seq", *rows]))
    keys = {
        "model": "SASRec", "load_col": None, "MAX_ITEM_LIST_LENGTH": longest, "numerical_features": numerical,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    }  # fmt: skip
    check_same_parts(*([read(shop, fast_loop=fast, **keys).build() for fast in (True, False)]))


HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
LINES = ["u1\ti1\t0.1\t1700000000123456789", "u2\ti2\t-2.5e-3\t 12 ", "u1\ti2\t4\t5"]


@pytest.mark.parametrize("lines", [
    LINES, ["\ufeffu1\t\u00a0i\t1\t2"], ['"u1"\ti1\t1\t2', "u1\ti1\t3\t4"], ['a"\t"b\t1\t2'], [*LINES, "u3\tNA\t1\t2"],
    ["\t\t1\t2"], ["u,1\ti;1\t1\t2"], ["#u\t//i\t1\t2"], ["'u'\t\\i\t+1\t.5"],
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_is_read_as_by_the_careful_reader(tmp_path, lines, end):
    file = tmp_path / "shop.inter"
    for last in ("", end):
        file.write_bytes((end.join([HEAD, *lines]) + last).encode())
        columns = read_quickly(file, KINDS, "\t")
        careful = read_atomic_file(file)
        for name, kind in KINDS.items():
            cells = careful.columns[name]
            if kind == FeatureType.TOKEN:
                assert [None if pd.isna(token) else token for token in columns[name]] == [
                    c if c.strip(" ") not in ("", "NA") else None for c in cells
                ]
            else:
                assert columns[name].tolist() == [float(cell) for cell in cells]


@pytest.mark.parametrize("odd", [
    "u1\ti1\t1", "u1\ti1\t1\t2\t3", "u1\ti1\t1_000\t2", "u1\ti1\t\t2", "u1\ti1\tx\t2", "u1\ti1\tinf\t2", "u1\ti1\tnan\t2", "u1\ti1\t1,5\t2",
    '"u\t1"\ti1\t1\t2', "u1\ti1\t0x10\t2",
    "u1\ti\x001\t1\t2", "u1\ti\r1\t1\t2", "u1\ti1\t1\t2\r", b"u1\ti\xff\t1\t2", "\u0661\ti1\t\u0661\t2", "", " ",
], ids=repr)  # fmt: skip
def test_what_is_odd_is_left_to_the_careful_reader(tmp_path, odd):
    file = tmp_path / "shop.inter"
    file.write_bytes("\n".join([HEAD, *LINES, ""]).encode() + (odd if isinstance(odd, bytes) else odd.encode()) + b"\n" + LINES[0].encode())
    assert read_quickly(file, KINDS, "\t") is None


@pytest.mark.parametrize("text", ["", HEAD, f"{HEAD}\n", f"{HEAD}\r\n"])
def test_a_file_without_rows_is_left_to_the_careful_reader(tmp_path, text):
    (tmp_path / "shop.inter").write_bytes(text.encode())
    assert read_quickly(tmp_path / "shop.inter", KINDS, "\t") is None


def test_what_is_wrong_is_said_as_ever(shop):
    with open(shop / "shop.inter", "a") as file:
        file.write("u1\ti1\tmany\t5\n")
    with pytest.raises(Exception, match="rating 'many' is no number"):
        read(shop, load_col={"inter": list(KINDS)})


def cached(folder):
    return sorted((folder / ".recbole_mm" / "columns").glob("*.npz"))


def ratings(folder, model="BPR"):
    return read(folder, model, load_col={"inter": list(KINDS)}).inter_feat["rating"].tolist()


def test_a_changed_file_is_never_served_from_the_cache(shop):
    before, (file,) = ratings(shop), cached(shop)
    whole, inter = file.read_bytes(), shop / "shop.inter"
    assert ratings(shop) == before and file.read_bytes() == whole
    text, stamp = inter.read_text(), inter.stat()
    inter.write_text(text.replace("\t4.", "\t3."))
    os.utime(inter, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # nothing but the content tells
    assert inter.stat().st_size == stamp.st_size
    assert ratings(shop) == pytest.approx([value - (4 <= value < 5) for value in before]) != before
    assert cached(shop) == [file]
    assert len(read(shop).inter_feat.columns) == 2 and len(cached(shop)) == 2  # other columns have a file of their own


def damaged(whole: bytes) -> list[bytes]:
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    return [whole[:middle], b"", b"nonsense", flipped]


def test_a_damaged_cache_is_made_anew(shop, caplog):
    before, (file,) = ratings(shop), cached(shop)
    whole = file.read_bytes()
    for content in damaged(whole):
        file.write_bytes(content)
        caplog.clear()
        assert ratings(shop) == before
        assert file.read_bytes() == whole and "is damaged and made anew" in caplog.text


def test_several_processes_share_the_cache(shop, monkeypatch):
    def read_and_tell(path, *args):
        with open(shop / "reads", "a") as file:
            file.write("once ")
        return read_quickly(path, *args)

    monkeypatch.setattr(column_cache, "read_quickly", read_and_tell)
    one, other = together(2, lambda: ratings(shop, "CLIPRec"))
    assert one == other == ratings(shop) and (shop / "reads").read_text() == "once "


def test_the_cache_holds_no_pickle(shop):
    ratings(shop)
    with np.load(cached(shop)[0], allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "iuf" for name in arrays.files)


def test_without_a_place_for_a_cache_files_are_read_all_the_same(shop, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shop / "shop.inter"))
    monkeypatch.setattr("recbole_mm.data.content.tempfile.TemporaryFile", lambda dir: (shop / "no" / "file").open())
    assert ratings(shop) and not cached(shop)


def test_the_careful_way_makes_no_cache(shop):
    read(shop, fast_loop=False)
    assert not cached(shop)


def test_columns_of_a_file_that_holds_what_was_forgotten_are_not_kept_until_it_has_changed(shop):
    before, file = ratings(shop), shop / "shop.inter"
    cache = cached(shop)[0].parent
    (cache / "other.inter-0.npz").write_bytes(b"of another data set")
    assert forget_columns(cache, [file], [file]) == 1
    assert [part.name for part in cached(shop)] == ["other.inter-0.npz"]
    assert ratings(shop) == before and len(cached(shop)) == 1
    file.write_text(file.read_text().rstrip("\n").rpartition("\n")[0] + "\n")
    ratings(shop)
    assert len(cached(shop)) == 2
    assert forget_columns(cache, [file], []) == 1 and ratings(shop) and len(cached(shop)) == 2


def test_columns_are_forgotten_where_there_is_no_cache(tmp_path):
    assert forget_columns(tmp_path / "none", [tmp_path / "shop.inter"], []) == 0 and not (tmp_path / "none").exists()
