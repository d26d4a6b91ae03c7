"""A leaderboard of runs whose metrics per user are known."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recbole_mm.results.compare.board import Leaderboard
from recbole_mm.results.compare.cells import Cell
from recbole_mm.results.compare.formats import latex, markdown, screen, table, write_leaderboard
from recbole_mm.results.compare.grid import Grid
from recbole_mm.results.compare.leaderboard import leaderboard
from recbole_mm.results.records import read_record
from recbole_mm.terminal import plain
from tests.results.written import write

N = 40
SEEDS = (1, 2)
EFFECTS = {"strong_one": 0.3, "close": 0.295, "weak": 0.0}
COST = {"items_encoded": 1200, "peak_memory_mib": 300.4, "trainable_parameters": 12345}


def values_of(seed: int) -> dict[str, np.ndarray]:
    """Model -> recall of each user: a common part, a part of its own, and its effect."""
    draw = np.random.default_rng(seed)
    common = draw.uniform(0.1, 0.4, N)
    return {model: common + draw.normal(0, 0.05, N) + effect for model, effect in EFFECTS.items()}


@pytest.fixture()
def board(tmp_path) -> Leaderboard:
    cells, records = [], {}
    for seed in SEEDS:
        for model, recall in values_of(seed).items():
            cell = Cell(model, "shop", seed, {}, "data")
            users = pd.DataFrame({
                "user": [f"u{i}" for i in range(N)], "n_training": 3, "recall@20": recall, "items": [["i1"]] * N, "ranks": [[1]] * N,
                "rankings": [[1]] * N, "counts": [[2 if i % 2 else 0] for i in range(N)],
            })  # fmt: skip
            stem = write(
                tmp_path, f"{model}-{seed}", model=model, seed=seed, data={"fingerprint": f"split {seed}"}, cost=COST,
                test={"recall@20": float(recall.mean()), "itemcoverage@20": 0.5}, parts={"cold": {"recall@20": 0.1 * seed}},
                popularity={"test": {"recall@20": 0.05 * seed}},
            )  # fmt: skip
            duckdb.from_df(users).write_parquet(f"{stem}.users.parquet")
            cells.append(cell)
            records[cell.key] = read_record(stem)
    return leaderboard(Grid(cells, ["model"], "recall@20"), records)


def test_rows_have_means_and_standard_deviations_over_the_seeds_and_end_with_the_floor(board):
    frame = board.frame().set_index("model")
    assert list(frame.index) == ["strong_one", "close", "weak", "Pop (floor)"] and frame.loc["weak", "seeds"] == 2
    means = [values_of(seed)["weak"].mean() for seed in SEEDS]
    assert frame.loc["weak", "recall@20"] == pytest.approx(np.mean(means))
    assert frame.loc["weak", "recall@20 sd"] == pytest.approx(np.std(means, ddof=1))
    assert frame.loc["weak", "recall@20 cold"] == pytest.approx(0.15) and frame.loc["Pop (floor)", "recall@20"] == pytest.approx(0.075)
    assert frame.loc["weak", ["items_encoded", "trainable_parameters"]].tolist() == [1200, 12345]


def test_tests_are_those_of_scipy_over_users_corrected_by_holm(board):
    of_seeds = [values_of(seed) for seed in SEEDS]
    best, close, weak = (np.mean([values[model] for values in of_seeds], axis=0) for model in EFFECTS)
    p_close, p_weak = stats.ttest_rel(close, best).pvalue, stats.ttest_rel(weak, best).pvalue
    frame = board.frame().set_index("model")
    assert frame.loc["weak", "p t"] == pytest.approx(2 * p_weak) and frame.loc["close", "p t"] == pytest.approx(p_close)
    assert frame.loc["weak", "difference"] == pytest.approx((weak - best).mean())
    assert frame.loc["weak", "low"] < frame.loc["weak", "difference"] < frame.loc["weak", "high"] < 0
    assert frame["best"].tolist() == [True, False, False, False]
    assert frame["not worse than the best"].tolist() == [True, True, False, False]


def test_a_reference_can_be_chosen_and_the_best_stays_the_best(board):
    cells = [Cell(row.columns["model"], "shop", seed, {}, "data") for row in board.rows for seed in row.records]
    found = {cell.key: row.records[cell.seed] for cell in cells for row in board.rows if row.columns["model"] == cell.model}
    other = leaderboard(Grid(cells, ["model"], "recall@20", {"model": "weak"}), found).frame().set_index("model")
    assert other.loc["weak", "reference"] and other.loc["strong_one", "difference"] > 0.2 and other.loc["strong_one", "best"]


def test_marks_in_every_format(board, tmp_path):
    heads, rows = table(board)
    assert heads[:3] == ["model", "recall@20", "recall@20 cold"] and "parameters" in heads
    in_markdown, in_latex, on_screen = markdown(heads, rows), latex(heads, rows, 1), "".join(plain(one) for one in screen(board))
    best, close = rows[0][1].text, rows[1][1].text
    assert f"| **{best}** |" in in_markdown and f"| <u>{close}</u> |" in in_markdown and "12,345" in in_markdown
    tex_best, tex_close = (text.replace("±", r"$\pm$") for text in (best, close))
    assert rf"strong\_one & \textbf{{{tex_best}}}" in in_latex and rf"\underline{{{tex_close}}}" in in_latex
    assert r"\toprule" in in_latex and r"95 \% interval" in in_latex and "$<$ .001" in in_latex
    assert "strong_one" in on_screen and " cold" in on_screen
    (tmp_path / "out").mkdir()
    files = write_leaderboard(board, tmp_path / "out")
    assert {file.name for file in files} == {"leaderboard.csv", "leaderboard.md", "leaderboard.tex", "slices.csv"}
    assert pd.read_csv(tmp_path / "out" / "leaderboard.csv")["recall@20"].notna().all() and Path(files[3]).read_text().count("cold") == 3


def test_rows_of_other_data_are_not_compared_with_each_other(board):
    rows = [row for row in board.rows if row.records]
    cells, found = [], {}
    for row in rows:
        for seed, record in row.records.items():
            cell = Cell(record.model, "shop" if record.model != "weak" else "other", seed, {}, "data")
            cells.append(cell)
            elsewhere = replace(record, dataset="other", data={"fingerprint": "another"})
            found[cell.key] = record if record.model != "weak" else elsewhere
    frame = leaderboard(Grid(cells, ["model", "dataset"], "recall@20"), found).frame()
    assert frame["reference"].sum() == 2 and frame["model"].tolist().count("Pop (floor)") == 2
    assert frame.set_index("model").loc["weak", "p t"] != frame.set_index("model").loc["weak", "p t"]
