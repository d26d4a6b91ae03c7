"""Which rows and columns of the files a data set has, whatever model reads it."""

import logging

import numpy as np
import pytest

from recbole_mm.cli import main_run
from recbole_mm.data.typed_cells import MISSING
from recbole_mm.errors import InputError
from recbole_mm.training.loaders import create_dataset
from tests.data.tables import BY_TIME, HEADER, config, interactions, pairs, read, write

MODELS = ("BPR", "SASRec", "CLIPRec")


def without(rows: list[list[str]], missing: str, users: tuple[int, ...], items: tuple[int, ...]) -> list[list[str]]:
    """Rows of which some have no user and others no item."""
    return [[missing if n in users else user, missing if n in items else item, *rest] for n, (user, item, *rest) in enumerate(rows)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("missing", ["", "NA", "nan", "None", "  "])
def test_exactly_the_rows_without_a_user_or_an_item_are_left_out(tmp_path, caplog, model, missing):
    whole = interactions()
    folder = write(tmp_path / "shop", without(whole, missing, users=(3, 4, 29), items=(3, 11, 12)))
    dataset = read(folder, model)
    assert pairs(dataset) == [(user, item) for n, (user, item, *_) in enumerate(whole) if n not in (3, 4, 11, 12, 29)]
    assert not {0} & {*dataset.inter_feat["user_id"], *dataset.inter_feat["item_id"]}
    (said,) = (record.getMessage() for record in caplog.records if "left out" in record.getMessage())
    assert "5 of 30 rows have no user_id or no item_id" in said and "lines 5, 6, 13, 14, 31" in said
    assert (f"'{missing}'" if missing.strip() else "empty") in said


def test_what_stands_for_a_missing_value_is_what_pandas_says():
    from pandas._libs.parsers import STR_NA_VALUES

    assert MISSING == STR_NA_VALUES


def test_benchmark_files_have_no_row_of_a_missing_item_either(tmp_path, caplog):
    rows = interactions()
    parts = {"train": rows[:20], "valid": rows[20:25], "test": rows[25:]}
    for part, own in parts.items():
        write(tmp_path / "shop", without(own, "", users=(0,), items=(2,)), suffix=f"{part}.inter")
    dataset = read(tmp_path / "shop", benchmark_filename=list(parts))
    assert dataset.file_size_list == [18, 3, 3]
    kept = [row for own in parts.values() for n, row in enumerate(own) if n not in (0, 2)]
    assert pairs(dataset) == [(user, item) for user, item, *_ in kept]
    assert [len(part.inter_feat) for part in dataset.build()] == [18, 3, 3] and caplog.text.count("2 of 5 rows have no") == 2


def test_rows_of_other_files_without_an_id_are_left_out(tmp_path, caplog):
    folder = write(tmp_path / "shop")
    write(folder, [["u0", "30"], ["", "40"], ["u2", "50"], ["NA", "60"], ["u4", "70"]], "user_id:token\tage:float", "user")
    write(folder, [["", "a"], ["i1", "b"], ["i2", ""], ["i3", "c"]], "item_id:token\tkind:token", "item")
    load = {"inter": ["user_id", "item_id"], "user": ["user_id", "age"], "item": ["item_id", "kind"]}
    dataset = read(folder, load_col=load, filter_inter_by_user_or_item=False)
    ages = dict(zip(dataset.field2id_token["user_id"][1:], dataset.user_feat["age"][1:], strict=True))
    assert ages == {"u0": 30, "u1": 50, "u2": 50, "u3": 50, "u4": 70, "u5": 50}
    kinds = dict(zip(dataset.field2id_token["item_id"], dataset.id2token("kind", list(dataset.item_feat["kind"].astype(int))), strict=True))
    assert kinds == {"[PAD]": "[PAD]", "i0": "[PAD]", "i1": "b", "i2": "[PAD]", "i3": "c", "i4": "[PAD]"}
    assert "2 of 5 rows have no user_id (empty, 'NA')" in caplog.text and "1 of 4 rows have no item_id" in caplog.text


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "has no rows below its header"),
        ([["", "i1", "1", "1"], ["u1", "NA", "1", "1"]], "has no rows with user_id and item_id"),
        ([["u1", "i1", "abc", "1"]], "line 2: rating 'abc' is no number; correct it, or write rating:token"),
        ([["u1", "i1", "1", "1"], ["u1", "i1", "1,5", "1"]], "line 3: rating '1,5' is no number .decimals are written with a point"),
        ([["u1", "i1", "1", "2024-01-01"], ["u1", "i1", "1", "x"]], "line 2: timestamp '2024-01-01' is no number; correct it and 1 more"),
        ([["u1", "i1", "inf", "1"]], "rating 'inf' is no number"),
        ([["u1", "i1", "", "1"]], "rating is empty in every row"),
        ([["u1", "i1", "1"]], "line 2 has 3 cells, the header has 4"),
        ([["u1", "i1", "1", "1", "1"]], "line 2 has 5 cells, the header has 4"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path, rows, says):
    folder = write(tmp_path / "shop", rows)
    with pytest.raises(InputError, match=f"shop.inter.*{says}"):
        read(folder, load_col={"inter": ["user_id", "item_id", "rating", "timestamp"]})


