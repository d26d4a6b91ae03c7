"""A comparison's folder, read back."""

import pandas as pd

from recbole_mm.results.report.comparison import read_comparison
from recbole_mm.results.report.comparison_report import comparison_report

TABLES = ["leaderboard", "intervals", "cost", "slices"]


def test_rows_have_the_records_of_their_runs(comparison):
    found = read_comparison(comparison)
    assert found.metric == "recall@10" and {"recall@10", "ndcg@10", "recall@5"} <= set(found.metrics)
    assert [entry.name for entry in found.entries][2] == "Pop (floor)" and found.entries[2].records == []
    for entry in found.entries[:2]:
        (record,) = entry.records
        assert record.model == entry.name and record.test["recall@10"] == float(entry.numbers["recall@10"])
    assert set(found.slices["name"]) == {"CLIPRec", "BPR"}


def test_the_best_two_stand_side_by_side_while_their_checkpoints_are_there(comparison, monkeypatch):
    board = pd.read_csv(comparison / "leaderboard.csv")
    report = comparison_report(comparison)
    people = next(section for section in report.sections if section.name == "users").blocks[0].content
    assert [ranking.model for ranking in people[0].rankings] == board["model"].tolist()[:2]
    assert report.lead.startswith(f"{board['model'][0]} is first") and report.pictures
    monkeypatch.setattr("recbole_mm.results.records.Record.checkpoint", comparison / "deleted.pth")
    assert [section.name for section in comparison_report(comparison).sections] == TABLES


def test_without_the_data_set_the_tables_are_left(comparison, shop):
    shop.rename(shop.with_name("elsewhere"))
    try:
        assert [section.name for section in comparison_report(comparison).sections] == TABLES
    finally:
        shop.with_name("elsewhere").rename(shop)
