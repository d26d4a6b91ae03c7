"""An exported folder follows its run: the same options, no forgotten item in its tables or its journal, all that was added besides."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.cli import main
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.parts import Parts
from recbole_mm.testing.planted import built, write_features, write_planted
from recbole_mm.unlearning.exported import ExportedFolder
from recbole_mm.unlearning.request import Request
from recbole_mm.unlearning.traces import scan

USERS, ITEMS = {"u3", "u8"}, {"i6", "i9"}
FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "encoder_training": "pretrained"}


def trained(folder: Path, saved: Path, **keys) -> str:
    config, model, train_data, *_ = built(folder, "VBPR", epochs=1, checkpoint_dir=str(saved), **{**FILES, **keys})
    trainer = build_trainer(config, model)
    trainer.fit(train_data, None, verbose=False, saved=True)
    return trainer.saved_model_file


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[str, str]:
    """A run, and one of the same shop without the forgotten."""
    shop, saved = write_planted(tmp_path_factory.mktemp("all") / "shop", n_users=16, n_items=24), tmp_path_factory.mktemp("saved")
    write_features(shop, missing=True)
    less = Path(shutil.copytree(shop, tmp_path_factory.mktemp("less") / "shop"))
    for name in ("inter", "item"):
        file = less / f"shop.{name}"
        lines = [line for line in file.read_text().splitlines() if not (USERS | ITEMS) & set(line.split("\t"))]
        file.write_text("\n".join(lines) + "\n")
    return trained(shop, saved), trained(less, saved)


def parts_of(checkpoint: str) -> Parts:
    return Recommender.load(checkpoint).parts


def added(seed: int, **values) -> dict:
    rng = np.random.default_rng(seed)
    return {"item_id": f"new-{seed}", "title": f"thing {seed}", **{m: rng.normal(size=8).astype(np.float32) for m in "ab"}, **values}


@pytest.fixture
def folder(runs, tmp_path) -> Path:
    """The first run's, with hnsw. Item new-1 was added, new-2 without the modality a, new-3 was added and removed; i6 was updated and i5
    removed."""
    write_folder(parts_of(runs[0]), tmp_path / "folder", run_facts(runs[0]), index="hnsw")
    recommender = Recommender.load(tmp_path / "folder")
    recommender.add_items([added(1), added(2, a=None), added(3), added(4, item_id="i6")])
    recommender.remove_items(["new-3", "i5"])
    return tmp_path / "folder"


def test_the_folder_is_that_of_the_run_that_has_forgotten(runs, folder, tmp_path):
    rows = parts_of(runs[0]).scores.vectors()
    gone = [table[int(token[1:]) + 1] for table, tokens in zip(rows, (USERS, ITEMS), strict=True) for token in tokens]
    holding = {"vectors.safetensors", "users.parquet", "items.parquet", "model.safetensors", "index.faiss", "added.jsonl"}
    assert {finding.file.name for finding in scan([folder], USERS | ITEMS | {"new-1"}, gone)} == holding
    exported = ExportedFolder(folder, runs[0])
    assert exported.added == {"new-1", "new-2", "new-3", "i6", "i5"}
    exported.follow(parts_of(runs[1]), run_facts(runs[1]), ITEMS | {"new-1"})
    assert scan([folder], USERS | ITEMS | {"new-1"}, gone) == []
    followed, alone = Recommender.load(folder), Recommender.load(runs[1])
    assert followed.manifest["index"]["kind"] == "hnsw" and followed.manifest["checkpoint"] == Path(runs[1]).name
    assert followed.users == alone.users and followed.history("u4") == alone.history("u4")
    assert set(followed.items) == set(alone.items) - {"i5"} | {"new-2"}
    alone.add_items([added(2, a=None)])
    one, other = (next(item for item in served.parts.items.served._added if item.item == "new-2") for served in (followed, alone))
    for ours, theirs in ((one.vector, other.vector), (one.features["a"], other.features["a"])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    followed.add_items([added(5)])
    assert "new-5" in Recommender.load(folder)


def test_whoever_has_the_old_folder_open_is_told(runs, folder):
    before = Recommender.load(folder)
    before.recommend(["u4"], k=3)
    ExportedFolder(folder, runs[0]).follow(parts_of(runs[1]), run_facts(runs[1]), ITEMS)
    assert "i6" in before.items and len(before.recommend(["u4"], k=3)) == 3
    with pytest.raises(InputError, match="exported anew"):
        before.add_items([added(6)])


def test_an_item_that_was_added_is_all_there_is_to_forget(runs, folder):
    exported = ExportedFolder(folder, runs[0])
    assert exported.without_added(Request({"u1": ""}, dict.fromkeys(("new-2", "i5", "i7", "unknown"), ""), {})).items.keys() == {
        "i5", "i7", "unknown",
    }  # fmt: skip
    exported.follow(parts_of(runs[0]), run_facts(runs[0]), {"new-2"})
    followed = Recommender.load(folder)
    assert "new-1" in followed and "u3" in followed.users and scan([folder], {"new-2"}) == []


def test_a_folder_of_another_run(runs, folder, tmp_path):
    with pytest.raises(InputError, match=f"was exported from {Path(runs[0]).name}, which is not .*: name the checkpoint"):
        ExportedFolder(folder, runs[1])
    same_name = tmp_path / Path(runs[0]).name
    shutil.copy(runs[1], same_name)
    with pytest.raises(InputError, match="was exported from"):
        ExportedFolder(folder, same_name)
    with pytest.raises(InputError, match="no exported folder"):
        ExportedFolder(tmp_path / "nothing", runs[0])


def test_a_journal_is_not_carried_over_where_nothing_was_added(runs, tmp_path):
    write_folder(parts_of(runs[0]), tmp_path / "folder", run_facts(runs[0]))
    ExportedFolder(tmp_path / "folder", runs[0]).follow(parts_of(runs[1]), run_facts(runs[1]), ITEMS)
    assert not (tmp_path / "folder" / "added.jsonl").exists()
    assert json.loads((tmp_path / "folder" / "manifest.json").read_text())["index"]["kind"] == "flat"


def test_an_encoder_that_has_changed_is_said(runs, folder, caplog):
    parts = parts_of(runs[1])
    table = parts.items.source.model.item_features.table_b
    with torch.no_grad():
        table += 1
    ExportedFolder(folder, runs[0]).follow(parts, run_facts(runs[1]), ITEMS)
    assert "items were added since it was exported, and keep the features" in caplog.text


def test_the_command_forgets_what_was_added_to_the_folder_alone(runs, folder):
    Path("items.txt").write_text("new-2\n")
    there = set(Path(runs[0]).parent.iterdir())
    assert main(["unlearn", runs[0], "--items=items.txt", f"--folder={folder}"]) == 0
    assert scan([folder], {"new-2"}) == [] and set(Path(runs[0]).parent.iterdir()) == there
    followed = Recommender.load(folder)
    assert "new-1" in followed and "i9" in followed and followed.manifest["checkpoint"] == Path(runs[0]).name


def test_the_command_tells_mistakes_before_anything_is_written(runs, folder, capsys):
    Path("items.txt").write_text("new-9\n")
    there = set(Path(runs[0]).parent.iterdir())
    wrong = [
        (runs[0], folder, "unknown item 'new-9'"),
        (runs[1], folder, "was exported from"),
        (runs[0], folder.parent, "no exported folder"),
    ]
    for checkpoint, path, told in wrong:
        assert main(["unlearn", checkpoint, "--items=items.txt", f"--folder={path}"]) == 2
        assert told in capsys.readouterr().err.splitlines()[-1]
    assert set(Path(runs[0]).parent.iterdir()) == there
