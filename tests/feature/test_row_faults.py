"""Features that say nothing are told, by a run as by an audit."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from recbole_mm.feature.files import read_tables

TOKENS = ["[PAD]", *(f"i{i}" for i in range(8))]


def warnings(folder, caplog, values: np.ndarray, tokens: list[str] = TOKENS[1:]) -> list[str]:
    save_file({"features": values.astype(np.float32)}, folder / "f.safetensors", {"item_tokens": json.dumps(tokens)})
    caplog.clear()
    read_tables({"image": "f.safetensors"}, TOKENS, folder)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def sound() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 5))


def test_sound_features_are_read_without_a_word(tmp_path, caplog):
    assert warnings(tmp_path, caplog, sound()) == []
    assert warnings(tmp_path, caplog, sound()[:, :1]) == [], "one number per item may be all there is"
    assert warnings(tmp_path, caplog, sound()[:6], TOKENS[1:7]) == [], "items without a row are no zeros"


@pytest.mark.parametrize(("value", "says"), [(0, "zero"), (3, "the same vector")])
def test_all_rows_alike(tmp_path, caplog, value, says):
    (said,) = warnings(tmp_path, caplog, np.full((8, 5), value))
    assert said.startswith(f"image: the features of all 8 items in {tmp_path / 'f.safetensors'} are {says}")
    (said,) = warnings(tmp_path, caplog, np.full((6, 5), value), TOKENS[1:7])
    assert "all 6 items" in said


def test_some_rows_are_counted_and_named(tmp_path, caplog):
    values = sound()
    values[[1, 2, 4, 6]], values[5] = 0, 2
    zero, constant = warnings(tmp_path, caplog, values)
    assert "4 of 8 items" in zero and "are all zero (i1, i2, i4, ...); leave these rows out of the file" in zero
    assert "1 of 8 items" in constant and "repeat one number (i5)" in constant
