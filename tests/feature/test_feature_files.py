"""Feature files: every format gives every item its own row, and what does not fit is said in one line."""

import json
import os
import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from recbole_mm.cli import main_run
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.feature.files import read_tables, scaled
from recbole_mm.serving.new_items import NewItemFeatures
from recbole_mm.testing.planted import built, write_features, write_planted
from recbole_mm.testing.planted import settings as planted_settings

N, WIDTH = 12, 5
TOKENS = ["[PAD]", *(f"i{i}" for i in (3, 7, 0, 11, 5, 1, 9, 2))]
FUZZ = int(os.environ.get("RECBOLE_MM_FUZZ", 300))


def rows_of(order) -> np.ndarray:
    """Row of item i: i everywhere, but a fraction that names the column."""
    return np.array(order, dtype=np.float32)[:, None] + np.arange(WIDTH, dtype=np.float32) / 8


def write(folder: Path, kind: str, order: list[int], name: str = "f", dtype=np.float32) -> str:
    """Features of the items i<order>, in that order, in one of the formats. Returns the path relative to the folder."""
    tokens, rows = [f"i{i}" for i in order], rows_of(order).astype(dtype)
    if kind == "safetensors":
        save_file({"features": rows}, folder / f"{name}.safetensors", {"item_tokens": json.dumps(tokens)})
    elif kind == "parquet":
        frame = pd.DataFrame({"item_id": tokens, "features": list(rows)})
        duckdb.from_df(frame).write_parquet(str(folder / f"{name}.parquet"))
    elif kind == "folder":
        (folder / name).mkdir()
        for token, row in zip(tokens, rows, strict=True):
            np.save(folder / name / f"{token}.npy", row[None])
        return name
    else:
        np.save(folder / f"{name}.npy", rows)
        (folder / f"{name}.ids.txt").write_text("\n".join(tokens) + "\n")
    return f"{name}.{kind}"


KINDS = ("safetensors", "npy", "parquet", "folder")


def read(folder: Path, file: str, ids=None, tokens=TOKENS, item_field: str = "item_id"):
    return read_tables({"image": file}, tokens, folder, ids, item_field)["image"]


def fails(folder: Path, file: str, *facts: str, **keys) -> None:
    with pytest.raises(InputError) as caught:
        read(folder, file, **keys)
    told = str(caught.value)
    assert "\n" not in told and all(fact in told for fact in facts), told


