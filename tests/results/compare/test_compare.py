"""Cells are single runs, found again by their records, and the leaderboard has their numbers."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from recbole_mm import run
from recbole_mm.config import levels
from recbole_mm.errors import InputError
from recbole_mm.results.compare import cells
from recbole_mm.results.compare.compare import read_leaderboard
from recbole_mm.results.report.comparison import read_comparison


@pytest.fixture()
def counted(monkeypatch) -> list[str]:
    """The models of the runs that were begun."""
    begun, true_run = [], cells.run_command
    monkeypatch.setattr(cells, "run_command", lambda model, *rest: begun.append(model) or true_run(model, *rest))
    return begun


def test_a_comparison_has_the_numbers_of_single_runs_and_is_not_run_again(grid, here, counted, shop, capsys):
    table = here(grid, "out")
    rows = table.set_index(["model", "modalities"])
    assert len(counted) == 6 and rows.loc["BPR", "seeds"].tolist() == [2] and "Pop (floor)" in set(table["model"])
    settings = {**grid["settings"], "seed": 2, "modalities": ["a", "b"], "show_progress": False}
    alone = run("VBPR", "shop", config_dict=settings)["test_result"]
    records = [json.loads(file.read_text()) for file in Path("out/runs").glob("VBPR-*/*.json")]
    (same,) = [r["test"] for r in records if r["seed"] == 2 and r["settings"]["modalities"] == ["a", "b"]]
    assert same == dict(alone)
    both = [r["test"]["recall@10"] for r in records if r["settings"]["modalities"] == ["a", "b"]]
    assert rows.loc[("VBPR", "a+b"), "recall@10"] == pytest.approx(sum(both) / 2)
    before = Path("out/leaderboard.md").read_text()
    again = here(grid, "out")
    pd.testing.assert_frame_equal(again, table)
    assert [row.columns["model"] for row in read_leaderboard("out").rows] == table["model"].tolist()
    assert len(counted) == 6 and Path("out/leaderboard.md").read_text() == before
    assert "6 cells: 6 have ended before, 0 to run" in capsys.readouterr().out


def test_what_is_masked_is_a_column_and_rows_that_differ_in_it_are_not_compared(here, shop, capsys):
    """A sequential model masks the history where it is told to, and others always do."""
    settings = {"data_path": str(shop.parent), "topk": [5], "valid_metric": "Recall@5", "epochs": 1, "state": "WARNING", "use_gpu": False,
                "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}}  # fmt: skip
    asked = {"dataset": "shop", "model": ["BPR", "SASRec"], "seed": 1, "settings": settings}
    asked["models"] = {"SASRec": {"train_neg_sample_args": None, "n_layers": 1, "hidden_size": 8}}
    table = here({**asked, "mask_history": [False, True]}, "out").fillna("")
    assert "BPR has no mask_history: 1 cells, not 2" in capsys.readouterr().out
    rows = table[["model", "mask_history", "reference"]].astype(str).values.tolist()
    (two,) = [[rows[place : place + 2]] for place in range(4) if rows[place][:2] == ["SASRec", "False"]]
    assert two == [[["SASRec", "False", "True"], ["Pop (floor)", "", "False"]]], "with nothing to be compared with but its own floor"
    assert sorted(row[:2] for row in rows if row[0] != "Pop (floor)") == [["BPR", "True"], ["SASRec", "False"], ["SASRec", "True"]]
    assert "mask_history: whether items" in Path("out/leaderboard.md").read_text()
    assert [len(entry.records) for entry in read_comparison(Path("out")).entries].count(1) == 3
    alone = here({**asked, "model": "SASRec"}, "alone")
    assert alone["mask_history"].astype(str)[0] == "False", "whether or not it varies"


def test_a_killed_comparison_goes_on_also_inside_of_a_cell(grid, here, counted, monkeypatch):
    class Killed(BaseException):
        """As a kill would: nothing that comes afterwards is done."""

    from recbole_mm.training import trainer as ours

    small = {**grid, "model": "VBPR", "modalities": "a", "settings": {**grid["settings"], "epochs": 3}}
    table = here(small, "whole")
    true_epoch, seen = ours.MultiModalTrainer._train_epoch, []

    def killed(self, data, epoch, *rest, **more):
        seen.append(epoch)
        if len(seen) == 5:  # in the second cell, after its first epoch
            raise Killed
        return true_epoch(self, data, epoch, *rest, **more)

    monkeypatch.setattr(ours.MultiModalTrainer, "_train_epoch", killed)
    with pytest.raises(Killed):
        here(small, "out")
    goes_on = here(small, "out")
    assert seen == [0, 1, 2, 0, 1, 1, 2]
    numbers = [name for name in table if name not in ("seconds", "peak_memory_mib")]
    pd.testing.assert_frame_equal(goes_on[numbers], table[numbers])


def test_a_cell_that_fails_is_a_line_and_stops_no_other(grid, here, monkeypatch):
    true_run = cells.run_command

    def failing(model, *rest):
        if model == "BPR":
            raise InputError("no room on the device")
        return true_run(model, *rest)

    monkeypatch.setattr(cells, "run_command", failing)
    table = here({**grid, "seed": 1}, "out")
    assert "BPR" not in set(table["model"]) and len(table) == 3
    (line,) = Path("out/failed.txt").read_text().splitlines()
    assert line.startswith("BPR, seed 1: no room on the device (out/runs/BPR-shop-")
    monkeypatch.setattr(cells, "run_command", true_run)
    assert "BPR" in set(here({**grid, "seed": 1}, "out")["model"]) and not Path("out/failed.txt").exists()


def test_a_changed_data_set_is_run_anew_and_said(grid, here, counted, tmp_path, shop, capsys):
    shutil.copytree(shop, tmp_path / "data" / "shop")
    one = {**grid, "model": "BPR", "seed": 1, "settings": {**grid["settings"], "data_path": "data"}}
    here(one, "out")
    with open("data/shop/shop.inter", "a") as file:
        file.write("u0\ti1\t99\n")
    here(one, "out")
    assert len(counted) == 2 and "the files of shop, or of a preset, have changed since 1 cell ran on them" in capsys.readouterr().out


def test_a_changed_preset_is_run_anew(grid, here, counted, tmp_path, monkeypatch):
    properties = tmp_path / "properties"
    shutil.copytree(levels.properties_dir(), properties)
    monkeypatch.setattr(levels, "properties_dir", lambda: properties)
    one = {**grid, "model": "VBPR", "seed": 1, "modalities": ["a"], "settings": {**grid["settings"], "preset": "best"}}
    for rate in (0.01, 0.01, 0.02):
        (properties / "best" / "VBPR.yaml").write_text(f"learning_rate: {rate}\n")
        here(one, "out")
    assert counted == ["VBPR", "VBPR"]
