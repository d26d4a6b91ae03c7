"""Rows left out by a condition, items without orders, further columns, the data set's own settings, and the summary on the screen."""

import json

import pytest

from recbole_mm.cli import main
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.training.loaders import create_dataset
from tests.data.prepare.tables import Prepared, rows, write

STATUS = ("paid", "cancelled", "", "paid")
ORDERS = rows("Customer,product,status,quantity,order date,sku code",
              *(f"u{n % 6},p{n % 5},{STATUS[n % 4]},{n % 3},2024-03-{1 + n % 28:02},0{n % 2}" for n in range(40)))  # fmt: skip
PRODUCTS = rows("product,name,Category,price,stock,rating,tags",
                *(f'p{n},Name {n},c {n},"{n},5",{n},4.5,"[""a b"",""c""]"' for n in range(8)))  # fmt: skip


@pytest.fixture
def shop(tmp_path):
    return lambda *arguments: Prepared(tmp_path, ORDERS, PRODUCTS, *arguments, "--dedup=last").make()


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("status <> 'cancelled'", 20),
        ("status IS NULL OR status <> 'cancelled'", 30),
        ("STATUS = 'paid' AND quantity > 0", sum(STATUS[n % 4] == "paid" and n % 3 > 0 for n in range(40))),
        ("quantity >= 1.5", 13),
        ("\"order date\" < DATE '2024-03-05'", 8),
        ("\"sku code\" = '01'", 20),
        ("product LIKE 'p1%'", 8),
        ("status IN ('paid', 'shipped')", 20),
    ],
)
def test_where(shop, condition, left):
    summary = shop("--where", condition).summary
    assert summary.dropped["left out by --where"] == 40 - left and summary.rows == 40
    assert summary.rows == summary.interactions + sum(summary.dropped.values())


def test_truth_values(tmp_path):
    orders = rows("user,item,cancelled", "u,i,True", "v,i,False", "w,i,")
    assert list(Prepared(tmp_path, orders, None, "--where=NOT cancelled").make().inter["user_id"]) == ["v"]


@pytest.mark.parametrize(
    ("condition", "facts"),
    [
        ("statu <> 'x'", ["statu", "not found"]),
        ("status <>", ["--where", "syntax error"]),
        ("status + 1 > 0", ["--where"]),
        ("status", ["--where"]),
        ("sum(quantity) > 3", ["--where", "aggregate"]),
        ("status = 'lost'", ["nothing is left", "--where"]),
        (" ", ["--where is empty"]),
    ],
)
def test_a_condition_that_does_not_hold(shop, condition, facts, tmp_path):
    with pytest.raises(InputError) as stopped:
        shop("--where", condition)
    said = str(stopped.value)
    assert all(fact in said for fact in facts) and "\n" not in said and "c0" not in said and not (tmp_path / "out" / "shop").exists(), said


def test_what_a_condition_leaves_out_may_be_unreadable(tmp_path):
    orders = rows("user,item,date,status", "u,i,2024-03-12,paid", "v,i,never,cancelled")
    found = Prepared(tmp_path, orders, None, "--where=status <> 'cancelled'").make()
    assert list(found.inter["user_id"]) == ["u"] and found.summary.dropped["unreadable"] == 0


def test_all_items_are_kept_and_in_the_catalogue_of_a_run(shop, tmp_path):
    found = shop("--keep-all-items")
    assert found.titles == {f"p{n}": f"Name {n}" for n in range(8)} and found.summary.items_without_interactions == 3
    assert found.settings["load_col"] == {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}
    keys = {"data_path": str(tmp_path / "out"), "use_gpu": False, "state": "WARNING"}
    for model in ("CLIPRec", "BPR"):
        dataset = create_dataset(MultiModalConfig(model, "shop", config_dict=keys))
        assert dataset.item_num == 9 and dataset.inter_num == found.summary.interactions


def test_items_without_orders_are_dropped_and_counted(shop):
    assert len(shop().titles) == 5 and shop().summary.metadata_without_interactions == 3 and "load_col" not in shop().settings


