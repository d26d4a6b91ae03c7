"""The scan finds tokens and rows in every format that is written, and nothing where there is nothing."""

import json
from base64 import b64encode
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from recbole_mm.errors import InputError
from recbole_mm.serving.export.tables import write_table
from recbole_mm.unlearning.traces import scan

ROW = torch.tensor([0.25, -1.5, 3.125])
OTHER = torch.tensor([1.0, 2.0, 3.0])


def with_row(*, held: bool, kind: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.stack([OTHER, ROW if held else OTHER, OTHER]).to(kind)


def _safetensors(file: Path, token: str, held: bool) -> None:
    save_file({"features": with_row(held=held, kind=torch.float16)}, file, {"rows": json.dumps({"item_tokens": ["é", token]})})


def _checkpoint(file: Path, token: str, held: bool) -> None:
    """Saving a part of a tensor saves all of it."""
    torch.save({"config": {}, "state_dict": {"w": with_row(held=held)[:1]}, "tokens": {"user_id": ["a", token]}}, file)


def _parquet(file: Path, token: str, held: bool) -> None:
    write_table(file, {"user": ["a", token, "b"]}, with_row(held=held))


def _lists(file: Path, token: str, held: bool) -> None:
    table = pd.DataFrame({"items": [["a"], ["b", token]], "row": [OTHER.tolist(), (ROW if held else OTHER).tolist()]})
    duckdb.from_df(table).project("items, row::FLOAT[] AS row").write_parquet(str(file))


def _json(file: Path, token: str, held: bool) -> None:
    file.write_text(json.dumps({"files": [{"of": f"images/{token}.png"}], "n": 7, token: 1}))


def _journal(file: Path, token: str, held: bool) -> None:
    vector = b64encode((ROW if held else OTHER).numpy().tobytes()).decode()
    file.write_text(json.dumps({"entry": {"added": token, "vector": vector}}) + "\n")


def _columns(file: Path, token: str, held: bool) -> None:
    np.savez(file, tokens0=np.frombuffer(f"a\n{token}".encode(), dtype=np.uint8), numbers1=with_row(held=held).numpy())


def _log(file: Path, token: str, held: bool) -> None:
    file.write_text(f"Sat 28 Nov  INFO  unknown user '{token}', and others\n")


def _table(file: Path, token: str, held: bool) -> None:
    file.write_text(f"user_id:token\titem_id:token\nb\t{token}\n")


def _index(file: Path, token: str, held: bool) -> None:
    file.write_bytes(b"IxFI\0" + with_row(held=held).numpy().tobytes())


WRITERS = {
    "shard.safetensors": _safetensors, "run.pth": _checkpoint, "users.parquet": _parquet, "lists.parquet": _lists, "run.json": _json,
    "added.jsonl": _journal, "shop.inter.npz": _columns, "run.log": _log, "shop.inter": _table, "index.faiss": _index,
}  # fmt: skip
WITHOUT_ROWS, WITHOUT_TOKENS = {"run.json", "run.log", "shop.inter"}, {"index.faiss"}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("token", ["u7", "Zoë K.", "ü-7"])
def test_a_token_and_a_row_are_found(tmp_path, name, token):
    WRITERS[name](tmp_path / name, token, held=True)
    found = {finding.what for finding in scan([tmp_path], {token, "absent"}, [OTHER + 1, ROW])}
    assert found == {*([] if name in WITHOUT_TOKENS else [token]), *([] if name in WITHOUT_ROWS else [1])}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_found_in_what_only_looks_like_it(tmp_path, name):
    WRITERS[name](tmp_path / name, "u77", held=False)
    assert scan([tmp_path / name], {"u7", "7", "77", "i7"}, [ROW, torch.zeros(3)]) == []


def test_a_token_that_is_a_number_is_a_whole_string(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"epochs": 7, "said": "7 epochs", "tokens": ["77", "7"]}))
    (tmp_path / "run.log").write_text("7 users, 17 items\n")
    (tmp_path / "top.csv").write_text("user,item\n7,12\n")
    assert [(finding.file.name, finding.what) for finding in scan([tmp_path], {"7"})] == [("run.json", "7"), ("top.csv", "7")]


def test_the_name_of_a_file_and_bytes(tmp_path):
    (tmp_path / "i7.bin").write_bytes(b"\0\1picture\2")
    assert [(finding.place, finding.what) for finding in scan([tmp_path], {"i7"}, [b"\1picture\2"])] == [("its name", "i7"), ("bytes", 0)]


def test_a_file_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "shard.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="shard.safetensors cannot be read"):
        scan([tmp_path], {"u7"})
