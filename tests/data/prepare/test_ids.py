"""Ids that are written otherwise in the two tables are the same where one item alone can be meant; where nothing fits, prepare stops."""

import unicodedata
from pathlib import Path

import duckdb
import pytest

from recbole_mm.data.prepare.same_items import create_macros
from recbole_mm.errors import InputError
from tests.data.prepare.tables import Prepared, rows


def shop(folder: Path, ordered: list[str], listed: list[str], *arguments: str) -> Prepared:
    orders = rows("user,item", *(f'u{u},"{item}"' for u in range(2) for item in ordered))
    products = rows("item,title", *(f'"{item}",title of {n}' for n, item in enumerate(listed)))
    return Prepared(folder, orders, products, *arguments)


@pytest.mark.parametrize(
    ("ordered", "listed", "written"),
    [
        (["12.0", "13.0"], ["12", "13"], ["12", "13"]),
        (["12", "13"], ["12.0", "13.00"], ["12", "13"]),
        (["sku-1", " SKU-2 "], ["SKU-1", "sku-2"], ["SKU-1", "sku-2"]),
        (["\u00a0A 1", "B\u200b"], ["a 1", "b"], ["a 1", "b"]),
        (["12", "7"], ["0012", "0007"], ["0012", "0007"]),
        (["0012", "0007"], ["12", "7"], ["12", "7"]),
        (["1e5", "1e+05x", "2"], ["100000", "1e+05x", "2"], ["100000", "1e+05x", "2"]),
        (["1.2345678E+12", "5"], ["1234567800000", "5"], ["1234567800000", "5"]),
        (["100000", "5"], ["1e+05", "5"], ["100000", "5"]),
        ([unicodedata.normalize("NFD", "é1"), "x"], ["é1", "x"], ["é1", "x"]),
        (["12", "12.0", "5"], ["12", "5"], ["12", "5"]),
        (["SKU-1", "sku-1", "x"], ["SKU-1", "x"], ["SKU-1", "x"]),
    ],
)
def test_ids_that_mean_one_item(tmp_path, ordered, listed, written):
    found = shop(tmp_path, ordered, listed).make()
    assert found.titles == {item: f"title of {n}" for n, item in enumerate(written)}
    assert set(found.inter["item_id"]) == set(written) and not found.summary.items_without_metadata
    assert any("matched, for example" in note for note in found.summary.notes)


@pytest.mark.parametrize(
    ("ordered", "listed", "unmatched"),
    [
        (["sku-1", "x"], ["SKU-1", "Sku-1", "x"], "sku-1"),
        (["0012", "12", "x"], ["012", "x"], "0012"),
        (["12", "0012", "x"], ["12", "x"], "0012"),
        (["aB", "x"], ["Ab", "AB", "x", "X"], "aB"),
    ],
)
def test_ids_that_could_mean_several_items_stay_as_they_are(tmp_path, ordered, listed, unmatched):
    found = shop(tmp_path, ordered, listed).make()
    assert found.titles[unmatched] == "" and not any("for example" in note and unmatched in note for note in found.summary.notes)


@pytest.mark.parametrize("kind", ["VARCHAR", "BIGINT", "DOUBLE", "DECIMAL(9, 2)"])
def test_typed_columns(tmp_path, kind):
    found = Prepared(tmp_path, "", "", kind="parquet")
    orders = "SELECT range % 5 AS user_id, range % 7 AS item_id FROM range(70)"
    products = f"SELECT range::{kind} AS item_id, 'title ' || range AS title FROM range(7)"
    for name, query in (("orders", orders), ("products", products)):
        duckdb.sql(f"COPY ({query}) TO '{tmp_path / name}.parquet'")
    assert found.make().titles == {str(n): f"title {n}" for n in range(7)}


def test_an_item_table_with_few_of_the_items_is_a_warning(tmp_path):
    warnings = shop(tmp_path, [f"A{n}" for n in range(10)], ["A1", "17", "18"]).make().summary.warnings
    assert len(warnings) == 1 and "9 of 10 items" in warnings[0]


@pytest.mark.parametrize(
    ("ordered", "listed", "facts"),
    [
        (["A1", "A2"], ["17", "18"], ["none of the 2 items", "A1, A2", "17, 18", "column item", "--item-column"]),
        ([f"A{n}" for n in range(100)], ["17", "18", "A5"], ["1 of the 100 items", "A0", "17"]),
        (["1.23457E+12", "5"], ["1234567890123", "5"], ["orders", "1.23457E+12", "rounded", "as text"]),
        (["1234567890123", "5"], ["1.23457E+12", "5"], ["products", "1.23457E+12", "rounded"]),
        (["1.23457E+12", "5"], ["1.23457E+12", "5"], ["1.23457E+12", "rounded"]),
    ],
)
def test_what_cannot_be_matched_stops(tmp_path, ordered, listed, facts):
    with pytest.raises(InputError) as stopped:
        shop(tmp_path, ordered, listed).make()
    assert all(fact in str(stopped.value) for fact in facts), stopped.value


def test_rounded_users_and_items_without_a_table_stop(tmp_path):
    for orders in ("user,item\n1.23457E+12,i\n", "user,item\nu,1.23457E+12\n"):
        with pytest.raises(InputError, match="rounded"):
            Prepared(tmp_path, orders, None).make()
    assert set(Prepared(tmp_path, "user,item\n1e5,12.0\n", None).make().inter["user_id"]) == {"1e5"}


def test_of_several_columns_the_one_counts_that_holds_the_orders(tmp_path):
    orders = rows("customer_id,sku", *(f"c{n},S-{n % 4}" for n in range(12)))
    products = rows("id,product_id,SKU,name", *(f"{n},P{n},s-{n},name {n}" for n in range(4)))
    found = Prepared(tmp_path, orders, products).make()
    assert found.use(1)[0]["item"] == "SKU" and found.titles == {f"s-{n}": f"name {n}" for n in range(4)}


@pytest.mark.parametrize(
    ("token", "forms"),
    [
        ("0012.0", ["0012.0", "0012", "12"]), ("1.5", ["1.5"] * 3), ("1.5e1", ["1.5e1", "15", "15"]), ("1.55e1", ["1.55e1"] * 3),
        ("1.23e-5", ["1.23e-5"] * 3), ("000", ["000", "000", "0"]), 
        ("1.23456789012345E+14", ["1.23456789012345e+14"] + ["123456789012345"] * 2),
        ("12e400", ["12e400"] * 3), ("STRASSE", ["strasse"] * 3), ("3e99", ["3e99"] * 3),
    ],
)  # fmt: skip
def test_forms(token, forms):
    with duckdb.connect() as connection:
        create_macros(connection)
        assert list(connection.execute("SELECT form0($t), form1($t), form2($t)", {"t": token}).fetchone()) == forms
