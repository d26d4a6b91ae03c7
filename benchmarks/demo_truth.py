"""Does each kind of content bring what was planted in it? CLIPRec and BPR on the demo shop, whose truth is known.

    python benchmarks/demo_truth.py --seeds 1 2 3

Prints recall@20 on the test part: over all users, over those who choose by the picture and those who choose by the text, and of cold
items among all items; beside it what random ranking gives. `permuted` has every item's content exchanged for another's.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.demo import write_demo
from recbole_mm.quick_start import build_model, build_trainer, start
from recbole_mm.training.loaders import create_dataset, data_preparation

K = 20
RUNS = {
    "BPR": ("BPR", {}),
    "BPR, patient": ("BPR", {"stopping_step": 50}),
    "LightGCN, patient": ("LightGCN", {"stopping_step": 50}),
    "ids + both": ("CLIPRec", {}),
    "image": ("CLIPRec", {"use_id": False, "modalities": ["image"]}),
    "text": ("CLIPRec", {"use_id": False, "modalities": ["text"]}),
    "both": ("CLIPRec", {"use_id": False}),
    "both, frozen": ("CLIPRec", {"use_id": False, "encoder_training": "pretrained"}),
    "both, permuted": ("CLIPRec", {"use_id": False}),
}


def measure(model_name: str, folder: Path, **keys) -> dict[str, float]:
    """Trains on the demo in ``folder`` and returns recall@20: all, visual, textual, both (users by taste), cold (items), random."""
    settings = {"data_path": str(folder.parent), "use_gpu": False, "show_progress": False, "state": "ERROR", **keys}
    config = MultiModalConfig(model_name, "demo", config_dict=settings)
    start(config)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = build_model(config, train)
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False)
    trainer.evaluate(test)
    model.eval()
    return _recalls(model, dataset, train, valid, test, json.loads((folder / "truth.json").read_text()))


def permute_content(folder: Path, seed: int = 0) -> None:
    """Exchanges the items' texts and pictures among them, in the data set's ``.item`` file."""
    file = folder / "demo.item"
    header, *rows = [line.split("\t") for line in file.read_text().splitlines()]
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [[row[0], *rows[other][1:]] for row, other in zip(rows, order, strict=True)]
    file.write_text("\n".join("\t".join(row) for row in [header, *shuffled]) + "\n")


@torch.no_grad()
def _recalls(model, dataset, train, valid, test, truth: dict) -> dict[str, float]:
    pairs = {part: _pairs(loader.dataset) for part, loader in (("train", train), ("valid", valid), ("test", test))}
    tokens = {field: dataset.field2id_token[field] for field in ("user_id", "item_id")}
    taste = [None] + [truth["users"][token]["taste"] for token in tokens["user_id"][1:]]
    cold = torch.tensor([False] + [truth["items"][token]["cold"] for token in tokens["item_id"][1:]])
    scores = model.full_sort_predict({"user_id": torch.arange(model.n_users)}).view(model.n_users, -1).float()
    scores[:, 0] = -torch.inf
    for part in ("train", "valid"):
        scores[pairs[part]] = -torch.inf
    hits = torch.zeros(scores.shape, dtype=torch.bool).scatter(1, scores.topk(K).indices, True)
    wanted = torch.zeros(scores.shape, dtype=torch.bool).index_put(pairs["test"], torch.tensor(True))
    of = {"all": torch.tensor([t is not None for t in taste])}
    of |= {name: torch.tensor([t == name for t in taste]) for name in ("visual", "textual", "both")}
    recall = {name: _recall(hits[users], wanted[users]) for name, users in of.items()}
    recall["cold"] = _recall(hits, wanted & cold)
    recall["random"] = K / (model.n_items - 1 - len(pairs["train"][0]) / (model.n_users - 1))
    return recall


def _recall(hits: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean over the users (rows) who want anything of the share of it that is hit."""
    some = wanted.any(1)
    return ((hits & wanted).sum(1)[some] / wanted.sum(1)[some]).mean().item()


def _pairs(dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return dataset.inter_feat["user_id"], dataset.inter_feat["item_id"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    arguments = parser.parse_args()
    columns = ("all", "visual", "textual", "both", "cold", "random")
    print("recall@20 | " + " | ".join(columns), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        true, permuted = Path(scratch, "true", "demo"), Path(scratch, "permuted", "demo")
        write_demo(true)
        shutil.copytree(true, permuted)
        permute_content(permuted)
        for name in arguments.runs:
            model, keys = RUNS[name]
            folder = permuted if "permuted" in name else true
            measured = [measure(model, folder, seed=seed, checkpoint_dir=f"{scratch}/saved", **keys) for seed in arguments.seeds]
            means = [np.mean([m[c] for m in measured]) for c in columns]
            print(f"{name} | " + " | ".join(f"{mean:.3f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
