"""The grid files of the benchmarks can be run, once their data are there."""

from pathlib import Path

import pytest

from recbole_mm.results.compare import grid as module

GRIDS = sorted((Path(__file__).resolve().parents[3] / "benchmarks" / "grids").glob("*.yaml"))
CELLS = {
    "demo": 22,
    "demo_contents": 21,
    "demo_encoders": 4,
    "lastfm": 138,
    "movies": 20,
    "paradigms": 81,
    "real_weights": 48,
    "real_weights_popular": 45,
    "scientific": 45,
}


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_all_cells_of_a_grid_file_are_configured(file, monkeypatch):
    monkeypatch.setattr(module, "find_dataset", lambda config: None)
    found = module.read_grid(file)
    assert len(found.cells) == CELLS[file.stem] and found.metric == ("recall@10" if file.stem == "scientific" else "recall@20")
    rows = {tuple(module.written(cell.value(column)) for column in found.columns) for cell in found.cells}
    assert len(rows) == len(found.groups())
