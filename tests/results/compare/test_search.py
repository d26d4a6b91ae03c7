"""Hyper-parameters are searched by the validation part, and the test part is read once."""

import json
from pathlib import Path

import pytest

from recbole_mm.results.compare import search


@pytest.fixture()
def trials(monkeypatch) -> list[dict]:
    """The results of the trials that were run."""
    seen, true = [], search.objective_function
    monkeypatch.setattr(search, "objective_function", lambda *a, **k: seen.append(true(*a, **k)) or seen[-1])
    return seen


def searched(grid: dict, **more) -> dict:
    return {**grid, "model": "VBPR", "seed": 1, "modalities": "a", **more}


def test_the_best_of_a_grid_is_run_and_trials_are_found_again(grid, here, trials):
    space = {"choice": {"learning_rate": [1e-6, 0.05], "reg_weight": [0.0]}}
    here(searched(grid, search={"VBPR": space}), "out")
    (record,) = [json.loads(file.read_text()) for file in Path("out/runs").glob("*/*.json")]
    assert len(trials) == 2 and not any("test_result" in trial for trial in trials)
    best = max(trials, key=lambda trial: trial["best_valid_score"])
    assert record["best_valid_score"] == best["best_valid_score"] and record["asked"]["learning_rate"] in (1e-6, 0.05)
    for file in Path("out/runs").glob("*/*.json"):
        file.unlink()
    here(searched(grid, search={"VBPR": space}), "out")
    assert len(trials) == 2


def test_a_part_of_a_space_is_what_optuna_proposes_and_a_killed_search_proposes_the_same_again(grid, here, trials):
    pytest.importorskip("optuna")
    asked = searched(grid, search={"VBPR": {"loguniform": {"learning_rate": [-9, -3]}}}, trials=3)
    here(asked, "out")
    (file,) = Path("out/runs").glob("*/trials.jsonl")
    whole = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text(json.dumps(whole[0]) + "\n")
    next(file.parent.glob("*.json")).unlink()
    here(asked, "out")
    again = [json.loads(line) for line in file.read_text().splitlines()]
    assert [trial["point"] for trial in again] == [trial["point"] for trial in whole] and len(trials) == 5
    assert all(2.718**-9.01 < trial["point"]["learning_rate"] < 2.718**-2.99 for trial in whole)
