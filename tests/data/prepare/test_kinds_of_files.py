"""The kinds of files that people have: an index without a name, escaped quotes, encodings and packings, JSON in arrays, many files."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pandas as pd
import pytest

from recbole_mm.errors import InputError
from tests.data.prepare.tables import Prepared, rows, write

ORDERS = pd.DataFrame([(f"u{u}", f"i{i}", 1_700_000_000 + u) for u in range(6) for i in range(4)], columns=["user", "item", "time"])
PRODUCTS = pd.DataFrame([(f"i{i}", f"Näme {i}", f'5" pipe, "{i}"') for i in range(4)], columns=["item", "title", "description"])
TITLES = {f"i{i}": f"Näme {i}" for i in range(4)}


def both(folder, spell, *arguments, kind="csv") -> Prepared:
    found = Prepared(folder, spell(ORDERS), spell(PRODUCTS), *arguments, kind=kind).make()
    assert len(found.inter) == 24 and found.titles == TITLES and found.items["description"] == list(PRODUCTS["description"])
    return found


@pytest.mark.parametrize(
    "spell",
    [
        lambda table: table.to_csv(),
        lambda table: table.reset_index().rename(columns={"index": "Unnamed: 0"}).to_csv(index=False),
        lambda table: table.reset_index().rename(columns={"index": "Unnamed: 0"}).to_csv(),
        lambda table: table.to_csv().removeprefix(","),
        lambda table: "".join(line + ",\n" for line in table.to_csv(index=False).splitlines()),
        lambda table: table.to_csv(sep=";").replace(";user", '"";user'),
    ],
    ids=["pandas", "read again", "twice", "as R writes it", "a comma at the end", "quoted"],
)  # fmt: skip
def test_an_index_without_a_name(tmp_path, spell):
    found = both(tmp_path, spell)
    assert any("without a name" in name or "Unnamed" in name for name in found.use()[1])


@pytest.mark.parametrize(
    ("kind", "spell", "arguments"),
    [
        ("csv", lambda table: table.to_csv(index=False, doublequote=False, escapechar="\\"), []),
        ("csv", lambda table: table.to_csv(index=False, sep=";", encoding="utf-8-sig").encode(), []),
        ("csv", lambda table: table.to_csv(index=False, sep="|"), []),
        ("csv", lambda table: table.to_csv(index=False).encode("utf-16"), []),
        ("tsv", lambda table: table.to_csv(index=False, sep="\t").encode("utf-16-le"), []),
        ("csv", lambda table: table.to_csv(index=False).encode("cp1252"), ["--encoding=cp1252"]),
        ("csv", lambda table: "sep=;\r\n" + table.to_csv(index=False, sep=";", lineterminator="\r\n"), []),
        ("csv", lambda table: "\n" + table.to_csv(index=False), []),
        ("csv.gz", lambda table: gzip.compress(table.to_csv(index=False).encode()), []),
        ("csv.bz2", lambda table: bz2.compress(table.to_csv(index=False).encode()), []),
        ("csv.xz", lambda table: lzma.compress(table.to_csv(index=False).encode()), []),
        ("json", lambda table: table.to_json(orient="records"), []),
        ("json", lambda table: json.dumps(table.to_dict("records"), indent=2, ensure_ascii=False), []),
        ("json", lambda table: json.dumps({"count": 2, "data": table.to_dict("records")}, indent=1), []),
        ("json", lambda table: json.dumps({"count": 2, "data": table.to_dict("records")}), []),
        ("json", lambda table: "\n".join(json.dumps(row, indent=1) for row in table.to_dict("records")), []),
        ("json", lambda table: json.dumps(table.to_dict("records"), ensure_ascii=False).encode("utf-16"), []),
        ("json.gz", lambda table: gzip.compress(table.to_json(orient="records").encode()), []),
        ("jsonl", lambda table: table.to_json(orient="records", lines=True), []),
    ],
)  # fmt: skip
def test_kinds(tmp_path, kind, spell, arguments):
    both(tmp_path, spell, *arguments, kind=kind)


def test_lines_before_the_header_are_counted(tmp_path):
    with pytest.raises(InputError, match="orders.csv line 5"):
        Prepared(tmp_path, "\n\nsep=;\nuser;item\nu;i;too much\n", None).make()


def test_tables_in_different_encodings(tmp_path):
    found = Prepared(tmp_path, ORDERS.replace("u0", "Ö").to_csv(index=False), PRODUCTS.to_csv(index=False).encode("cp1252"))
    with pytest.raises(InputError, match="products.csv.* is not UTF-8"):
        found.make()
    found.arguments.append("--encoding=cp1252")
    assert found.make().titles == TITLES and "Ö" in set(found.inter["user_id"])


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return content.getvalue()


def test_zip(tmp_path):
    both(tmp_path, lambda table: zipped(any_csv=table.to_csv(index=False)), kind="zip")
    with pytest.raises(InputError, match=r"orders.zip holds a.csv, b.csv"):
        Prepared(tmp_path, zipped(a_csv="x", b_csv="y"), None, kind="zip").make()
    with pytest.raises(InputError, match="orders.zip.*damaged"):
        Prepared(tmp_path, b"PK no archive", None, kind="zip").make()


def test_several_files(tmp_path):
    (tmp_path / "months").mkdir()
    for month in range(3):
        part = ORDERS[month::3]
        part = part[["time", "item", "user"]] if month == 1 else part
        write(tmp_path / "months" / f"{month}.csv", part.to_csv(index=False) + ("u,broken\n" if month == 2 else ""))
    found = Prepared(tmp_path, "", PRODUCTS.to_csv(index=False), "--max-bad-rows=0.1")
    found.arguments[0] = f"--interactions={tmp_path / 'months' / '*.csv'}"
    summary = found.make().summary
    assert len(found.inter) == 24 and summary.dropped["unreadable"] == 1 and "2.csv line 10" in summary.first_unreadable[0]
    assert summary.tables[0].file == "0.csv and 2 more files"
    write(tmp_path / "months" / "3.csv", "user,time\nu,1\n")
    with pytest.raises(InputError, match="3.csv has no column item, which .*0.csv has; it has user, time"):
        found.make()
    found.arguments[0] = f"--interactions={tmp_path / 'months'}"
    with pytest.raises(InputError, match="is a folder.*months/\\*.csv"):
        found.make()


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("orders.xlsx", b"PK", ["orders.xlsx", "spreadsheet", "CSV"]),
        ("orders.json", '[{"user": 1}', ["orders.json"]),
        ("orders.json", "[]", ["orders.json", "array of objects"]),
        ("orders.json", '"text"', ["orders.json", "array of objects"]),
        ("orders.csv", ",,\n1,2,3\n", ["line 1", "no names"]),
        ("orders.csv", "196,242,3.0\n197,3,4\n", ["196, 242", "first line must name the columns"]),
        ("orders.csv", "user item\nu i\n", ["user item", "--delimiter"]),
        ("orders.csv", "user,item\nu,Caf\u00e9\n".encode("cp1252"), ["UTF-8", "--encoding", "cp1252"]),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, facts):
    found = Prepared(tmp_path, rows("user,item", "u,i"), None)
    write(tmp_path / name, content)
    found.arguments[0] = f"--interactions={tmp_path / name}"
    with pytest.raises(InputError) as stopped:
        found.make()
    assert all(fact in str(stopped.value) for fact in facts), stopped.value


def test_an_escape_may_be_given(tmp_path):
    orders = rows("user,item,text", 'u,i,"a %"b%", c"', "u,j,x")
    assert len(Prepared(tmp_path, orders, None, "--escape=%").make().inter) == 2
