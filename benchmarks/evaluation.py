"""What ranking all items for all users takes: RecBole's evaluation, with its defaults and with the batches that a knowing user chooses,
beside that of ``fast_loop: True``.

    python benchmarks/evaluation.py [--models BPR LightGCN SASRec ItemKNN VBPR] [--size medium] [--rounds 3] [--defaults]

A model has random weights, the same in all columns. ``fast_loop: False`` is RecBole 1.2.1's loader, collector and evaluator. It has a
process of its own, because ours keeps freed memory for both. The ways take turns, their results must be equal, and seconds are those of one
core. RecBole's default ``eval_batch_size``, 4096, is one user at a time where there are more than 2048 items; it takes minutes, and is
measured once, for those who ask.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import torch
from clock import DEVICE, clock
from recbole.utils import init_seed
from skewed import SIZES, draw

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import get_model, is_ours
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation

KNOWING = [2**20, 2**21, 2**22]
"""How many scores at once a knowing user may try."""
FORMER, DEFAULT, FAST = 2**24, 4096, "fast"
"""What ``eval_batch_size: auto`` is with ``fast_loop: False``; RecBole's default; and ``auto`` with ``fast_loop: True``."""

SEQUENTIAL = ("SASRec", "GRU4Rec")


def evaluations(name: str, folder: Path, metrics: list[str], sizes: list) -> dict[object, Callable[[], dict]]:
    """The evaluation of a model in each of several ways."""
    given = {
        "data_path": str(folder.parent), "use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR", "metrics": metrics,
        "topk": [10, 20], "valid_metric": metrics[0] if metrics[0] == "GAUC" else f"{metrics[0]}@10", "metric_decimal_place": 8,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": 20,
    }  # fmt: skip
    if name in SEQUENTIAL:
        given |= {"train_neg_sample_args": None, "eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}}
    if is_ours(get_model(name)):
        given |= {"feature_files": {"image": "image.npy"}, "feature_ids": "ids.txt", "encoder_training": "pretrained"}
    found, model = {}, None
    for size in sizes:
        rows = name in SEQUENTIAL and size != DEFAULT
        batch = "auto" if size == FAST else max(1, size // SIZES[folder.name][1]) if rows else size
        config = MultiModalConfig(name, folder.name, config_dict={**given, "fast_loop": size == FAST, "eval_batch_size": batch})
        init_seed(config["seed"], True)
        train, valid, _ = data_preparation(config, create_dataset(config))
        model = model or build_model(config, train)
        trainer = build_trainer(config, model)
        trainer.eval_collector.data_collect(train)
        found[size] = lambda trainer=trainer, valid=valid: trainer.evaluate(valid, load_best_model=False)
    return found


PREPARED: dict[object, Callable[[], dict]] = {}
"""In each process: the ways that it is asked for."""


def prepare(*arguments) -> None:
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    PREPARED.update(evaluations(*arguments))


def measure(way: object) -> tuple[float, dict[str, float]]:
    """Seconds and the result."""
    start = clock()
    result = PREPARED[way]()
    return clock() - start, {metric: float(value) for metric, value in result.items()}


def compare(name: str, folder: Path, metrics: list[str], rounds: int, defaults: bool) -> str:
    theirs, seconds, results = [*KNOWING, FORMER], defaultdict(list), {}
    with process() as ours, process() as stock:
        ours.submit(prepare, name, folder, metrics, [FAST]).result()
        stock.submit(prepare, name, folder, metrics, [*theirs, *[DEFAULT] * defaults]).result()
        for way in [FAST, *theirs] * rounds + [DEFAULT] * defaults:
            spent, results[way] = (ours if way == FAST else stock).submit(measure, way).result()
            seconds[way].append(spent)
    spent = {way: median(times) for way, times in seconds.items()}
    apart = max(abs(found[metric] - value) for found in results.values() for metric, value in results[FAST].items())
    told = {"best settings": min(KNOWING, key=spent.get), "2^24 scores": FORMER, **({"defaults": DEFAULT} if defaults else {})}
    ratios = [f"{what} {spent[way] / spent[FAST]:.2f} times ({spent[way]:.2f} s)" for what, way in told.items()]
    every = ", ".join(f"{size / 2**20:g}: {spent[size]:.2f}" for size in KNOWING)
    return f"{name:9} {spent[FAST]:6.2f} s; RecBole with {'; '.join(ratios)}; by millions of scores {every}; results differ by {apart:.1e}"


def process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["BPR", "LightGCN", "SASRec", "ItemKNN", "VBPR"])
    parser.add_argument("--metrics", nargs="+", default=["Recall", "MRR", "NDCG", "Hit", "Precision"])
    parser.add_argument("--size", default="medium", choices=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--defaults", action="store_true")
    arguments = parser.parse_args()
    n_users, n_items, n = SIZES[arguments.size]
    print(f"{n_users:,} users x {n_items:,} items, {n:,} interactions, {', '.join(arguments.metrics)}, {DEVICE}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        draw(Path(scratch), arguments.size)
        folder = Path(scratch) / arguments.size
        items = sorted({line.split("\t")[1] for line in (folder / f"{folder.name}.inter").read_text().splitlines()[1:]})
        (folder / "ids.txt").write_text("\n".join(items) + "\n")
        np.save(folder / "image.npy", np.random.default_rng(0).normal(size=(len(items), 64)).astype(np.float32))
        for name in arguments.models:
            print(compare(name, folder, arguments.metrics, arguments.rounds, arguments.defaults), flush=True)


if __name__ == "__main__":
    main()
