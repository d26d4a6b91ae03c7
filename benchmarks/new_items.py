"""How well are items recommended that a model was not trained with? Items are held out by ``cold_item_ratio``, taken out of an export of
the run, and added to it again under other tokens, from their pictures and texts. Recall@20 of users' test items among them is compared with
what the run itself reports; and copies of 400 known items are added, whose nearest neighbour should be the original.

    python benchmarks/new_items.py --dataset=ml-latest-small-mm-5core --data_path=dataset --work=new_items
"""

import argparse
from pathlib import Path

import pandas as pd

from recbole_mm import Recommender, run
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder

K, COPIES = 20, 400
FROZEN = {"encoder": "open_clip:tiny", "encoder_training": "pretrained", "cold_item_ratio": 0.1, "topk": [K], "valid_metric": f"Recall@{K}"}
MODELS = {"CLIPRec": {}, "CLIPRec, use_id: False": {"use_id": False}, "VBPR": {}, "LightGCNM": {}, "BM3": {}}


def products(folder: Path) -> pd.DataFrame:
    """The rows of the ``.item`` file, with the paths of their pictures."""
    rows = pd.read_csv(folder / f"{folder.name}.item", sep="\t", dtype=str, keep_default_na=False)
    rows = rows.rename(columns=lambda column: column.split(":")[0])
    return rows.assign(image=[str(folder / "images" / name) if name else "" for name in rows["image"]])


def pairs(loader) -> pd.DataFrame:
    dataset = loader._dataset
    return pd.DataFrame({f: dataset.id2token(f"{f}_id", dataset.inter_feat[f"{f}_id"].numpy()) for f in ("user", "item")}).drop_duplicates()


def recall(recommender: Recommender, relevant: pd.DataFrame, hidden: pd.DataFrame) -> float:
    """Of the best K items that are not hidden, as RecBole counts it."""
    table = recommender.recommend(sorted(relevant["user"].unique()), k=len(recommender.items), exclude_seen=False)
    left = table.merge(hidden, on=["user", "item"], how="left", indicator=True).query("_merge == 'left_only'")
    hits = left.groupby("user").head(K).merge(relevant, on=["user", "item"]).groupby("user").size()
    return float((hits / relevant.groupby("user").size()).fillna(0).mean())


def measure(name: str, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """The run's cold recall, that of the items added to the export, and the share of copies whose nearest neighbour is the original."""
    keys = {"data_path": arguments.data_path, "seed": arguments.seed, "checkpoint_dir": str(arguments.work), "epochs": arguments.epochs}
    result = run(name.split(",")[0], arguments.dataset, config_dict={**FROZEN, **MODELS[name], **keys})
    checkpoint, folder = result["files"]["checkpoint"], arguments.work / "folder"
    write_folder(Recommender.load(checkpoint).parts, folder, run_facts(checkpoint), with_encoder=True)
    *_, data, train, valid, test = load_data_and_model(checkpoint)
    cold, rows = data.id2token("item_id", data.cold_items.numpy()), products(Path(arguments.data_path) / arguments.dataset)
    is_new = rows["item_id"].isin(cold)

    exported, tested = Recommender.load(folder), pairs(test)
    exported.remove_items(cold)
    exported.add_items(rows[is_new].assign(item_id="new " + rows["item_id"]))
    is_cold = tested["item"].isin(cold)
    relevant = tested[is_cold].assign(item=lambda table: "new " + table["item"])
    added = recall(exported, relevant, pd.concat([pairs(train), pairs(valid), tested[~is_cold]]).drop_duplicates())

    known = rows[rows["item_id"].isin(pairs(train)["item"])].sample(COPIES, random_state=arguments.seed)["item_id"]
    exported.add_items(rows[rows["item_id"].isin(known)].assign(item_id="copy " + rows["item_id"]))
    first = [exported.similar(f"copy {token}", k=1)["item"][0] == token for token in known]
    return result["test_result_cold"][f"recall@{K}"], added, sum(first) / len(first)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and exports go here")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for model in arguments.models:
        print(model, "run {:.4f}, added {:.4f}, copies {:.3f}".format(*measure(model, arguments)), flush=True)
