"""A grid file: what spans, what is one value, and what is refused before anything runs."""

import pytest

from recbole_mm.errors import InputError
from recbole_mm.results.compare.grid import label, read_grid


def cells_of(grid: dict) -> list[str]:
    found = read_grid(grid)
    return [label(cell, found.columns) for cell in found.cells]


def test_lists_at_the_top_span_the_grid_and_keys_that_a_model_lacks_do_not(grid):
    found = read_grid(grid)
    assert cells_of(grid) == ["BPR, seed 1", "BPR, seed 2", *(f"VBPR, {m}, seed {s}" for s in (1, 2) for m in ("a", "a+b"))]
    assert found.columns == ["model", "modalities"] and found.notices == ["BPR has no modalities: 2 cells, not 4"]
    assert "feature_files" not in found.cells[0].settings and found.cells[2].settings["modalities"] == ["a"]
    assert found.metric == "recall@10" and len(found.groups()) == 3


def test_a_list_below_settings_is_one_value(grid):
    assert {tuple(cell.settings["topk"]) for cell in read_grid(grid).cells} == {(5, 10)}


def test_settings_of_one_model_are_for_it_alone_and_go_first(grid):
    found = read_grid({**grid, "learning_rate": 0.1, "models": {"BPR": {"learning_rate": 0.2}}})
    assert {(cell.model, cell.settings["learning_rate"]) for cell in found.cells} == {("BPR", 0.2), ("VBPR", 0.1)}
    assert found.columns == ["model", "modalities"]


def test_a_list_of_grids_is_joined_and_settings_tell_rows_apart_that_nothing_else_does(grid):
    two_and_three = [{"model": "BPR", "settings": {"epochs": epochs}} for epochs in (2, 3)]
    joined = {"dataset": "shop", "settings": grid["settings"], "grids": [*two_and_three, {"model": "VBPR", "modalities": "a"}]}
    found = read_grid(joined)
    assert cells_of(joined) == ["BPR, 2, seed 2020", "BPR, 3, seed 2020", "VBPR, 1, seed 2020"] and found.columns == ["model", "epochs"]


def test_a_file_says_the_same_as_its_content(grid, tmp_path):
    import yaml

    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    assert [cell.key for cell in read_grid(tmp_path / "grid.yaml").cells] == [cell.key for cell in read_grid(grid).cells]


def test_other_files_of_the_data_set_make_other_cells(grid, shop):
    before = {cell.model: cell.key for cell in read_grid(grid).cells}
    file = shop / "a.safetensors"
    content = file.read_bytes()
    try:
        file.write_bytes(content + b" ")
        now = {cell.model: cell.key for cell in read_grid(grid).cells}
    finally:
        file.write_bytes(content)
    assert now["VBPR"] != before["VBPR"] and now["BPR"] == before["BPR"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": ["BPR", "VBRP"], "dataset": ["shop", "shpo"]}, ["no model named 'VBRP'", "did you mean 'VBPR'", "no data set folder"]),
        ({"model": None, "dataset": None}, ["there is no model and no dataset; add model: NAME, dataset: NAME"]),
        ({"learnin_rate": [0.1]}, ["unknown key 'learnin_rate'"]),
        ({"setting": {}}, ["there is no 'setting' (did you mean 'settings'?)"]),
        ({"topk": [5, 10]}, ["put topk below settings"]),
        ({"models": {"BM3": {}}}, ["models: BM3", "none of the grid's models"]),
        ({"metric": "recall@7"}, ["metric recall@7: BPR is tested by"]),
        ({"reference": "VBPR"}, ["2 rows of the leaderboard"]),
        ({"reference": {"encoder": "x"}}, ["encoder does not vary"]),
        ({"checkpoint_dir": "here"}, ["checkpoint_dir cannot be set"]),
        ({"modalities": []}, ["[[]]"]),
        ({"grids": [{"metric": "recall@5"}]}, ["metric cannot stand in one of the grids"]),
        ({"search": {"VBPR": {"choice": {"n_layers": [1]}}}}, ["search: VBPR has no n_layers"]),
        ({"search": {"VBPR": {"choice": {"learning_rate": [-1]}}}}, ["search: VBPR: learning_rate '-1'"]),
        ({"search": {"VBPR": {"uniform": {"learning_rate": [0.1, 0.2]}}}}, ["set trials"]),
        ({"search": {"BPR": "published"}}, ["no published grid of BPR"]),
        ({"trials": 3}, ["no search"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_once_in_one_line(grid, change, told):
    with pytest.raises(InputError) as raised:
        read_grid({**grid, **change})
    assert all(part in str(raised.value) for part in told) and "\n" not in str(raised.value)