def test_numbers_that_are_missing_are_counted_and_become_the_mean(tmp_path, caplog):
    rows = interactions()
    rows[2][3] = rows[7][3] = ""
    dataset = read(write(tmp_path / "shop", rows), eval_args=BY_TIME)
    mean = np.mean([1000 * (n + 1) for n in range(30) if n not in (2, 7)])
    assert dataset.inter_feat["timestamp"][2] == dataset.inter_feat["timestamp"][7] == pytest.approx(mean)
    assert "2 of 30 rows have no timestamp and get the mean of the others: lines 4, 9" in caplog.text


@pytest.mark.parametrize("load_col", [None, {"inter": ["user_id", "item_id"]}, {"inter": ["timestamp", "item_id"]}, {"inter": []}])
@pytest.mark.parametrize("model", MODELS)
def test_what_a_run_needs_is_read_whatever_load_col_says(tmp_path, caplog, model, load_col):
    caplog.set_level(logging.INFO)
    settings = config(write(tmp_path / "shop"), model, load_col=load_col, eval_args={**BY_TIME, "split": {"LS": "valid_and_test"}})
    dataset = create_dataset(settings)
    dataset.build()
    assert {"user_id", "item_id", "timestamp"} <= set(dataset.inter_feat.columns)
    assert ("timestamp (for TIME_FIELD)" in caplog.text) == (load_col is not None and "timestamp" not in load_col["inter"])


def test_a_split_at_random_reads_no_time(tmp_path):
    assert list(read(write(tmp_path / "shop")).inter_feat) == ["user_id", "item_id"]


@pytest.mark.parametrize(("model", "needs"), [("SASRec", "SASRec needs it|split by time"), ("BPR", "eval_args: {order: TO}")])
def test_without_a_time_the_key_is_named(tmp_path, model, needs):
    folder = write(tmp_path / "shop", [row[:2] for row in interactions()], "user_id:token\titem_id:token")
    with pytest.raises(InputError, match=f"no column 'timestamp' .TIME_FIELD.; it has user_id, item_id.*{needs}"):
        read(folder, model, eval_args=BY_TIME)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (HEADER.replace("timestamp:float", "timestamp:token"), "'timestamp:token' must be timestamp:float .TIME_FIELD."),
        (HEADER.replace("user_id:token", "user_id:float"), "'user_id:float' must be user_id:token .USER_ID_FIELD."),
        (HEADER.replace("item_id:token", "item_id:string"), "'item_id:string': the type is none of token, token_seq, float, float_seq"),
        (HEADER.replace("rating", "user_id"), "field 'user_id' appears twice"),
        (HEADER.replace(":token", "").replace(":float", ""), "cell 'user_id' is not name:type: .* such as user_id:token and item_id:token"),
        (HEADER.replace("item_id", "item"), "no column 'item_id' .ITEM_ID_FIELD.; it has user_id, item, rating, timestamp"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path, header, says):
    with pytest.raises(InputError, match=says):
        read(write(tmp_path / "shop", header=header), eval_args=BY_TIME)


