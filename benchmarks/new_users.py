"""How well are users served that a model was not trained with? Recall@20 of lists made from their training histories, divided by that of
lists made from their own vectors. The data set is copied, once as it is and once without a fifth of the users.

    python benchmarks/new_users.py --source=dataset/ml-latest-small-mm-5core --work=new_users

- map: five times, the map from histories to users is fitted on four fifths of the users of one trained model, and used for the others.
- anew: a fifth of the users is in none of the data that the model is trained on.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from recbole_mm import Recommender, run
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.new_users import UserMap
from recbole_mm.serving.ranking import best

K, FOLDS = 20, 5
FROZEN = {"encoder": "open_clip:tiny", "encoder_training": "pretrained"}
MODELS = {"CLIPRec": FROZEN, "VBPR": FROZEN, "BPR": {}}


def items_of(loader, n_users: int) -> Histories:
    rows = loader._dataset.inter_feat
    return Histories(rows["user_id"], rows["item_id"], n_users)


def recall(lists: list, relevant: list) -> float:
    """The mean over users of the share of the relevant items that are in the list."""
    return float(np.mean([len({*found} & {*wanted}) / len(wanted) for found, wanted in zip(lists, relevant, strict=True)]))


def lists_by(users: torch.Tensor, items: torch.Tensor, ids: torch.Tensor, known: list[Histories]) -> list[list[int]]:
    """The best K items (ids) of each user, by vectors, without those of the known parts."""
    scores = users @ items.T
    scores[:, 0] = -torch.inf
    for part in known:
        scores[part.of(ids)] = -torch.inf
    rows, columns, _ = best(scores, K)
    return [columns[rows == row].tolist() for row in range(len(ids))]


def copied(source: Path, target: Path, without: set[str]) -> None:
    """A copy of a data set without the interactions of some users. Pictures are linked."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "images").symlink_to((source / "images").resolve())
    shutil.copy(source / f"{source.name}.item", target / f"{target.name}.item")
    head, *rows = (source / f"{source.name}.inter").read_text().splitlines()
    kept = [row for row in rows if row.split("\t")[head.split("\t").index("user_id:token")] not in without]
    (target / f"{target.name}.inter").write_text("\n".join([head, *kept]) + "\n")


def measure(model: str, source: Path, work: Path, seed: int) -> dict[str, float]:
    """Recall@20 by own vectors and by the map, of all users; and by own vectors and anew, of the fifth that is left out."""
    keys = {"data_path": str(work), "cache_dir": str(work / "cache"), "checkpoint_dir": str(work / "saved"), "topk": [10, K], "seed": seed,
            "valid_metric": f"Recall@{K}", "show_progress": False, **MODELS[model]}  # fmt: skip
    copied(source, work / "whole", set())
    file = run(model, "whole", config_dict=keys)["files"]["checkpoint"]
    _, net, dataset, *loaders = load_data_and_model(file)
    whole = Recommender.load(file)
    users, items = whole.scores.vectors()
    train, valid, test = (items_of(loader, len(users)) for loader in loaders)
    ids = torch.tensor([user for user in range(1, len(users)) if len(test[user]) and len(train[user])])
    relevant = [test[user].tolist() for user in ids.tolist()]
    own = lists_by(users[ids], items, ids, [train, valid])
    fold = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)) % FOLDS
    mapped: list = [None] * len(ids)
    for number in range(FOLDS):
        unknown = (fold == number).nonzero().squeeze(1)
        others = torch.isin(torch.arange(len(users)), ids[unknown], invert=True)
        rows = loaders[0]._dataset.inter_feat
        kept = others[rows["user_id"]]
        found = UserMap.fitted(users, items, Histories(rows["user_id"][kept], rows["item_id"][kept], len(users)))
        vectors = found([train[user] for user in ids[unknown].tolist()], items)
        for place, best_items in zip(unknown.tolist(), lists_by(vectors, items, ids[unknown], [train, valid]), strict=True):
            mapped[place] = best_items
    left_out = (fold == 0).nonzero().squeeze(1).tolist()
    tokens = dataset.field2id_token
    copied(source, work / "without", {tokens["user_id"][ids[place]] for place in left_out})
    anew = Recommender.load(run(model, "without", config_dict=keys)["files"]["checkpoint"])
    known, lists = set(anew.items), []
    for place in left_out:
        user = int(ids[place])
        history, seen = (list(tokens["item_id"][part[user].numpy()]) for part in (train, valid))
        found = anew.recommend_for([item for item in history if item in known], K + len(seen))["item"]
        lists.append([item for item in found if item not in seen][:K])
    wanted = [list(tokens["item_id"][relevant[place]]) for place in left_out]
    return {
        "own": recall(own, relevant),
        "map": recall(mapped, relevant),
        "own, fifth": recall([own[place] for place in left_out], [relevant[place] for place in left_out]),
        "anew, fifth": recall(lists, wanted),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, type=Path, help="the folder of the data set")
    parser.add_argument("--work", required=True, type=Path, help="a folder for copies, features and checkpoints")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for model in arguments.models:
        found = measure(model, arguments.source, arguments.work.resolve(), arguments.seed)
        ratios = f"map/own {found['map'] / found['own']:.2f}, anew/own {found['anew, fifth'] / found['own, fifth']:.2f}"
        print(f"{model:8} {', '.join(f'{name} {value:.4f}' for name, value in found.items())}; {ratios}", flush=True)


if __name__ == "__main__":
    main()
