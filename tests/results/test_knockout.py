"""The knock-out finds what was planted: users who choose by one modality depend on it, and on no other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_mm import run
from recbole_mm.cli import main
from recbole_mm.results.knockout import ALL, knock_out
from recbole_mm.results.replacement import REPLACEMENTS
from recbole_mm.results.statistics import compare_values, holm
from recbole_mm.testing.planted import settings, write_features, write_planted

NAMES = {"look": "look.safetensors", "words": "words.safetensors", "noise": "noise.safetensors"}
KEYS = {
    "feature_files": NAMES, "modalities": list(NAMES), "encoder_training": "pretrained", "learning_rate": 0.03, "epochs": 25,
    "metrics": ["Recall", "ItemCoverage"], "topk": [12], "valid_metric": "Recall@12",
    "eval_args": {"split": {"RS": [0.6, 0.1, 0.3]}, "order": "RO"},
}  # fmt: skip


def write_two_tastes(folder: Path) -> Path:
    """Users v0, v1, ... take items of one look whatever their words, users t0, t1, ... items with the same words whatever their look."""
    write_planted(folder, n_users=1)
    write_features(folder, tuple(NAMES))
    rng, rows = np.random.default_rng(0), ["user_id:token\titem_id:token\ttimestamp:float"]
    for u in range(48):
        own = [i for i in range(48) if (i if u % 2 else i // 2) % 2 == u // 2 % 2]
        rows += [f"{'v' if u % 2 else 't'}{u}\ti{i}\t{t}" for t, i in enumerate(rng.permutation(own)[:14])]
    (folder / f"{folder.name}.inter").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, dict]:
    folder = write_two_tastes(tmp_path_factory.mktemp("knockout") / "shop")
    keys = settings(folder, checkpoint_dir=str(folder.parent / "saved"), **KEYS)
    ours = {"CLIPRec": run("CLIPRec", "shop", config_dict=keys | {"use_id": False})}
    foreign = ("feature_files", "modalities", "encoder", "encoder_training")
    ids = {key: value for key, value in keys.items() if key not in foreign}
    return ours | {"BPR": run("BPR", "shop", config_dict=ids | {"epochs": 1})}


@pytest.fixture(scope="module")
def found(runs):
    return knock_out(runs["CLIPRec"]["files"]["checkpoint"])


def test_untouched_the_model_gives_the_results_of_its_run(runs, found):
    assert found.untouched.result == pytest.approx(runs["CLIPRec"]["test_result"])
    assert found.untouched.users["recall@12"].mean() == pytest.approx(found.untouched.result["recall@12"], abs=1e-4)
    valid = knock_out(runs["CLIPRec"]["files"]["checkpoint"], "valid")
    assert valid.untouched.result == pytest.approx(runs["CLIPRec"]["best_valid_result"])


@pytest.mark.parametrize("by", REPLACEMENTS)
def test_users_depend_on_the_modality_they_choose_by(found, by: str):
    lost = {}
    for modality in (*NAMES, ALL):
        change = found.replaced[modality, by].users["recall@12"] - found.untouched.users["recall@12"]
        lost[modality] = -change.groupby(change.index.str[0]).mean()
    assert lost["look"]["v"] > 0.2 and abs(lost["look"]["t"]) < 0.1
    assert lost["words"]["t"] > 0.2 and abs(lost["words"]["v"]) < 0.1
    assert max(abs(lost["noise"])) < 0.1 and min(lost[ALL]) > 0.2


def test_the_table_has_a_row_per_metric_modality_and_replacement(found):
    table = found.table()
    assert len(table) == 2 * 4 * 3 and set(table["metric"]) == {"recall@12", "itemcoverage@12"}
    assert table.query("metric == 'itemcoverage@12'")[["low", "p_t", "p_wilcoxon"]].isna().all(axis=None)
    recall = table.query("metric == 'recall@12'").set_index(["modality", "replaced_by"])
    before = found.untouched.users["recall@12"].to_numpy()
    alone = {key: compare_values("", one.users["recall@12"].to_numpy(), before) for key, one in found.replaced.items()}
    row = recall.loc[("look", "mean")]
    assert row["difference"] == pytest.approx(alone["look", "mean"].difference, abs=1e-4) and row["low"] < row["difference"] < row["high"]
    assert row["relative"] == pytest.approx(row["difference"] / found.untouched.result["recall@12"])
    assert recall["p_t"].tolist() == pytest.approx(holm([one.p_t for one in alone.values()]))
    assert row["p_wilcoxon"] < 0.001 and recall.loc[("noise", "mean"), "p_wilcoxon"] > 0.05


def test_every_evaluation_ranks_the_same_candidates(runs):
    """BM3 reads features in training alone, so that nothing but other candidates could change its metrics."""
    folder = Path(runs["CLIPRec"]["files"]["checkpoint"]).parents[1] / "shop"
    keys = settings(folder, checkpoint_dir=str(folder.parent / "saved"), **KEYS) | {"epochs": 1}
    keys["eval_args"] = {**KEYS["eval_args"], "mode": "uni20"}
    table = knock_out(run("BM3", "shop", config_dict=keys)["files"]["checkpoint"]).table(["recall@12"])
    assert not table["difference"].any() and (table["p_t"] == 1).all() and (table["p_wilcoxon"] == 1).all()


def test_the_command(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    checkpoint = runs["CLIPRec"]["files"]["checkpoint"]
    assert main(["knockout", checkpoint, "--csv=out.csv", "--plot=out.html"]) == 0
    lines = capsys.readouterr().out.splitlines()
    title = f"CLIPRec on shop, test: recall@12 is {runs['CLIPRec']['test_result']['recall@12']:.4f} untouched"
    assert title in [line.strip() for line in lines] and max(map(len, lines)) <= 80
    (row,) = [line.split() for line in lines if line.split()[:2] == ["look", "zeros"]]
    assert row[3].startswith("-0.") and row[4].endswith("%") and row[-1] == "<0.001"
    assert len(pd.read_csv("out.csv")) == 24 and Path("out.html").read_text(encoding="utf-8").count("another item") >= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{BPR}"], "error: BPR in {BPR} reads no item features: there is nothing to replace"),
        (["nothere.pth"], "error: no checkpoint nothere.pth"),
        (["{CLIPRec}", "--plot=plot.png"], "error: --plot=plot.png must end in .html"),
    ],
)
def test_bad_input_is_one_line(runs, capsys, arguments: list[str], told: str):
    files = {name: result["files"]["checkpoint"] for name, result in runs.items()}
    assert main(["knockout", *(argument.format(**files) for argument in arguments)]) == 2
    assert capsys.readouterr().err.splitlines() == [told.format(**files)]


def test_a_user_of_a_sequential_model_counts_once(tmp_path):
    """However many interactions of theirs are tested, with a row each."""
    folder = write_planted(tmp_path / "shop", n_users=8, n_items=24)
    write_features(folder, tuple(NAMES))
    keys = {**KEYS, "epochs": 1, "eval_args": {"split": {"RS": [0.4, 0.2, 0.4]}, "order": "TO"}}
    result = run("SASRecM", "shop", config_dict=settings(folder, checkpoint_dir=str(tmp_path / "saved"), **keys))
    found = knock_out(result["files"]["checkpoint"])
    assert found.untouched.result == pytest.approx(result["test_result"])
    assert len(found.untouched.users) == 8 and len(found.table()) == 2 * 4 * len(REPLACEMENTS)