@pytest.mark.parametrize("header", [HEADER.upper().replace("USER_ID", "user_id").replace("ITEM_ID", "item_id"), HEADER.replace(":", " : ")])
def test_types_in_capitals_and_spaces_in_a_header_are_read(tmp_path, header):
    assert len(read(write(tmp_path / "shop", header=header)).inter_feat) == 30


@pytest.mark.parametrize(("separator", "said"), [(",", "commas"), (";", "semicolons"), ("|", "bars"), (" ", "spaces")])
@pytest.mark.parametrize("typed", [True, False])
def test_another_separator_is_told(tmp_path, separator, said, typed):
    header = HEADER if typed else HEADER.replace(":token", "").replace(":float", "")
    folder = write(tmp_path / "shop", header=header, separator=separator)
    with pytest.raises(InputError, match=f"shop.inter: line 1: .*set field_separator: '[{separator}]'"):
        read(folder)
    if typed:
        assert len(read(folder, field_separator=separator).inter_feat) == 30


@pytest.mark.parametrize("how", [{"encoding": "utf-8-sig"}, {"end": "\r\n"}, {"encoding": "utf-8-sig", "end": "\r\n"}, {"end": "\r"}])
@pytest.mark.parametrize("model", MODELS)
def test_marks_and_ends_of_lines_make_no_difference(tmp_path, model, how):
    first, second = read(write(tmp_path / "shop"), model), read(write(tmp_path / "other" / "shop", **how), model)
    assert first.inter_feat.equals(second.inter_feat)


def test_marks_in_other_files(tmp_path):
    folder = tmp_path / "shop"
    for part in ("train", "valid", "test"):
        write(folder, suffix=f"{part}.inter", encoding="utf-8-sig")
    write(folder, [[f"u{u}", str(u)] for u in range(6)], "user_id:token\tage:float", "user", encoding="utf-8-sig")
    dataset = read(folder, load_col={"inter": "*", "user": "*"}, benchmark_filename=["train", "valid", "test"])
    assert dataset.user_feat["age"][1:].tolist() == [0, 1, 2, 3, 4, 5] and len(dataset.inter_feat) == 90


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16(tmp_path, encoding):
    folder = write(tmp_path / "shop", encoding=encoding)
    with pytest.raises(InputError, match="shop.inter.*UTF-16.*save it as UTF-8"):
        read(folder)
    assert len(read(folder, encoding=encoding).inter_feat) == 30


def test_cells_in_quotes(tmp_path):
    rows = [[f'"{cell}"' for cell in row] for row in interactions()]
    first, second = read(write(tmp_path / "shop")), read(write(tmp_path / "other" / "shop", rows))
    assert pairs(first) == pairs(second)


def test_dates_where_times_are_needed_name_what_reads_them(tmp_path):
    folder = write(tmp_path / "shop", [["u1", "i1", "1", "2024-01-01"], ["u1", "i2", "1", "2024-01-02"]])
    with pytest.raises(InputError, match="line 2: timestamp '2024-01-01' is no number; correct it and 1 more, or .*recbole-mm prepare"):
        read(folder, "SASRec")


def test_a_second_row_of_a_user_is_told_and_does_not_count(tmp_path, caplog):
    folder = write(tmp_path / "shop")
    write(folder, [[f"u{u % 6}", str(u)] for u in range(8)], "user_id:token\tage:float", "user")
    dataset = read(folder, load_col={"inter": "*", "user": "*"})
    assert dataset.user_feat["age"][1:].tolist() == [0, 1, 2, 3, 4, 5]
    assert "2 of 8 rows repeat the user_id of an earlier one" in caplog.text


@pytest.mark.parametrize("model", ["BPR", "CLIPRec"])
def test_the_command_says_it_in_one_line_and_writes_nothing(tmp_path, capsys, model):
    write(tmp_path / "data" / "shop", separator=",")
    assert main_run([f"--model={model}", "--dataset=shop", f"--data_path={tmp_path / 'data'}", "--use_gpu=False"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and "field_separator: ','" in error and [path.name for path in tmp_path.iterdir()] == ["data"]
