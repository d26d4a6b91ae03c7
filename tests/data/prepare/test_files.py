"""``recbole-mm prepare`` on a shop's own tables: what is read, kept, cleaned and written, and that a run reads it back."""

import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from PIL import Image

from recbole_mm.cli import main
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.prepare.options import parse
from recbole_mm.data.prepare.pipeline import prepare
from recbole_mm.data.text import join_fields
from recbole_mm.errors import InputError
from recbole_mm.training.loaders import create_dataset

TEXTS = {
    "p0": ('"Best" lamp 🪔', '<b>Soft</b> &amp; warm,\nand\tit "was"'),
    "p1": ('"Wrapped"', "plain"),
    "p2": ("5\" pipe, 'x'", '"opens'),
    "p3": ("NA", ""),
    "p4": ("", '"'),
    "007": ("# hash", "日本 \\ back"),
    "p 6": ("Kept CASING", 'a "" b'),
}
CLEAN = {
    "p0": ('"Best" lamp 🪔', 'Soft & warm, and it "was"'),
    **{item: pair for item, pair in TEXTS.items() if item != "p0"},
}


def orders(n_users: int = 12) -> pd.DataFrame:
    rows = [(f"u{u}", item, 1_600_000_000 + 86400 * u + n, 1 + (u + n) % 5) for u in range(n_users) for n, item in enumerate(TEXTS)]
    return pd.DataFrame(rows, columns=["customer", "product", "time", "stars"])


def products() -> pd.DataFrame:
    return pd.DataFrame([(item, *texts, f"{n}.png") for n, (item, texts) in enumerate(TEXTS.items())],
                        columns=["product", "name", "text", "file"])  # fmt: skip


@pytest.fixture
def shop(tmp_path) -> Path:
    folder = tmp_path / "input"
    (folder / "images").mkdir(parents=True)
    orders().to_csv(folder / "interactions.csv", index=False)
    products().to_csv(folder / "items.csv", index=False)
    for n in range(len(TEXTS)):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(folder / "images" / f"{n}.png")
    return folder


def made(folder: Path, output: Path, *arguments: str):
    return prepare(parse([f"--input={folder}", f"--output={output}", *arguments]))


def inter(output: Path) -> pd.DataFrame:
    table = pd.read_csv(output / f"{output.name}.inter", sep="\t", dtype=str, engine="python")
    return table.rename(columns=lambda column: column.split(":")[0])


def everything(output: Path) -> dict[str, bytes]:
    return {str(file.relative_to(output)): file.read_bytes() for file in sorted(output.rglob("*")) if file.is_file()}


def test_texts_and_tokens_survive_both_readers(shop, tmp_path):
    summary = made(shop, tmp_path / "shop")
    assert (summary.interactions, summary.users, summary.items, summary.items_with_picture) == (84, 12, 7, 7)
    table = read_atomic_file(tmp_path / "shop" / "shop.item").columns
    assert dict(zip(table["item_id"], zip(table["title"], table["description"], strict=True), strict=True)) == CLEAN
    read = pd.read_csv(tmp_path / "shop" / "shop.item", sep="\t", dtype=str, engine="python", keep_default_na=False)
    assert [list(column) for column in (read["item_id:token"], read["title:token_seq"])] == [table["item_id"], table["title"]]


def test_the_result_is_a_recbole_data_set(shop, tmp_path):
    made(shop, tmp_path / "shop")
    keys = {"data_path": str(tmp_path), "encoder": "open_clip:tiny", "use_gpu": False, "state": "WARNING", "show_progress": False}
    dataset = create_dataset(MultiModalConfig("CLIPRec", "shop", config_dict=keys))
    assert set(dataset.field2id_token["item_id"]) == {"[PAD]", *TEXTS} and dataset.inter_num == 84
    ids = range(1, len(TEXTS) + 1)
    for token, text, picture in zip(dataset.content.tokens(ids), dataset.content.texts(ids), dataset.content.images(ids), strict=True):
        assert text == join_fields(CLEAN[token]) and picture[0, 0, 0] == list(TEXTS).index(token)


