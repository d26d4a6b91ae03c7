"""Records are read back from whichever of a run's files is named, and broken ones are said to be so in one line."""

import logging
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from recbole_mm.errors import InputError
from recbole_mm.results.records import find_records, read_record
from tests.results.written import FACTS, write


@pytest.mark.parametrize("ending", ["", ".json", ".pth", ".users.parquet"])
def test_a_record_is_found_by_any_file_of_its_run(tmp_path: Path, ending: str):
    stem = write(tmp_path, "VBPR-shop.v1.2-Mar-01")
    record = read_record(f"{stem}{ending}")
    assert record.stem == stem and record.model == "VBPR" and record.test == FACTS["test"] and record.fingerprint == "f"
    assert record.checkpoint.name == "VBPR-shop.v1.2-Mar-01.pth" and (record.parts, record.popularity) == ({}, {})


@pytest.mark.parametrize(
    ("settings", "encoder"),
    [
        (FACTS["settings"], "open_clip:tiny"),
        ({"learning_rate": 0.1}, None),  # a model of RecBole
        (FACTS["settings"] | {"modalities": []}, None),
        (FACTS["settings"] | {"feature_files": {"image": "image.npy"}}, None),
        (FACTS["settings"] | {"feature_files": {"image": "image.npy"}, "modalities": ["image", "text"]}, "open_clip:tiny"),
    ],
)
def test_the_encoder_is_the_one_that_read_the_items(tmp_path: Path, settings: dict, encoder: str | None):
    record = read_record(write(tmp_path, "run", settings=settings))
    assert record.encoder == encoder and record.encoder_training == (encoder and "pretrained")


def test_the_table_of_users(tmp_path: Path):
    record = read_record(write(tmp_path, "run"))
    with pytest.raises(InputError, match="no file .*run.users.parquet: it is gone, or the run ranked no items"):
        record.users()
    duckdb.from_df(pd.DataFrame({"user": ["a"], "recall@20": [0.5]})).write_parquet(str(record.users_file))
    assert record.users()["recall@20"].tolist() == [0.5]
    record.users_file.write_bytes(b"PAR1, and then nothing")
    with pytest.raises(InputError, match="run.users.parquet is damaged: .*"):
        record.users()


def test_records_come_newest_first_and_broken_ones_in_a_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for day in (2, 3, 1):
        write(tmp_path / f"cell{day}" if day > 1 else tmp_path, f"day{day}", finished=f"2026-03-0{day}T10:00:00+00:00")
    (tmp_path / "cut.json").write_text('{"format": 1, "mod')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    for name, other in (("list.json", "[1]"), ("manifest.json", '{"format": 1, "files": {}}'), ("facts.json", "{}")):
        (tmp_path / name).write_text(other)
    write(tmp_path, "part", test=None, valid_metric=None)
    write(tmp_path, "later", format=2)
    write(tmp_path, "odd", finished="soon")
    write(tmp_path, "text", settings="none")
    with caplog.at_level(logging.WARNING):
        assert [record.stem.name for record in find_records(tmp_path)] == ["day3", "day2", "day1"]
    lines = {record.getMessage() for record in caplog.records}
    assert len(lines) == 6 and not any("\n" in line for line in lines)
    for told in ("cut.json is no record", "bytes.json is no record", 
                 "odd.json is no whole record: wrong finished",
                 "text.json is no whole record: wrong settings",
                 "part.json is no whole record: it lacks valid_metric, test",
                 "later.json has the format 2, and this version of recbole_mm reads 1"):  # fmt: skip
        assert any(told in line for line in lines), told


def test_what_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="no folder"):
        find_records(tmp_path / "saved")
    with pytest.raises(InputError, match="no record .*run.json: runs write it when they have ended"):
        read_record(tmp_path / "run.pth")