def test_further_columns_are_carried_along_and_load_in_recbole(shop, tmp_path):
    found = shop("--keep-columns=Category,price,rating")
    assert found.summary.kept_columns == ["Category:token", "price:float", "item_rating:float"]
    assert found.items["price"] == [f"{n}.5" for n in range(5)] and found.items["Category"] == [f"c {n}" for n in range(5)]
    keys = {"data_path": str(tmp_path / "out"), "use_gpu": False, "state": "WARNING"}
    dataset = create_dataset(MultiModalConfig("BPR", "shop", config_dict=keys))
    assert "price" not in dataset.field2type, "by itself it is in no batch"
    keys["load_col"] = {"inter": ["user_id", "item_id"], "item": ["item_id", "Category", "price", "item_rating"]}
    dataset = create_dataset(MultiModalConfig("BPR", "shop", config_dict=keys))
    assert sorted(dataset.item_feat["price"][1:]) == [0.5, 1.5, 2.5, 3.5, 4.5] and dataset.num("Category") == 6


def test_lists_and_gaps(tmp_path):
    same = {"title": "t", "categories": ["Video Games", "PC"], "sizes": [1, 2.5]}
    products = rows(*(json.dumps({"item": f"i{n}", **same, "weight": None if n else 2.5, "code": f"0{n}"}) for n in range(3)))
    orders = rows(*(json.dumps({"user": f"u{n % 2}", "item": f"i{n % 3}"}) for n in range(6)))
    found = Prepared(tmp_path, orders, products, "--keep-columns=categories,sizes,weight,code", kind="jsonl").make()
    assert found.summary.kept_columns == ["categories:token_seq", "sizes:float_seq", "weight:float", "code:token"]
    assert found.items["categories"][0] == "Video_Games PC" and found.items["sizes"][0] == "1 2.5"
    assert found.items["weight"] == ["2.5", "", ""] and found.items["code"] == ["00", "01", "02"]


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--keep-columns=categry"], ["--keep-columns", "categry", "'Category'", "price"]),
        (["--decimal=;"], ["--decimal"]),
        (["--time-column=none", "--time-format=%d"], ["--time-format", "--time-column"]),
    ],
)
def test_options_that_do_not_fit(shop, arguments, facts):
    with pytest.raises(InputError) as stopped:
        shop(*arguments)
    assert all(fact in str(stopped.value) for fact in facts), stopped.value


@pytest.mark.parametrize("option", ["--text-columns=blank", "--keep-columns=blank", "--rating-column=none_at_all"])
def test_a_column_that_was_named_and_brings_nothing_stops(tmp_path, option):
    orders, products = rows("user,item,none_at_all", "u,i,", "v,i,"), rows("item,title,blank", "i,Name,")
    with pytest.raises(InputError, match=option.partition("=")[2]):
        Prepared(tmp_path, orders, products, option).make()


@pytest.mark.parametrize("option", ["--keep-all-items", "--keep-columns=price", "--image-column=x", "--text-columns=x"])
def test_options_that_need_an_item_table(tmp_path, option):
    with pytest.raises(InputError, match=f"{option.partition('=')[0]} needs an item table"):
        Prepared(tmp_path, ORDERS, None, option).make()


def test_the_settings_of_a_data_set(shop, tmp_path):
    fields = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp"}
    assert shop().settings == fields | {"text_field": ["title"]}
    assert Prepared(tmp_path / "alone", "user,item,stars\nu,i,4\n", None).make().settings == {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "RATING_FIELD": "rating",
    }
    lines = (tmp_path / "out" / "shop" / "shop.yaml").read_text().splitlines()
    for n, line in enumerate(lines):
        assert not line or line.startswith("#") or lines[n - 1].startswith("# "), "each setting is explained"


def test_the_screen(shop, tmp_path, capsys):
    orders = ORDERS + "u9,p1,paid,1\n" + ",p2,paid,1,2024-03-01,00\n"
    products = rows(",product,name,text,picture,price," + ",".join(f"a_long_column_name_{n}" for n in range(30)),
                    *(f"{n},P{n},Name {n},Long {n},{n}.jpg,9.5" + ",x" * 30 for n in range(8)))  # fmt: skip
    made = Prepared(tmp_path, orders, products, "--max-bad-rows=0.1", "--keep-columns=price", "--where=quantity < 2")
    write(tmp_path / "1.jpg", b"")
    assert main(["prepare", *made.arguments]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert all(len(line) <= 100 for line in lines if not line.startswith(("written", "next"))), max(lines, key=len)
    for fact in (
        "orders.csv  42 rows", "user         Customer", "--where      quantity", "not used     status, sku code", "a column without a name",
        "dropped: unreadable", "dropped: left out by --where", "dropped: without user or item", "with a picture: 1 as written",
        "p0 and P0", "price:float", "WARNING", "and 11 more", "next: recbole-mm run --model=CLIPRec --dataset=shop",
    ):  # fmt: skip
        assert fact in shown, fact
    assert "--config_files" not in shown