def test_tables_of_all_kinds_give_the_same_files(shop, tmp_path):
    made(shop, tmp_path / "csv" / "shop")
    expected = everything(tmp_path / "csv" / "shop")
    tables = {"interactions": orders(), "items": products()}
    for kind in ("tsv", "jsonl", "parquet", "csv.gz", "jsonl.gz", "crlf", "latin"):
        folder = tmp_path / kind / "input"
        folder.mkdir(parents=True)
        for name, table_ in tables.items():
            if kind == "tsv":
                table_.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
            elif kind == "parquet":
                duckdb.sql(f"COPY (SELECT * FROM table_) TO '{folder / name}.parquet'")
            elif kind == "crlf":
                table_.to_csv(folder / f"{name}.csv", index=False, lineterminator="\r\n", encoding="utf-8-sig")
            elif kind == "latin":
                table_.to_csv(folder / f"{name}.csv", sep=";", index=False, encoding="utf-16")
            elif kind == "csv.gz":
                table_.to_csv(folder / f"{name}.csv.gz", index=False)
            else:
                opener = gzip.open if kind.endswith("gz") else open
                with opener(folder / f"{name}.{kind}", "wt", encoding="utf-8") as lines:
                    lines.writelines(json.dumps(row) + "\n\n" for row in table_.to_dict("records"))
        extra = ["--encoding=utf-16"] if kind == "latin" else []
        made(folder, tmp_path / kind / "shop", f"--images={shop / 'images'}", *extra)
        assert everything(tmp_path / kind / "shop") == expected, kind


def test_idempotent_and_nothing_is_overwritten(shop, tmp_path, capsys):
    arguments = ["prepare", f"--input={shop}", f"--output={tmp_path / 'shop'}", "--k-core", "5"]
    assert main(arguments) == 0
    assert f"recbole-mm run --model=CLIPRec --dataset=shop --data_path={tmp_path}" in capsys.readouterr().out
    first = everything(tmp_path / "shop")
    assert main(arguments) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--link=hardlink"]) == 0
    assert everything(tmp_path / "shop") == first and (tmp_path / "shop/images/0.png").stat().st_nlink == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input", "shop"]
    (tmp_path / "shop" / "prepare.json").unlink()
    assert main([*arguments, "--overwrite"]) == 2 and "not made by" in capsys.readouterr().err


def test_the_cache_of_a_data_set_that_is_replaced_stays(shop, tmp_path):
    made(shop, tmp_path / "shop")
    cache = tmp_path / "shop" / ".recbole_mm" / "vectors"
    cache.mkdir(parents=True)
    (cache / "0.safetensors").write_bytes(b"dear")
    (tmp_path / "shop" / "notes.txt").write_text("of the old data set")
    made(shop, tmp_path / "shop", "--overwrite")
    assert (cache / "0.safetensors").read_bytes() == b"dear" and not (tmp_path / "shop" / "notes.txt").exists()
    with pytest.raises(InputError):
        made(shop, tmp_path / "shop", "--overwrite", "--k-core=99")
    assert (cache / "0.safetensors").read_bytes() == b"dear" and (tmp_path / "shop" / "shop.inter").is_file()


def test_what_a_killed_process_left_is_swept_away(shop, tmp_path):
    left = tmp_path / ".shop.another-machine.1.0123abcd.tmp"
    left.mkdir()
    os.utime(left, (0, 0))
    made(shop, tmp_path / "shop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input", "shop"]


def core_by_hand(pairs: set, k: int) -> set:
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = {(u, i) for u, i in pairs if users[u] >= k and items[i] >= k}
        if kept == pairs:
            return kept
        pairs = kept


