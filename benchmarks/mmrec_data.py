"""All recommenders with their default properties on a data set in MMRec's layout (its split, its features, its protocol).

    python benchmarks/mmrec_data.py --input=../shared/data/lfm2k [--models VBPR LATTICE ...] [--seed 2020] [--set key=value ...] [--grid 8]

Prepares the folder once, trains every model with early stopping on validation Recall@20, and prints a row of the table for each as it ends:
test Recall@20 and NDCG@20 with validation items masked at test (RecBole) or not (MMRec), epochs, seconds. With ``--grid N``, N points of
the model's grid in properties/hyper are trained (all of a smaller one), and the row is that of the best by validation.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

import yaml

from recbole_mm import run
from recbole_mm.config.properties import properties_dir
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
    parser.add_argument("--grid", type=int, default=0, help="points of each model's published grid to search")
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
            print(row(model, folder.name, keys, points(model, options.grid) if options.grid else [{}]), flush=True)


def points(model: str, n: int) -> list[dict]:
    """n of the grid's points, drawn without return; all of them if there are no more."""
    grid = yaml.safe_load((properties_dir() / "hyper" / f"{model}.yaml").read_text())["choice"]
    every = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return random.Random(0).sample(every, min(n, len(every)))


def row(model: str, dataset: str, keys: dict, settings: list[dict]) -> str:
    """Of the settings that are best by validation."""
    started, runs = time.perf_counter(), []
    for place, point in enumerate(settings):
        own = {**keys, **point, "checkpoint_dir": f"{keys['checkpoint_dir']}/{model}{place}"}
        result = run(model, dataset, config_dict={**own, "mask_valid_items": True})
        runs.append((result["best_valid_score"], place, own, result))
        if len(settings) > 1:
            print(f"{model} {point}: {result['best_valid_score']:.4f}", file=sys.stderr, flush=True)
    _, place, own, masked = max(runs, key=lambda found: found[0])
    seconds = time.perf_counter() - started
    (checkpoint,) = Path(own["checkpoint_dir"]).glob("*.pth")
    unmasked = run(model, dataset, config_dict={**own, "mask_valid_items": False, "resume": str(checkpoint), "epochs": 1})
    cells = [f"{result['test_result'][f'{metric}@20']:.4f}" for result in (masked, unmasked) for metric in ("recall", "ndcg")]
    name = f"{model} {settings[place]}" if len(settings) > 1 else model
    return f"| {name} | {' | '.join(cells)} | {_epochs(checkpoint)} | {seconds:.0f} |"


def _epochs(checkpoint: Path) -> int:
    """Up to and with the best one."""
    import torch

    return torch.load(checkpoint, weights_only=False)["epoch"] + 1


if __name__ == "__main__":
    main()
