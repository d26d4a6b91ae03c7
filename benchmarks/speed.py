"""Ratios of two things run in one process: what de-duplication, chunks and `eval_batch_size: auto` bring.

python benchmarks/speed.py
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from clock import DEVICE, clock

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.demo import write_demo
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The median of a few runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return float(np.median(times))


def deduplication(folder: Path) -> None:
    """One training step's encoding, forward and backward: every occurrence of an item in the batch against each distinct one once."""
    config = MultiModalConfig("CLIPRec", "demo", config_dict=_settings(folder))
    train, *_ = data_preparation(config, create_dataset(config))
    features = build_model(config, train).item_features
    ids = next(iter(train))["item_id"].to(config["device"])

    def every_occurrence() -> None:
        sum(rows.sum() for rows in features.encoded_items.encode(ids).values()).backward()

    def distinct() -> None:
        sum(rows.sum() for rows in features(ids).values()).backward()

    ratio = seconds(every_occurrence) / seconds(distinct)
    print(f"de-duplication: {len(ids)} occurrences of {len(ids.unique())} items, {ratio:.2f} times faster", flush=True)


def evaluation(n_users: int = 600, n_items: int = 20_000) -> None:
    """Full-sort evaluation of BPR: RecBole's eval_batch_size of 4096 against auto."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "many"
        folder.mkdir()
        rng = np.random.default_rng(0)
        rows = [f"u{u}\ti{i}" for u in range(n_users) for i in rng.choice(n_items, 40, replace=False)]
        rows += [f"u{i % n_users}\ti{i}" for i in range(n_items)]
        (folder / "many.inter").write_text("\n".join(["user_id:token\titem_id:token", *rows]) + "\n")
        times = {}
        for size in (4096, "auto"):
            settings = {**_settings(folder), "eval_batch_size": size}
            config = MultiModalConfig("BPR", "many", config_dict=settings)
            train, valid, _ = data_preparation(config, create_dataset(config))
            trainer = build_trainer(config, build_model(config, train))
            trainer.eval_collector.data_collect(train)
            times[size] = seconds(lambda t=trainer, v=valid: t.evaluate(v, load_best_model=False), repeats=1)
    print(f"eval_batch_size: auto, {n_users} users x {n_items} items: {times[4096] / times['auto']:.1f} times faster than 4096", flush=True)


def _settings(folder: Path) -> dict:
    return {"data_path": str(folder.parent), "use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR"}


def main() -> None:
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "demo"
        write_demo(folder)
        deduplication(folder)
    evaluation()


if __name__ == "__main__":
    main()
