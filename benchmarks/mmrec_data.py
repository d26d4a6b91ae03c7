"""All recommenders with their default properties on a data set in MMRec's layout (its split, its features, its protocol).

    python benchmarks/mmrec_data.py --input=../shared/data/lfm2k [--models VBPR LATTICE ...] [--seed 2020] [--set key=value ...]

Prepares the folder once, trains every model with early stopping on validation Recall@20, and prints a row of the table for each as it ends:
test Recall@20 and NDCG@20 with validation items masked at test (RecBole) or not (MMRec), epochs, seconds.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import yaml

from recbole_mm import run
from recbole_mm.data.prepare.pipeline import main as prepare
from recbole_mm.model import OUR_MODELS

MODELS = ["BPR", "LightGCN", *(name for name in OUR_MODELS if name not in ("VLMoRec", "BEiT3Rec"))]
COMMON = {"epochs": 1000, "stopping_step": 20, "topk": [10, 20], "valid_metric": "Recall@20", "metrics": ["Recall", "NDCG"]}
RECBOLE = {"learning_rate": 0.001, "train_batch_size": 2048, "embedding_size": 64, "n_layers": 2, "reg_weight": 1e-4}
QUIET = {"state": "ERROR", "show_progress": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True, help="the MMRec folder")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--set", nargs="+", default=[], help="key=value for all of them")
    options = parser.parse_args()
    own = dict(pair.split("=", 1) for pair in options.set)
    sys.argv = sys.argv[:1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / Path(options.input).name
        if prepare(["--source=mmrec", f"--input={options.input}", f"--output={folder}"]):
            sys.exit(2)
        shared = yaml.safe_load((folder / f"{folder.name}.yaml").read_text())
        print("| model | R@20 | N@20 | R@20 (MMRec) | N@20 (MMRec) | epochs | seconds |\n|---|---|---|---|---|---|---|", flush=True)
        for model in options.models:
            keys = {**shared, **COMMON, **QUIET, "seed": options.seed, "data_path": scratch, "checkpoint_dir": f"{scratch}/saved"}
            keys |= {**(RECBOLE if model in ("BPR", "LightGCN") else {}), **own}
            print(row(model, folder.name, keys), flush=True)


def row(model: str, dataset: str, keys: dict) -> str:
    started = time.perf_counter()
    masked = run(model, dataset, config_dict={**keys, "mask_valid_items": True})
    seconds = time.perf_counter() - started
    (checkpoint,) = Path(keys["checkpoint_dir"]).glob(f"{model}-*.pth")
    epochs = _epochs(checkpoint)
    unmasked = run(model, dataset, config_dict={**keys, "mask_valid_items": False, "resume": str(checkpoint), "epochs": 1})
    checkpoint.unlink()
    cells = [f"{result['test_result'][f'{metric}@20']:.4f}" for result in (masked, unmasked) for metric in ("recall", "ndcg")]
    return f"| {model} | {' | '.join(cells)} | {epochs} | {seconds:.0f} |"


def _epochs(checkpoint: Path) -> int:
    """Up to and with the best one."""
    import torch

    return torch.load(checkpoint, weights_only=False)["epoch"] + 1


if __name__ == "__main__":
    main()
