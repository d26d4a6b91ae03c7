"""Pictures as tables really name them: several in a cell, addresses, paths of other machines, names in another spelling."""

import json
import unicodedata
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from PIL import Image

from recbole_mm.cli import main
from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.prepare.options import parse
from recbole_mm.data.prepare.pictures import Pictures
from recbole_mm.data.prepare.pipeline import prepare

NFC, NFD = (unicodedata.normalize(form, "Größe é") for form in ("NFC", "NFD"))


class Shop:
    """``found`` prepares a shop whose items i0, i1, ... have the given cells, with the given files, and says which file each item gets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tried = folder, 0

    def draw(self, cells: list, files: list[str], kind: str = "csv", ids: list[str] | None = None) -> list[str]:
        self.tried += 1
        source = self.folder / str(self.tried)
        ids = ids or [f"i{n}" for n in range(len(cells))]
        for n, name in enumerate(files):
            (source / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (n, 0, 0)).save(source / "pictures" / name, "png")
        orders = [(f"u{u}", item) for u in range(3) for item in ids]
        pd.DataFrame(orders, columns=["user", "item"]).to_csv(source / "orders.csv", index=False)
        products = pd.DataFrame({"item": ids, "title": "x"} | ({"image": cells} if any(cells) else {}))
        if kind == "parquet":
            duckdb.sql(f"COPY (SELECT * FROM products) TO '{source / 'products.parquet'}'")
        elif kind == "jsonl":
            rows = (json.dumps(row) + "\n" for row in products.to_dict("records"))
            (source / "products.jsonl").write_text("".join(rows))
        else:
            products.to_csv(source / "products.csv", index=False)
        self.files = files
        return [f"--interactions={source / 'orders.csv'}", f"--items={source / f'products.{kind}'}", f"--images={source / 'pictures'}",
                f"--output={source / 'out' / 'shop'}"]  # fmt: skip

    def found(self, cells: list, files: list[str], *more: str, **how) -> list[str | None]:
        arguments = self.draw(cells, files, **how)
        self.summary = prepare(parse([*arguments, *more]))
        output = Path(arguments[-1].partition("=")[2])
        names = read_atomic_file(output / "shop.item").columns["image"]
        return [files[Image.open(output / "images" / name).getpixel((0, 0))[0]] if name else None for name in names]


def in_folder(folder: Path, files: list[str]) -> Pictures:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"picture")
    return Pictures(folder, "image")


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize(
    "cell",
    [
        "a.jpg", "./a.jpg", "a.jpg|b.jpg", "a.jpg;b.jpg", "a.jpg, b.jpg", "a.jpg b.jpg", "none.jpg|a.jpg", '["a.jpg","b.jpg"]',
        "['a.jpg', 'b.jpg']", "['a.jpg' 'b.jpg']", "{a.jpg,b.jpg}", "[a.jpg, b.jpg]", '"a.jpg"', "images\\a.jpg", "C:\\shop\\a.jpg",
        "/var/www/media/a.jpg", "../media/a.jpg", "a", "A.JPG", "a.png", "a.jpeg", "https://x/y/a.jpg?w=200", "//cdn.x/a.jpg#top", 
        "https://x/w_200,h_300/a.jpg", "https://x/%61.jpg",
        "https://x/a.jpg, https://x/b.jpg", '["https://x/a.jpg", "https://x/b.jpg"]', '["https://x/none.jpg", "a.jpg"]',
        "images/a.jpg|images/b.jpg",
        '[{"src": "https://x/a.jpg", "alt": "b"}]', "file:///home/me/a.jpg", "pictures/a.jpg", "%61.jpg", "a.jpg\nb.jpg", '<img alt="b" src="https://x/a.jpg?w=1&amp;h=2">',
    ],
)  # fmt: skip
def test_what_a_cell_may_look_like(tmp_path, cell):
    pictures = in_folder(tmp_path / "pictures", ["a.jpg", "b.jpg"])
    pictures.find([("i0", cell), ("i1", "b.jpg")])
    assert pictures.of_item == {"i0": "a.jpg", "i1": "b.jpg"} and not pictures.missing


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_lists_in_typed_tables(shop, kind):
    assert shop.found([["none.jpg", "a.jpg"], ["b.jpg"], []], ["a.jpg", "b.jpg"], kind=kind) == ["a.jpg", "b.jpg", None]


@pytest.mark.parametrize(("there", "written"), [(NFD, NFC), (NFC, NFD), (NFD, NFD), ("GROSSE", "große")])
def test_forms_of_unicode_and_case(tmp_path, there, written):
    files = [f"{there}.JPG", f"sub/{there}2.jpg"]
    pictures = in_folder(tmp_path / "pictures", files)
    pictures.find([("i0", f"{written}.jpg"), ("i1", f"{written}2")])
    assert [pictures.names[pictures.of_item[item]] for item in ("i0", "i1")] == [tmp_path / "pictures" / file for file in files]
    assert all(unicodedata.is_normalized("NFC", name) for name in pictures.names), "what is written is the same on every system"


def test_files_whose_names_hold_separators(shop):
    files = ["red, blue.jpg", "a;b.jpg", "a.jpg", "b.jpg", "two words.jpg", "100%.jpg"]
    assert shop.found(files, files) == files


def test_a_folder_that_differs_is_another_picture(shop):
    """main.jpg of another product is not this one's."""
    cells = ["p1/main.jpg", "p2/main.jpg", "p3/main.jpg", "shop/p2/main.jpg"]
    assert shop.found(cells, ["p1/main.jpg", "p2/main.jpg"]) == ["p1/main.jpg", "p2/main.jpg", None, "p2/main.jpg"]
    assert shop.summary.missing_pictures == 1 and shop.summary.first_missing == ["i2 (p3/main.jpg)"]
    assert shop.found(["photos/a.jpg", "p1/b.jpg", "p3/b.jpg"], ["x/a.jpg", "p1/b.jpg"]) == ["x/a.jpg", "p1/b.jpg", None]
    web = [f"https://x/{n}/main.jpg" for n in range(3)] + ["https://x/a.jpg", "https://y/z/a.jpg?v=1"]
    assert shop.found(web, ["main.jpg", "a.jpg"]) == [None] * 3 + ["a.jpg", "a.jpg"]
    assert shop.summary.shared_pictures == 3


