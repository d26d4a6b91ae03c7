"""The command ``runs`` lists records as a table that fits the screen, or as a CSV file."""

from pathlib import Path

import pandas as pd
import pytest

from recbole_mm.cli import main
from tests.results.written import FACTS, write

STEMS = {
    "VBPR-shop-Mar-01-2026_10-01-40-12345": {"test": {"recall@20": 0.2, "rmse": 0.5}},
    "BPR-shop-Mar-02-2026_10-01-40-12345": {
        "model": "BPR", "settings": {"learning_rate": 0.01}, "finished": "2026-03-02T10:01:40+00:00",
        "test": {"recall@20": 0.3, "rmse": 0.9}, "cost": {"seconds_training": 3.0},
    },
    "VBPR-demo-Feb-28-2026_10-01-40-12345": {
        "dataset": "demo", "finished": "2026-02-28T10:01:40+00:00", "test": {"recall@20": 0.1}, "seconds": 1234.0,
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _records(tmp_path: Path) -> None:
    for name, facts in STEMS.items():
        write(tmp_path / "saved", name, **facts)


def lines_of(capsys: pytest.CaptureFixture, *arguments: str) -> list[str]:
    assert main(["runs", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def places(lines: list[str]) -> list[int]:
    """The lines that begin with each stem, in the order of ``STEMS``; -1 for those that are not there."""
    return [next((place for place, line in enumerate(lines) if line.strip().startswith(stem)), -1) for stem in STEMS]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table_fits_and_has_the_newest_first(capsys, monkeypatch, columns: str):
    monkeypatch.setenv("COLUMNS", columns)
    lines = lines_of(capsys)
    vbpr, bpr, demo = places(lines)
    assert 0 < bpr < vbpr < demo and max(map(len, lines)) <= int(columns)
    assert lines[vbpr + 1].strip() == "open_clip:tiny, pretrained" and lines[bpr + 1].strip() == lines[vbpr].strip()
    assert lines[demo].split()[1:] == ["1", "0.2500", "0.1000", "1,234"] and lines[0].strip() == "saved"


def test_runs_of_different_metrics_say_which(capsys):
    write(Path("saved"), "new", valid_metric="ndcg@20", valid={"ndcg@20": 0.11}, finished="2026-03-03T10:01:40+00:00")
    lines = lines_of(capsys)
    new = next(place for place, line in enumerate(lines) if line.strip().startswith("new"))
    assert lines[new].split()[1:] == ["1", "0.1100", "0.1000", "100"]
    assert lines[new + 1].strip() == "ndcg@20, open_clip:tiny, pretrained"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("recall@20", [1, 0, 2]),
        ("rmse", [0, 1, 2]),
        ("seconds", [1, 0, 2]),
        ("learning_rate", [0, 2, 1]),
        ("dataset", [2, 1, 0]),
        ("encoder", [0, 2, 1]),
    ],
)
def test_sorting(capsys, sort: str, order: list[int]):
    """The best of a metric comes first, those without a value last, and equals stay in the order of their time."""
    found = places(lines_of(capsys, f"--sort={sort}"))
    assert sorted(range(3), key=lambda i: found[i]) == order


def test_runs_in_folders_below_are_named_with_them(capsys):
    write(Path("saved", "runs"), "cell")
    lines = lines_of(capsys, "saved")
    assert any(line.split()[:1] == [str(Path("runs", "cell"))] for line in lines) and min(places(lines)) > 0


def test_filters(capsys):
    assert [place >= 0 for place in places(lines_of(capsys, "--model=VBPR"))] == [True, False, True]
    assert [place >= 0 for place in places(lines_of(capsys, "saved", "--model=VBPR", "--dataset=demo"))] == [False, False, True]
    assert lines_of(capsys, "--model=LATTICE") == ["no records of finished runs of LATTICE in saved"]


def test_chosen_columns(capsys):
    lines = lines_of(capsys, "--columns=model,learning_rate,recall@20", "--sort=recall@20")
    assert [line.split() for line in lines if "BPR" in line] == [["BPR", "0.01", "0.3"], ["VBPR", "0.001", "0.2"], ["VBPR", "0.001", "0.1"]]


def test_the_csv_file_has_all_metrics_and_the_cost(capsys):
    assert lines_of(capsys, "--csv=runs.csv", "--sort=recall@20") == ["runs.csv: 3 runs"]
    table = pd.read_csv("runs.csv")
    assert table["model"].tolist() == ["BPR", "VBPR", "VBPR"] and table["test_recall@20"].tolist() == [0.3, 0.2, 0.1]
    assert table["valid"].tolist() == [FACTS["best_valid_score"]] * 3 and table["seconds_training"][0] == 3.0
    assert table["encoder"].fillna("").tolist() == ["", "open_clip:tiny", "open_clip:tiny"]
    assert table["stem"][0] == str(Path("saved", "BPR-shop-Mar-02-2026_10-01-40-12345"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothere"], "error: no folder nothere"),
        (["--sort=learning_rat"], "error: no column, metric or setting learning_rat (did you mean 'learning_rate'?)"),
        (["--columns=model,recal@20"], "error: no column, metric or setting recal@20 (did you mean 'recall@20'?)"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments: list[str], told: str):
    assert main(["runs", *arguments]) == 2
    assert capsys.readouterr().err.splitlines() == [told]