def is_right(table, tokens=TOKENS) -> None:
    assert table.rows.dtype == torch.float32 and not bool(table.present[0]) and not table.rows[0].any()
    for i, token in enumerate(tokens[1:], start=1):
        wanted = rows_of([int(token[1:])])[0] if table.present[i] else np.zeros(WIDTH)
        np.testing.assert_array_equal(table.rows[i].numpy(), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_every_format(tmp_path, kind, dtype):
    if kind == "parquet" and dtype is np.float16:
        pytest.skip("duckdb writes none")
    order = np.random.default_rng(0).permutation(N).tolist()
    table = read(tmp_path, write(tmp_path, kind, order, dtype=dtype))
    is_right(table)
    assert bool(table.present[1:].all())


def test_an_absolute_path(tmp_path):
    is_right(read(Path("/nowhere"), str(tmp_path / write(tmp_path, "safetensors", list(range(N))))))


@pytest.mark.parametrize("kind", KINDS)
def test_items_without_a_row_lack_the_modality(tmp_path, kind, caplog):
    caplog.set_level("INFO")
    table = read(tmp_path, write(tmp_path, kind, [3, 7, 0, 1, 9, 2]))
    assert table.present.tolist() == [False, True, True, True, False, False, True, True, True]
    is_right(table)
    assert "2 of 8 items are not in" in caplog.text and "i11, i5" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_file_shows_both_sides(tmp_path, kind):
    fails(tmp_path, write(tmp_path, kind, [3, 7, 20, 21, 22]), "2 of the data set's 8 items", "i0, i11, i5", "i20, i21, i22")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_order_of_rows_and_items_and_any_filtering(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("any")
    order = data.draw(st.permutations(range(N)))[: data.draw(st.integers(N - 2, N))]
    catalogue = data.draw(st.permutations(range(N)))[: data.draw(st.integers(5, N))]
    tokens = ["[PAD]", *(f"i{i}" for i in catalogue)]
    table = read(folder, write(folder, kind, order), tokens=tokens)
    assert table.present.tolist() == [False, *(i in order for i in catalogue)]
    is_right(table, tokens)


def ids_file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


ORDER = [4, 2, 0, 1, 3, 5, 7, 6, 9, 8, 11, 10]
NAMED = "".join(f"i{i}\n" for i in ORDER)
MAPPING = "".join(f"i{i},{row}\n" for row, i in sorted(enumerate(ORDER), key=lambda pair: pair[1]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids.txt", NAMED),
        ("ids.csv", "item_id\n" + NAMED),
        ("ids.csv", "\ufeffitem_id:token\r\n" + NAMED.replace("\n", "\r\n")),
        ("ids.tsv", "item_id\tname\n" + NAMED.replace("\n", "\tsome name\n")),
        ("ids.csv", "asin,row\n" + MAPPING),
        ("i_id_mapping.csv", "asin\titemID\n" + MAPPING.replace(",", "\t")),
    ],
)
def test_id_files(tmp_path, name, text):
    np.save(tmp_path / "f.npy", rows_of(ORDER))
    ids_file(tmp_path, name, text)
    is_right(read(tmp_path, "f.npy", ids=name))
    is_right(read(tmp_path, "f.npy", ids={"image": str(tmp_path / name)}))
    if name == "i_id_mapping.csv":
        is_right(read(tmp_path, "f.npy"))


def test_mmrecs_own_row_numbers(tmp_path):
    """The .inter of an MMRec folder names items by row number, and its mapping also holds the original names."""
    np.save(tmp_path / "f.npy", rows_of(range(N)))
    tokens = ["[PAD]", "3", "0", "7"]
    numbers = "".join(f"B{i}\t{i}\n" for i in range(N))
    for ids in ("row", ids_file(tmp_path, "i_id_mapping.csv", "asin\titemID\n" + numbers), None):
        np.testing.assert_array_equal(read(tmp_path, "f.npy", ids, tokens).rows[1:].numpy(), rows_of([3, 0, 7]))
    ids_file(tmp_path, "i_id_mapping.csv", "movieId\titemID\n" + "".join(f"{N - i}\t{i}\n" for i in range(N)))
    fails(tmp_path, "f.npy", "found in both", "movieId and itemID", tokens=tokens)
    by_number = read(tmp_path, "f.npy", None, tokens, item_field="itemID")
    np.testing.assert_array_equal(by_number.rows[1:].numpy(), rows_of([3, 0, 7]))
    by_name = read(tmp_path, "f.npy", None, ["[PAD]", "3", "12"], item_field="movieId")
    np.testing.assert_array_equal(by_name.rows[1:].numpy(), rows_of([9, 0]))


def test_rows_that_nobody_names(tmp_path):
    np.save(tmp_path / "f.npy", rows_of(range(N)))
    fails(tmp_path, "f.npy", "does not say which item", "feature_ids")
    fails(tmp_path, "f.npy", "i", "is not a row number", ids="row")
    fails(tmp_path, "f.npy", "0 to 11", "an item 12", ids="row", tokens=["[PAD]", "12", "1"])
    fails(tmp_path, "f.npy", "nowhere.txt", ids="nowhere.txt")
    fails(tmp_path, "f.npy", "12 rows", "names 11", ids=ids_file(tmp_path, "a.txt", NAMED[3:]))
    fails(tmp_path, "f.npy", "i2 more than once", "rows 0 and 1", ids=ids_file(tmp_path, "b.txt", NAMED.replace("i4", "i2")))
    fails(tmp_path, "f.npy", "line 3 has 2 cells", ids=ids_file(tmp_path, "c.csv", "item_id\ni1\ni2,i3\n"))
    fails(tmp_path, "f.npy", "columns a, b", "item_id", ids=ids_file(tmp_path, "d.csv", "a,b\ni1,x\n"))
    (tmp_path / "e.txt").write_bytes(b"i1\n\xff\n")
    fails(tmp_path, "f.npy", "e.txt", "UTF-8", ids="e.txt")
    fails(tmp_path, "f.npy", "names 'audio'", ids={"audio": "row"})
    fails(tmp_path, write(tmp_path, "safetensors", ORDER), "names its rows itself", ids={"image": "row"})


class Loud:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def test_files_that_are_not_features(tmp_path):
    np.save(tmp_path / "object.npy", np.array([Loud()] * N, dtype=object), allow_pickle=True)
    fails(tmp_path, "object.npy", "object.npy")
    assert not Path("executed").exists()
    for name, array, fact in (
        ("whole", np.arange(24).reshape(12, 2), "int64"), ("flat", np.zeros(12), "(12,)"), ("deep", np.zeros((12, 2, 2)), "(12, 2, 2)"),
        ("none", np.zeros((12, 0)), "none.npy"),
    ):  # fmt: skip
        np.save(tmp_path / f"{name}.npy", array)
        fails(tmp_path, f"{name}.npy", name, fact, ids=ids_file(tmp_path, "ids.txt", NAMED))
    np.savez(tmp_path / "zip.npz", rows_of(ORDER))
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    fails(tmp_path, "zip.npy", "not a .npy file")
    whole = (tmp_path / write(tmp_path, "npy", ORDER)).read_bytes()
    (tmp_path / "f.npy").write_bytes(whole[:-1])
    fails(tmp_path, "f.npy", "f.npy")
    (tmp_path / "f.npy").write_bytes(whole.replace(b"(12, 5)", b"(12, 4)"))
    fails(tmp_path, "f.npy", "damaged")
    fails(tmp_path, "nothing.npy", "no such file", "nothing.npy")
    fails(tmp_path, ids_file(tmp_path, "f.h5", "x"), ".safetensors, .npy, .parquet, or a folder")
    save_file({"a": rows_of(ORDER), "b": rows_of(ORDER)}, tmp_path / "two.safetensors")
    fails(tmp_path, "two.safetensors", "a, b", "features")
    save_file({"a": rows_of(ORDER)}, tmp_path / "odd.safetensors", {"item_tokens": "[1]"})
    fails(tmp_path, "odd.safetensors", "item_tokens")
    save_file({"a": rows_of(ORDER)}, tmp_path / "few.safetensors", {"item_tokens": '["i1"]'})
    fails(tmp_path, "few.safetensors", "12 rows and 1 item tokens")
    (tmp_path / "empty").mkdir()
    fails(tmp_path, "empty", "no .npy file")
    np.save(tmp_path / write(tmp_path, "folder", ORDER, "ducho") / "i3.npy", np.zeros(WIDTH + 1, dtype=np.float32))
    fails(tmp_path, "ducho", "i3", "(6,)")


def test_parquet_files_that_are_not_features(tmp_path):
    def frame(**columns) -> str:
        duckdb.from_df(pd.DataFrame(columns)).write_parquet(str(tmp_path / "p.parquet"))
        return "p.parquet"

    tokens, rows = TOKENS[1:], list(rows_of(range(8)))
    numbers = read(tmp_path, frame(item_id=range(8), x=rows), tokens=["[PAD]", "6", "1"])
    np.testing.assert_array_equal(numbers.rows[1:].numpy(), rows_of([6, 1]))
    fails(tmp_path, frame(item_id=tokens, x=range(8)), "a list of floats")
    fails(tmp_path, frame(item_id=tokens, x=rows, y=rows), "x, y")
    fails(tmp_path, frame(a=tokens, b=tokens, x=rows), "item_id", "a, b")
    fails(tmp_path, frame(item_id=tokens, x=[*rows[:5], rows[5][:2], *rows[6:]]), "from 2 to 5", tokens[5])
    fails(tmp_path, frame(item_id=[*tokens[:7], None], x=rows), "row 7 has no 'item_id'")
    fails(tmp_path, frame(item_id=[*tokens[:7], tokens[0]], x=rows), f"{tokens[0]} more than once")
    fails(tmp_path, frame(item_id=tokens, x=[*rows[:7], None]), "p.parquet")
    hole = "select 'i' || i as item_id, [1::float, if(i = 5, null, 2::float)] as x from range(12) t(i)"
    duckdb.execute(f"copy ({hole}) to '{tmp_path}/n.parquet'")
    fails(tmp_path, "n.parquet", "NaN", "i5")
    (tmp_path / "p[1]*'.parquet").write_bytes((tmp_path / frame(item_id=tokens, x=rows)).read_bytes())
    assert bool(read(tmp_path, "p[1]*'.parquet").present[1:].all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none(tmp_path, kind, value, monkeypatch):
    rows = rows_of(range(N)).astype(np.float64)
    rows[[5, 8], 2] = value
    monkeypatch.setattr(f"{__name__}.rows_of", lambda order: rows[list(order)])
    fails(tmp_path, write(tmp_path, kind, list(range(N)), dtype=np.float64), "1 items have NaN or infinite", "i5")


@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_ends_in_a_message_or_in_aligned_rows(tmp_path, kind):
    """Numbers inside a row may be other numbers after bytes were changed; whose row it is may not. (Parquet without checksums
    cannot tell bytes put into the middle of its last page.)"""
    rng = np.random.default_rng(0)
    file = tmp_path / write(tmp_path, kind, ORDER)
    refused = 0
    for _ in range(FUZZ // len(KINDS)):
        target = rng.choice(sorted(file.glob("*"))) if kind == "folder" else file
        if kind == "npy" and rng.random() < 0.3:
            target = file.with_name("f.ids.txt")
        whole = target.read_bytes()
        target.write_bytes(damaged(whole, rng, inserting=kind != "parquet"))
        try:
            table = read(tmp_path, file.name)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error), error
        else:
            wanted = torch.from_numpy(rows_of([int(token[1:]) for token in TOKENS[1:]]))
            changed = ((table.rows[1:] != wanted) & table.present[1:, None]).sum()
            assert changed <= 16, "8 bytes hold no more numbers (bit-packed in Parquet), while a shift changes all 40"
        target.write_bytes(whole)
    assert refused > FUZZ // len(KINDS) // 4


def damaged(data: bytes, rng: np.random.Generator, inserting: bool) -> bytes:
    """A few bytes changed (mostly in the header or at the end), or cut off, doubled, emptied."""
    kind, at = rng.integers(6), int(rng.integers(len(data)))
    if kind == 0 or kind == 1 and not inserting:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at // 2 :]
    if kind == 2:
        return b"" if rng.random() < 0.2 else data + data[: at + 1]
    near = rng.integers(0, min(len(data), 150), 8) if kind == 3 else rng.integers(max(0, len(data) - 150), len(data), 8)
    out = bytearray(data)
    for place in near if kind < 5 else [at]:
        out[place] = int(rng.integers(256))
        if rng.random() < 0.5:
            break
    return bytes(out)


def model_of(folder: Path, **keys):
    return built(folder, **keys)[1]


def test_three_modalities_train_without_pictures_or_texts(tmp_path):
    folder = write_planted(tmp_path / "data" / "shop")
    files = write_features(folder)
    (folder / "shop.item").unlink()
    keys = {**planted_settings(folder), "feature_files": files, "use_id": False, "epochs": 8}
    arguments = [f"--{key}={value}" for key, value in keys.items() if key != "feature_files"]
    written = "{" + ", ".join(f"{m}: {file}" for m, file in files.items()) + "}"
    assert main_run(["--model=CLIPRec", "--dataset=shop", *arguments, f"--feature_files={written}"]) == 0
    from recbole_mm import run

    result = run("CLIPRec", "shop", config_dict=keys)["test_result"]
    assert result["recall@10"] > 0.9, "12 of 48 items are of a user's own style, and 8 of them are in training"
    alone = run("CLIPRec", "shop", config_dict={**keys, "modalities": ["c"]})["test_result"]
    assert alone["recall@10"] < 0.6, "c knows nothing"


def test_files_and_encoder_side_by_side(planted, tmp_path):
    files = {m: str(planted / file) for m, file in write_features(planted, ("audio", "text")).items()}
    live = model_of(planted, feature_files=files, modalities=["image", "audio"]).item_features
    assert set(live.modalities) == {"image", "audio"} and live.trainable and live.dims["audio"] == 8 and not live.contrasts
    ids = torch.tensor([3, 1, 3])
    assert live(ids)["image"].requires_grad and not live(ids)["audio"].requires_grad
    frozen = model_of(planted, feature_files=files, modalities=["image", "text"], encoder_training="pretrained").item_features
    assert frozen.modalities == ("image", "text") and frozen.dims["text"] == 8 and not frozen.trainable
    assert model_of(planted, feature_files=files).item_features.modalities == ("audio", "text")
    swapped = model_of(planted, feature_files={"audio": files["text"], "text": files["audio"]}).item_features
    prints = [f.fingerprint for f in (live, frozen, swapped, model_of(planted, feature_files=files).item_features)]
    assert len(set(prints)) == 4


def test_the_length_of_rows_has_no_part_in_a_run(planted):
    """With ``feature_scaling: unit``; not for items that come later either. A checkpoint of the other scaling is another one."""
    short = write_features(planted, ("a",))
    with safe_open(planted / "a.safetensors", "np") as file:
        rows, names = file.get_tensor("features"), file.metadata()
    save_file({"features": 1000 * rows}, planted / "long.safetensors", names)
    config, model, *_ = built(planted, "VBPR", feature_files=short)
    again, raw = (model_of(planted, feature_files={"a": "long.safetensors"}, feature_scaling=how).item_features for how in ("unit", "none"))
    unit = model.item_features.table()["a"]
    torch.testing.assert_close(again.table()["a"], unit)
    torch.testing.assert_close(unit[1:].norm(dim=1), torch.ones(len(unit) - 1))
    assert raw.table()["a"].norm(dim=1).max() > 1000 and not (raw.row_codes["a"] == again.row_codes["a"])[1:].any()
    new, _ = NewItemFeatures(config, model.item_features, None).of([{"a": 5 * unit[3].numpy()}], ["new"])
    torch.testing.assert_close(new["a"][0], unit[3])
    prices, nothing = np.array([[3.5], [20]], dtype=np.float32), np.zeros((2, 3), dtype=np.float32)
    assert (scaled(prices, "unit") == prices).all() and not scaled(nothing, "unit").any()


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"feature_files": "f.npy"}, ["feature_files", "mapping"]),
        ({"feature_files": {"image": None}}, ["feature_files", "mapping"]),
        ({"feature_files": "{image:f.npy"}, ["feature_files", "mapping"]),
        ({"feature_files": {"a.b": "f.npy"}}, ["'a.b'"]),
        ({"feature_files": {"keys": "f.npy"}}, ["'keys'"]),
        ({"feature_files": {"audio": "f.npy"}, "modalities": ["image", "adio"]}, ["'adio'", "'audio'"]),
        ({"feature_ids": 3}, ["feature_ids"]),
        ({"feature_dtype": "fp8"}, ["feature_dtype", "fp16"]),
    ],
    ids=str,
)
def test_bad_settings(planted, keys, facts):
    with pytest.raises(InputError, match=".*".join(map(re.escape, facts))):
        MultiModalConfig("CLIPRec", "planted", config_dict={**planted_settings(planted), **keys})
