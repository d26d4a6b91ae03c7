"""Items that a run has held out (``cold_item_ratio``), taken out of its export and added again as new ones, are recommended as well as
the run itself reports."""

import pandas as pd
import pytest

from recbole_mm.evaluation.protocol import evaluate_parts
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.parts import run_parts
from recbole_mm.testing.planted import built, write_planted
from recbole_mm.training.build import build_trainer

K = 5


def pairs(loader) -> pd.DataFrame:
    dataset = loader._dataset
    return pd.DataFrame({f: dataset.id2token(f"{f}_id", dataset.inter_feat[f"{f}_id"].numpy()) for f in ("user", "item")})


def recall(recommended: pd.DataFrame, relevant: pd.DataFrame, hidden: pd.DataFrame) -> float:
    """Recall of the best K items that are not hidden, as RecBole counts it: the mean over the users with relevant items."""
    left = recommended.merge(hidden.drop_duplicates(), on=["user", "item"], how="left", indicator=True).query("_merge == 'left_only'")
    best = left.groupby("user").head(K)
    return (best.merge(relevant, on=["user", "item"]).groupby("user").size() / relevant.groupby("user").size()).fillna(0).mean()


def test_held_out_items_that_are_added_to_an_export_get_the_runs_cold_recall(tmp_path):
    shop = write_planted(tmp_path / "shop", n_users=40, n_items=48, missing=True)
    keys = {"use_id": False, "cold_item_ratio": 0.25, "epochs": 2, "learning_rate": 0.01, "checkpoint_dir": str(tmp_path / "saved")}
    config, net, train, _, test = loaders = built(shop, "CLIPRec", **keys)
    trainer = build_trainer(config, net)
    trainer.fit(train, None, verbose=False, saved=False)
    reported = evaluate_parts(config, trainer, train, test)["cold"][f"recall@{K}"]
    write_folder(run_parts(config, net, train._dataset, train._dataset), tmp_path / "folder", {}, with_encoder=True)
    folder, rows = Recommender.load(tmp_path / "folder"), pd.read_csv(shop / "shop.item", sep="\t")
    rows = rows.rename(columns=lambda column: column.split(":")[0])
    cold = train._dataset.id2token("item_id", train._dataset.cold_items.numpy())
    rows["image"] = [str(shop / "images" / name) if isinstance(name, str) else "" for name in rows["image"]]
    new = rows[rows["item_id"].isin(cold)]
    folder.remove_items(cold)
    folder.add_items(new.assign(item_id="new " + new["item_id"]))
    trained, valid, tested = (pairs(loader) for loader in loaders[2:])
    is_cold = tested["item"].isin(cold)
    relevant = tested[is_cold].assign(item=lambda table: "new " + table["item"])
    table = folder.recommend(sorted(relevant["user"].unique()), k=len(folder.items), exclude_seen=False)
    assert recall(table, relevant, pd.concat([trained, valid, tested[~is_cold]])) == pytest.approx(reported, abs=1e-4), (
        "which RecBole rounds"
    )
    assert reported > 0.5, "chance is 5 of 48"