@pytest.mark.parametrize("seed", range(4))
def test_filters_against_a_slow_reference(tmp_path, seed):
    rng = random.Random(seed)

    def few(prefix: str, n: int) -> str:
        return f"{prefix}{int(n * rng.random() ** 2)}"

    rows = [(few("u", 30), few("i", 40), rng.randrange(50), rng.randint(1, 5)) for _ in range(600)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"]).to_csv(tmp_path / "x.csv", index=False)
    for which, keep in (("last", max), ("first", min)):
        kept: dict[tuple, tuple] = {}
        for n, (u, i, t, r) in enumerate(rows):
            if r >= 2:
                kept[u, i] = keep(kept.get((u, i), (t, n, r)), (t, n, r))
        core = core_by_hand(set(kept), 4)
        output = tmp_path / which
        where = [f"--interactions={tmp_path / 'x.csv'}", f"--output={output}"]
        summary = prepare(parse([*where, f"--dedup={which}", "--min-rating=2", "--k-core=4"]))
        table = inter(output)
        found = {(u, i): (int(t), float(r)) for u, i, r, t in table[["user_id", "item_id", "rating", "timestamp"]].values}
        assert found == {pair: (kept[pair][0], kept[pair][2]) for pair in core} and len(found) == len(table) == summary.interactions
        assert summary.rows == summary.interactions + sum(summary.dropped.values())


def test_times(tmp_path):
    def stamps(values: list, *arguments: str) -> list[str]:
        pd.DataFrame({"user": "u", "item": range(len(values)), "date": values}).to_csv(tmp_path / "x.csv", index=False)
        output = tmp_path / "out" / "x"
        prepare(parse([f"--interactions={tmp_path / 'x.csv'}", f"--output={output}", "--overwrite", *arguments]))
        return inter(output).sort_values("item_id")["timestamp"].tolist()

    iso = ["2020-01-31", "2020-01-31T01:00:00Z", "2020-01-31 03:00:00+02:00", "2020-01-31 01:00:00.25"]
    assert stamps(iso) == ["1580428800", "1580432400", "1580432400", "1580432400.250"]
    assert stamps([1580428800, 1580428801.5]) == ["1580428800", "1580428801.500"]
    assert stamps([1580428800000, 1580428800250]) == ["1580428800", "1580428800.250"]
    assert stamps([5, 7], "--time-unit=ms") == ["0.005", "0.007"]


def test_pictures_by_item_name_and_those_that_are_missing(shop, tmp_path):
    products().drop(columns="file").to_csv(shop / "items.csv", index=False)
    pictures = shop / "images"
    for n in range(len(TEXTS)):
        (pictures / f"{n}.png").unlink()
    (pictures / "sub").mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "p0.jpg")
    Image.new("RGB", (8, 8)).save(pictures / "sub" / "p 6.WEBP", "webp")
    summary = made(shop, tmp_path / "shop")
    assert summary.items_with_picture == 2 and summary.missing_pictures == 5 and "007" in summary.first_missing
    table = read_atomic_file(tmp_path / "shop" / "shop.item").columns
    assert [name for name in table["image"] if name] == ["sub/p 6.WEBP", "p0.jpg"]
    assert (tmp_path / "shop/images/sub/p 6.WEBP").is_file()


def test_a_catalogue_that_does_not_fit_the_orders(shop, tmp_path):
    table = products()
    unsold = pd.DataFrame([["unsold", "x", "y", ""]], columns=table.columns)
    pd.concat([table[2:], table[3:4], unsold]).to_csv(shop / "items.csv", index=False)
    summary = made(shop, tmp_path / "shop")
    assert (summary.items_without_metadata, summary.metadata_without_interactions, summary.repeated_metadata) == (2, 1, 1)
    assert summary.items == 7 and len(read_atomic_file(tmp_path / "shop" / "shop.item").columns["item_id"]) == 7


def test_odd_names_and_odd_values(tmp_path):
    rows = [{"user": "a\tb\u0000c ", "item": 'x"y'}, {"user": 1.5, "item": 2**60}]
    rows += [{"user": "[PAD]", "item": "i"}, {"user": None, "item": "i"}]
    items = [{"item": 'x"y', "title": ["a", ["b"], None], "text": {"size": ["S", "M"]}, "image": "https://x/y.jpg"}, {"item": str(2**60)}]
    (tmp_path / "interactions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / 'x"y.png')
    summary = made(tmp_path, tmp_path / "out")
    assert summary.dropped["without user or item"] == 2
    assert sorted(inter(tmp_path / "out")["user_id"]) == ["1.5", "a b c"] and set(inter(tmp_path / "out")["item_id"]) == {'x"y', str(2**60)}
    table = read_atomic_file(tmp_path / "out" / "out.item").columns
    assert table["item_id"] == [str(2**60), 'x"y'] and table["image"] == ["", "x%22y.png"]
    assert table["title"] == ["", "a, b"] and table["description"] == ["", "size: S, M"]


def test_interactions_alone(shop, tmp_path):
    summary = prepare(parse([f"--interactions={shop / 'interactions.csv'}", f"--output={tmp_path / 'x'}", "--rating-column=none"]))
    assert summary.interactions == 84 and sorted(f.name for f in (tmp_path / "x").iterdir()) == ["prepare.json", "x.inter", "x.yaml"]
    assert list(inter(tmp_path / "x")) == ["user_id", "item_id", "timestamp"]


def test_an_atomic_file_is_read_as_well(shop, tmp_path):
    made(shop, tmp_path / "shop")
    again = prepare(parse([f"--input={tmp_path / 'shop'}", f"--output={tmp_path / 'again' / 'shop'}"]))
    before, after = everything(tmp_path / "shop"), everything(tmp_path / "again" / "shop")
    assert again.interactions == 84 and before.pop("prepare.json") != after.pop("prepare.json") and before == after