def test_the_same_address_may_be_of_two_items(shop):
    assert shop.found(["https://x/y/a.jpg?w=1", "https://x/y/a.jpg?w=2", "b"], ["deep/er/a.jpg", "b.png"]) == ["deep/er/a.jpg"] * 2 + [
        "b.png"
    ]


def test_several_files_of_one_name_are_decided_and_said(shop):
    assert shop.found(["a", "b.jpg"], ["a.png", "a.jpg", "x/b.jpg", "y/b.jpg"]) == ["a.jpg", "x/b.jpg"]
    assert shop.summary.ambiguous_pictures == 2 and any("a.jpg and not a.png" in note for note in shop.summary.notes)


def test_pictures_that_are_called_like_items(shop):
    ids = ["0012", "13", "SKU-7", "p/8", "nine", "ten"]
    files = ["010/0012.jpg", "00013.jpg", "sku-7.JPG", "p/8.png", "nine/2.jpg", "nine/10.jpg"]
    table = dict(zip(sorted(ids), shop.found([""] * 6, files, ids=ids), strict=True))
    assert table == {"0012": files[0], "13": files[1], "SKU-7": files[2], "p/8": files[3], "nine": files[4], "ten": None}


def test_addresses_and_files_that_are_called_like_items(shop):
    assert shop.found(["https://x/1.jpg", "https://x/2.jpg"], ["i0.jpg", "i1.png"]) == ["i0.jpg", "i1.png"]
    assert shop.found(["https://x/1.jpg", "https://x/2.jpg"], ["1.jpg", "i1.png"]) == ["1.jpg", None], "2.jpg could be anyone's"


@pytest.mark.parametrize(
    ("cells", "more", "facts"),
    [
        (["x.jpg", "y.jpg"], [], ["x.jpg", "i0", "column image", "a.jpg", "--images"]),
        (["", ""], [], ["i0", "a.jpg", "--images"]),
        (["x.jpg", "y.jpg"], ["--image-column=none"], ["i0", "a.jpg"]),
        ([" ", ""], [], ["i0", "a.jpg", "--images"]),
    ],
)
def test_nothing_found_stops_where_it_was_asked_for(shop, capsys, cells, more, facts):
    arguments = shop.draw(cells, ["a.jpg"])
    assert main(["prepare", *arguments, *more]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error: ") and all(fact in error for fact in facts), error
    assert not (Path(arguments[-1].partition("=")[2])).exists()


def test_nothing_found_is_a_loud_warning_where_it_was_not(shop, capsys):
    arguments = shop.draw(["https://x/1.jpg", "https://x/2.jpg"], ["a.jpg"])
    assert main(["prepare", *arguments[:2], arguments[3]]) == 0
    assert "warning" in capsys.readouterr().out.lower()


def test_few_found_is_a_loud_warning(shop, capsys):
    assert main(["prepare", *shop.draw([f"{n}.jpg" for n in range(10)], ["0.jpg"])]) == 0
    shown = capsys.readouterr().out
    assert "warning" in shown.lower() and "9 of 10" in shown
