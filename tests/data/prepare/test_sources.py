"""``recbole-mm prepare`` on the layouts of published data sets, drawn small, and on MMRec folders."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from recbole_mm.cli import main
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.prepare.options import parse
from recbole_mm.data.prepare.pipeline import prepare
from recbole_mm.training.loaders import create_dataset

N_USERS, N_ITEMS = 6, 4
PAIRS = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS)]


def lines(file: Path, rows: list[str], packed: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") if packed else open(file, "w", encoding="utf-8") as out:
        out.writelines(row + "\n" for row in rows)


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (4, 4)).save(folder / f"{name}.jpg")


def amazon_2023(folder: Path) -> dict[str, tuple[str, str]]:
    reviews = [{"rating": 5.0, "title": "review", "text": "no item text", "images": [], "asin": f"V{i}", "parent_asin": f"B00{i}",
                "user_id": f"A{u}", "timestamp": 1_588_687_728_923 + u, "verified_purchase": True} for u, i in PAIRS]  # fmt: skip
    meta = [{"main_category": "Video Games", "title": f"Game &amp; {i}", "features": ["Fast", "Fun!"], "description": [], "price": None,
             "images": {"hi_res": [None], "large": ["http://x/y.jpg"]}, "store": "Acme", "categories": ["Video Games", "PC"],
             "details": {"a": "b"}, "parent_asin": f"B00{i}"} for i in range(N_ITEMS)]  # fmt: skip
    lines(folder / "Video_Games.jsonl.gz", [json.dumps(row) for row in reviews], packed=True)
    lines(folder / "meta_Video_Games.jsonl", [json.dumps(row) for row in meta])
    pictures(folder / "images", [f"B00{i}" for i in range(N_ITEMS)])
    return {f"B00{i}": (f"Game & {i}", "Acme. Video Games, PC. Fast. Fun!") for i in range(N_ITEMS)}


def amazon_2014(folder: Path) -> dict[str, tuple[str, str]]:
    reviews = [{"reviewerID": f"A{u}", "asin": f"000{i}", "reviewText": 'a "b"', "overall": 4.0, "unixReviewTime": 1_252_800_000 + u}
               for u, i in PAIRS]  # fmt: skip
    meta = [{"asin": f"000{i}", "title": f"Tom's \"{i}\"", "price": 9.9, "imUrl": "http://x/y.jpg", "related": {"also_bought": ["1"]},
             "brand": "Acme", "categories": [["Baby", "Toys"], ["Baby"]], "description": "Soft\nand warm"}
            for i in range(N_ITEMS)]  # fmt: skip
    lines(folder / "reviews_Baby_5.json.gz", [json.dumps(row) for row in reviews], packed=True)
    lines(folder / "meta_Baby.json.gz", [repr(row) for row in meta], packed=True)
    pictures(folder / "images", [f"000{i}" for i in range(N_ITEMS)])
    return {f"000{i}": (f'Tom\'s "{i}"', "Acme. Baby, Toys. Soft and warm") for i in range(N_ITEMS)}


def movielens(folder: Path) -> dict[str, tuple[str, str]]:
    lines(folder / "ratings.csv", ["userId,movieId,rating,timestamp", *(f"{u},{i},4.0,{964982703 + u}" for u, i in PAIRS)])
    lines(folder / "movies.csv", ["movieId,title,genres", *(f'{i},"Film, The ""{i}"" (199{i})",Comedy|Film-Noir' for i in range(N_ITEMS))])
    lines(folder / "tags.csv", ["userId,movieId,tag,timestamp"])
    lines(folder / "links.csv", ["movieId,imdbId,tmdbId"])
    pictures(folder / "posters", [str(i) for i in range(N_ITEMS)])
    return {str(i): (f'Film, The "{i}"', "Comedy, Film-Noir") for i in range(N_ITEMS)}


def movielens_1m(folder: Path) -> dict[str, tuple[str, str]]:
    lines(folder / "ratings.dat", [f"{u}::{i}::4::{964982703 + u}" for u, i in PAIRS])
    folder.joinpath("movies.dat").write_bytes("".join(f"{i}::L\xe9on: {i} (1994)::Drama\n" for i in range(N_ITEMS)).encode("latin-1"))
    pictures(folder / "posters", [str(i) for i in range(N_ITEMS)])
    return {str(i): (f"Léon: {i}", "Drama") for i in range(N_ITEMS)}


def pixelrec(folder: Path) -> dict[str, tuple[str, str]]:
    lines(folder / "Pixel200K.csv", ["item_id,user_id,timestamp", *(f"i{i},u{u},{1_600_000_000 + u}" for u, i in PAIRS)])
    info = [f'i{i},1,2,"Title {i}",tag,"De, scription"' for i in range(N_ITEMS)]
    lines(folder / "Pixel200K_iteminfo.csv", ["item_id,view_number,comment_number,title,tag,description", *info])
    pictures(folder / "cover", [f"i{i}" for i in range(N_ITEMS)])
    return {f"i{i}": (f"Title {i}", "tag. De, scription") for i in range(N_ITEMS)}


def microlens(folder: Path) -> dict[str, tuple[str, str]]:
    lines(folder / "MicroLens-50k_pairs.csv", ["user,item,timestamp", *(f"{u},{i},{1_584_544_221_709 + u}" for u, i in PAIRS)])
    lines(folder / "MicroLens-50k_titles.csv", ["item,title", *(f'{i},"Video, {i}"' for i in range(N_ITEMS))])
    pictures(folder / "MicroLens-50k_covers", [str(i) for i in range(N_ITEMS)])
    return {str(i): (f"Video, {i}", "") for i in range(N_ITEMS)}


@pytest.mark.parametrize(
    ("source", "draw"),
    [("amazon-2023", amazon_2023), ("amazon-2014", amazon_2014), ("movielens", movielens), ("movielens", movielens_1m),
     ("pixelrec", pixelrec), ("microlens", microlens)],
)  # fmt: skip
def test_known_sources(tmp_path, source, draw):
    expected = draw(tmp_path / "input")
    summary = prepare(parse([f"--source={source}", f"--input={tmp_path / 'input'}", f"--output={tmp_path / 'data' / 'x'}"]))
    counts = (summary.interactions, summary.users, summary.items, summary.items_with_text, summary.items_with_picture)
    assert counts == (len(PAIRS), N_USERS, N_ITEMS, N_ITEMS, N_ITEMS)
    table = read_atomic_file(tmp_path / "data/x/x.item").columns
    described = table.get("description", [""] * N_ITEMS)
    assert dict(zip(table["item_id"], zip(table["title"], described, strict=True), strict=True)) == expected
    if source == "movielens":
        assert table["release_year"][0].startswith("199") and set(table["genres"]) <= {"Comedy Film-Noir", "Drama"}
    inter = pd.read_csv(tmp_path / "data/x/x.inter", sep="\t")
    assert inter["timestamp:float"].min() > 9e8 and inter["timestamp:float"].max() < 2e9
    keys = {"data_path": str(tmp_path / "data"), "use_gpu": False, "state": "WARNING", "show_progress": False}
    dataset = create_dataset(MultiModalConfig("CLIPRec", "x", config_dict=keys))
    assert dataset.item_num == N_ITEMS + 1 and dataset.content.present["image"][1:].all()


def mmrec(folder: Path, mapping: bool = True) -> np.ndarray:
    rows = [f"{u}\t{i}\t5.0\t{u}\t{0 if i < 2 else i - 1}" for u in range(N_USERS) for i in range(N_ITEMS)]
    lines(folder / f"{folder.name}.inter", ["userID\titemID\trating\ttimestamp\tx_label", *rows])
    lines(folder / "other.inter", ["userID\titemID\trating\ttimestamp\tx_label"])
    if mapping:
        lines(folder / "i_id_mapping.csv", ["asin\titemID", *(f"B{9 - i}\t{i}" for i in range(N_ITEMS + 1))])
        lines(folder / "u_id_mapping.csv", ["user_id\tuserID", *(f"A{u}\t{u}" for u in range(N_USERS))])
    table = np.random.default_rng(0).normal(size=(N_ITEMS + 1, 3))
    np.save(folder / "image_feat.npy", table)
    np.save(folder / "Audio V-2.npy", (table * 2).astype(np.float16))
    np.save(folder / "cache.npy", np.zeros((2, 2)))
    return table


def features(file: Path) -> dict[str, np.ndarray]:
    with safe_open(file, "numpy") as opened:
        tokens, table = json.loads(opened.metadata()["item_tokens"]), opened.get_tensor("features")
    assert table.dtype == np.float32 and len(tokens) == len(table)
    return dict(zip(tokens, table, strict=True))


@pytest.mark.parametrize(("source", "mapping"), [("mmrec", True), ("mmrec", False), ("amazon-2014", True)])
def test_mmrec_keeps_the_split_and_the_rows(tmp_path, source, mapping):
    table = mmrec(tmp_path / "baby", mapping)
    if not mapping:
        (tmp_path / "baby" / "cache.npy").unlink()
    output = tmp_path / "data" / "x"
    summary = prepare(parse([f"--source={source}", f"--input={tmp_path / 'baby'}", f"--output={output}"]))
    names = [f"B{9 - i}" if mapping else str(i) for i in range(N_ITEMS + 1)]
    assert summary.parts == {"train": 12, "valid": 6, "test": 6}
    for modality, factor in (("image", 1), ("audio_v_2", 2)):
        found = features(output / f"{modality}.safetensors")
        assert list(found) == names and np.allclose(np.stack(list(found.values())), factor * table, rtol=1e-2)
    settings = yaml.safe_load((output / "x.yaml").read_text())
    assert settings["feature_files"] == {"audio_v_2": "audio_v_2.safetensors", "image": "image.safetensors"}
    assert settings["benchmark_filename"] == ["train", "valid", "test"]
    assert settings["mask_valid_items"] is False and settings["negative_items"] == "training", "the protocol of tables made with MMRec"
    test = pd.read_csv(output / "x.test.inter", sep="\t", dtype=str)
    assert set(test["item_id:token"]) == {names[3]} and test["user_id:token"][0] == ("A0" if mapping else "0")

    keys = {"data_path": str(tmp_path / "data"), "use_gpu": False, "state": "WARNING"}
    dataset = create_dataset(MultiModalConfig("BPR", "x", config_dict=keys))
    assert dataset.inter_num == len(PAIRS) and dataset.item_num == N_ITEMS + 2 and dataset.file_size_list == [12, 6, 6]


def test_a_split_that_is_not_kept_is_said(tmp_path):
    mmrec(tmp_path / "baby")
    (tmp_path / "baby" / "other.inter").unlink()
    summary = prepare(parse([f"--input={tmp_path / 'baby'}", f"--output={tmp_path / 'x'}"]))
    assert "x_label" in summary.notes[-1] and "--source=mmrec" in summary.notes[-1]


@pytest.mark.parametrize(
    ("spoil", "facts"),
    [
        (lambda folder: np.save(folder / "image_feat.npy", np.zeros((3, 2))), ["image_feat.npy", "(3, 2)", "5 items"]),
        (lambda folder: np.save(folder / "text_feat.npy", np.array([{}] * 5), allow_pickle=True), ["text_feat.npy", "numbers"]),
        (lambda folder: np.save(folder / "image_feat.npy", np.full((5, 2), np.nan)), ["image_feat.npy", "NaN", "B9"]),
        (lambda folder: lines(folder / "i_id_mapping.csv", ["asin\titemID", "B\t0", "B\t1"]), ["i_id_mapping.csv", "more than once"]),
        (lambda folder: lines(folder / "i_id_mapping.csv", ["asin\titemID", "A\t0", "B\t1"]), ["baby.inter", "number 2", "i_id_mapping"]),
        (lambda folder: (folder / "baby.inter").write_text("userID\titemID\n0\t0\n"), ["baby.inter", "x_label"]),
        (lambda folder: (folder / "baby.inter").write_text("userID\titemID\tx_label\n0\t0\t7\n"), ["baby.inter", "x_label", "0, 1, 2"]),
        (lambda folder: (folder / "baby.inter").rename(folder / "another.inter"), ["another.inter", "other.inter", "--interactions"]),
    ],
)  # fmt: skip
def test_mmrec_folders_that_do_not_fit(tmp_path, capsys, spoil, facts):
    mmrec(tmp_path / "baby")
    spoil(tmp_path / "baby")
    assert main(["prepare", "--source=mmrec", f"--input={tmp_path / 'baby'}", f"--output={tmp_path / 'x'}"]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    for fact in facts:
        assert fact in error, error
    assert [path.name for path in tmp_path.iterdir()] == ["baby"]


def test_a_literal_is_not_executed(tmp_path):
    lines(tmp_path / "in" / "reviews_x.json", [repr({"reviewerID": "a", "asin": "b", "overall": 1.0, "unixReviewTime": 1})] * 2)
    lines(tmp_path / "in" / "meta_x.json", ["{'asin': 'b', 'title': 'good'}", "{'asin': __import__('os').system('false')}"])
    options = parse(["--source=amazon-2014", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'x'}", "--max-bad-rows=1"])
    summary = prepare(options)
    assert summary.interactions == 1 and summary.dropped["unreadable in the item table"] == 1
    assert summary.first_unreadable == [f"{tmp_path / 'in' / 'meta_x.json'} line 2: no JSON object"]
