"""From the first run to the last file: what a run has written anywhere holds the forgotten before, and nothing of them afterwards."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from recbole_mm import run
from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.cli import main
from recbole_mm.data import column_cache
from recbole_mm.data.interaction_codes import codes_in_order
from recbole_mm.items.shards import read_shard
from recbole_mm.serving import Recommender
from recbole_mm.testing.planted import settings, write_planted
from recbole_mm.unlearning.traces import scan
from recbole_mm.unlearning.write import run_files

USERS, ITEMS = ["person3x", "person8x"], ["thing5x", "thing10x", "thing12x"]
FROZEN = {"encoder_training": "pretrained", "max_broken_images": 0.1}
LIVE = {
    "max_broken_images": 0.1,
    "encoder_training": "end2end",
    "encoder_tuning": "last_k",
    "encoder_last_k": 1,
    "cache_hidden_states": True,
}


@pytest.fixture
def shop(tmp_path, monkeypatch, small_encoders) -> Path:
    """The planted shop with names that nothing else has; item thing5x shares the picture of thing7x, and that of thing12x is
    broken, which logs tell."""
    monkeypatch.setattr(column_cache, "LARGE", 0)
    folder = write_planted(tmp_path / "data" / "shop", n_users=16, n_items=24)
    for name, fields in (("inter", 2), ("item", 1)):
        file = folder / f"shop.{name}"
        header, *rows = (line.split("\t") for line in file.read_text().splitlines())
        for row in rows:
            row[:fields] = [f"{'person' if cell[0] == 'u' else 'thing'}{cell[1:]}x" for cell in row[:fields]]
            if name == "item":
                row[1:3] = [f"{row[0]} of {row[1]}", "like all others"] if row[0] in ITEMS else row[1:3]
        file.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")
    shutil.copy(folder / "images" / "7.png", folder / "images" / "5.png")
    (folder / "images" / "12.png").write_bytes(b"no picture")
    for picture in (folder / "images").iterdir():
        os.utime(picture, (1e9, 1e9))
    return folder


def rows_of(file: str, shop: Path) -> list[torch.Tensor | bytes]:
    """All that is the forgotten's alone: rows of the model's tables and of the stores, vectors, and the numbers of training
    interactions."""
    parts, state = Recommender.load(file).parts, load_checkpoint(file, pickled=True)["state_dict"]
    dataset = parts.scores.dataset
    users, items = (torch.from_numpy(dataset.token2id(field, tokens)) for field, tokens in (("user_id", USERS), ("item_id", ITEMS)))
    own = {dataset.user_num: users.tolist(), dataset.item_num: items.tolist()}
    found = [table[i] for table in (*state.values(), *parts.scores.vectors()) if table.dim() == 2 for i in own.get(len(table), ())]
    for store in {path.parent for path in (shop / ".recbole_mm").glob("*/*/*/*.safetensors")}:
        alone = ITEMS if store.name == "text" else ITEMS[1:]
        for shard in map(read_shard, store.glob("*.safetensors")):
            found += [rows for rows, token in zip(shard.rows.flatten(1), shard.item_tokens, strict=True) if token in alone]
    trained = parts.items.source.training_part.inter_feat
    both = trained["user_id"], trained["item_id"]
    codes = codes_in_order(dataset, *both)[torch.isin(both[0], users) | torch.isin(both[1], items)]
    return found + [code.numpy().tobytes() for code in codes]


RUNS = {
    "VBPR": FROZEN,
    "CLIPRec": LIVE,
    "LightGCN": {},
}


@pytest.mark.parametrize("model", RUNS)
def test_no_file_holds_the_forgotten(shop, tmp_path, model, capsys):
    keys = settings(shop, **RUNS[model], epochs=1, state="INFO", checkpoint_dir="saved")
    if model == "LightGCN":
        run("VBPR", "shop", config_dict=settings(shop, **FROZEN, epochs=1, checkpoint_dir="saved"))
        keys.pop("encoder")
    old = run(model, "shop", config_dict=keys)["files"]["checkpoint"]
    assert main(["export", old, "--output=folder", *([] if model == "LightGCN" else ["--with-encoder"])]) == 0
    rows, names, cache = rows_of(old, shop), {*USERS, *ITEMS}, shop / ".recbole_mm"
    found = scan([*run_files(old), Path("folder"), cache], names, rows)
    assert {finding.what for finding in found} == {*names, *range(len(rows))}
    for name, tokens in (("users", USERS), ("items", ITEMS)):
        Path(f"{name}.txt").write_text("\n".join(tokens))
    Path("log").rename("old_log")
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {*Path("folder").absolute().rglob("*"), *cache.rglob("*")}
    capsys.readouterr()
    assert main(["unlearn", old, "--users=users.txt", "--items=items.txt", "--folder=folder", "--output=saved/new.pth"]) == 0
    told = capsys.readouterr().out
    assert f"{shop / 'shop.inter'}, {shop / 'shop.item'}, {shop / 'images'}" in told
    assert not [name for name in names if name in told] and ("item (forgotten): " in told) == (model != "LightGCN")

    def new() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file() and path not in written]

    assert {path.suffix for path in new()} >= {".pth", ".json", ".parquet", ".log", ".safetensors"}
    assert scan(new(), names, rows) == []
    for served in (Recommender.load("folder"), Recommender.load("saved/new.pth")):
        assert len(served.users) == 14 and len(served.items) == 21 and len(served.recommend(["person4x"], k=3)) == 3
    assert scan(new(), names, rows) == []
