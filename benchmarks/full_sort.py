"""Whether recommendations are what the model's full sort ranks first, each step in a process of its own.

    python benchmarks/full_sort.py --dataset=ml-latest-small-mm-5core --data_path=... [--models BPR VBPR ...] [--epochs=1]

For every model: a run on a copy of the data, and its full sort of 200 users; then the rows of the tables are shuffled, and the checkpoint
recommends; then the checkpoint is exported, the copy is removed, and the folder recommends, by its vectors and by its flat index. A line
says how many of the recommendations are right: the place has the score of the full sort, and the item has that score. The checkpoint is
compared with the full sort before and after the rows moved, the folder with the one after. What happened at the same time is taken in
the order of the item ids, as recommenders do.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction

from recbole_mm import Recommender, run
from recbole_mm.model import OUR_MODELS
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.serving.export.read import folder_parts
from recbole_mm.serving.index import VectorIndex

HERE = Path(__file__).resolve().parent
K, N_USERS = 10, 200
RECBOLES = ["BPR", "LightGCN", "ItemKNN", "EASE", "SASRec"]
OURS = {"encoder": "open_clip:tiny", "encoder_training": "pretrained"}
OWN_ENCODERS = {"VLMoRec": "vlmo:tiny", "BEiT3Rec": "beit3:tiny"}


def train(model: str, folder: str, epochs: str) -> None:
    data = Path(folder)
    keys = {**OURS, "encoder": OWN_ENCODERS.get(model, OURS["encoder"])} if model in OUR_MODELS else {}
    keys |= {"train_neg_sample_args": None} if model == "SASRec" else {}
    saved = {"checkpoint_dir": str(data.parent / "saved"), "data_path": str(data.parent), "epochs": int(epochs)}
    run(model, data.name, config_dict={**keys, **saved, "train_batch_size": 2048, "show_progress": False, "use_gpu": False})


def full_sort(checkpoint: str, output: str) -> None:
    """Scores of N_USERS users and all items, with all that a user has masked, by token."""
    config, net, dataset, *_ = load_data_and_model(checkpoint)
    rows = pd.read_csv(Path(config["data_path"]) / f"{config['dataset']}.inter", sep="\t", dtype=str).rename(
        columns=lambda c: c.split(":")[0]
    )
    users, items = (dataset.field2id_token[field] for field in ("user_id", "item_id"))
    chosen = np.sort(np.random.default_rng(0).permutation(users[1:])[:N_USERS])
    rows = rows[rows["item_id"].isin(items)]
    rows = rows.assign(time=rows["timestamp"].astype(float), id=dataset.token2id("item_id", rows["item_id"].to_numpy()))
    own = rows.sort_values(["time", "id"]).groupby("user_id")["id"].agg(list)[chosen]
    columns = {"user_id": torch.from_numpy(dataset.token2id("user_id", chosen))}
    if hasattr(net, "ITEM_SEQ"):
        longest = config["MAX_ITEM_LIST_LENGTH"]
        latest = [history[-longest:] for history in own]
        columns[net.ITEM_SEQ] = torch.tensor([[*some, *[0] * (longest - len(some))] for some in latest])
        columns[net.ITEM_SEQ_LEN] = torch.tensor([len(some) for some in latest])
    with torch.no_grad():
        scores = net.eval().full_sort_predict(Interaction(columns)).view(len(chosen), -1).numpy().copy()
    for row, seen in zip(scores, own, strict=True):
        row[seen] = -np.inf
    pd.DataFrame(scores[:, 1:], chosen, items[1:]).to_pickle(output)


def shuffle(data: Path) -> None:
    for part in ("inter", "item"):
        file = data / f"{data.name}.{part}"
        head, *rows = file.read_text(encoding="utf-8").splitlines()
        file.write_text("\n".join([head, *np.random.default_rng(1).permutation(rows)]) + "\n", encoding="utf-8")


def by_index(folder: Path, users: list[str]) -> pd.DataFrame | None:
    parts = folder_parts(folder)
    if not parts.manifest["index"]:
        return None
    parts.index = VectorIndex.read(folder / "index.faiss")
    return Recommender(parts).recommend(users, K)


def share(found: pd.DataFrame | None, scores: pd.DataFrame) -> str:
    """How many of the recommendations are the full sort's, up to rounding."""
    if found is None:
        return "-"
    if list(found["user"]) != list(np.repeat(scores.index, K)):
        return "other users"
    best = np.sort(scores.to_numpy(), axis=1)[:, ::-1][:, :K].ravel()
    own = scores.to_numpy()[scores.index.get_indexer(found["user"]), scores.columns.get_indexer(found["item"].astype(str))]
    right = np.isclose(found["score"], own, 1e-4, 1e-5) & np.isclose(own, best, 1e-4, 1e-5)
    return f"{right.sum()}/{len(right)}"


def step(where: Path, name: str, *arguments: object) -> None:
    """Calls a function above in a process of its own."""
    code = (
        f"import sys; own, sys.argv = sys.argv[2:], sys.argv[:1]; sys.path.append({str(HERE)!r}); import full_sort; full_sort.{name}(*own)"
    )
    subprocess.run([sys.executable, "-c", code, name, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, cwd=where)


def command(where: Path, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "recbole_mm.cli", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, cwd=where)


def measure(model: str, source: Path, epochs: int) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        data = here / "data" / source.name
        shutil.copytree(source, data, copy_function=shutil.copyfile)
        step(here, "train", model, data, epochs)
        checkpoint = next((data.parent / "saved").glob("*.pth"))
        step(here, "full_sort", checkpoint, here / "before")
        before = pd.read_pickle(here / "before")
        (here / "users").write_text("\n".join(before.index))
        shuffle(data)
        step(here, "full_sort", checkpoint, here / "after")
        command(here, "recommend", checkpoint, f"--k={K}", f"--users={here / 'users'}", f"--output={here / 'checkpoint.csv'}")
        command(here, "export", checkpoint, f"--output={here / 'folder'}")
        shutil.rmtree(data)
        command(here, "recommend", here / "folder", f"--k={K}", f"--users={here / 'users'}", f"--output={here / 'folder.csv'}")
        found = {name: pd.read_csv(here / f"{name}.csv", dtype={"user": str, "item": str}) for name in ("checkpoint", "folder")}
        after = pd.read_pickle(here / "after").loc[before.index, before.columns]
        results = {
            "checkpoint, before": share(found["checkpoint"], before),
            "checkpoint, after": share(found["checkpoint"], after),
            "folder": share(found["folder"], after),
            "index": share(by_index(here / "folder", list(before.index)), after),
        }
        return ", ".join(f"{name} {result}" for name, result in results.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", required=True, type=Path)
    parser.add_argument("--models", nargs="+", default=[*OUR_MODELS, *RECBOLES])
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    for model in given.models:
        print(f"{model}: {measure(model, given.data_path / given.dataset, given.epochs)}", flush=True)


if __name__ == "__main__":
    main()
