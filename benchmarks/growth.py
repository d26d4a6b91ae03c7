"""How time and memory grow with a data set: reading, an epoch and an evaluation of BPR in three sizes, beside stock RecBole.

    python benchmarks/growth.py [--sizes baby medium large] [--ways ours RecBole] [--threads 1] [--batch 2048] [--output growth.md]

The interactions are those of ``skewed``. Every line is of a process of its own, RecBole's with the evaluation batch that suits it best.
Seconds are those of the CPU. An epoch is the time of at most BATCHES batches, taken for all of them, and an
evaluation that of at most SCORES scores of a user and an item, taken for 10^9. Memory is the process's peak up to then, less what it had
when everything was imported.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
from skewed import SIZES, draw_apart

import recbole_mm  # noqa: F401, without which RecBole does not run on today's libraries
from recbole_mm.parallel.memory import peak_resident_set

WAYS = ("ours", "RecBole")
BATCHES, SCORES, BEST = 200, 2**31, 2**20
"""BEST: how many scores RecBole computes at once, which is the quickest for it on a CPU."""
HEAD = ("size", "users x items x interactions", "way", "reading, s", "MiB", "epoch, s", "MiB", "evaluation, s per 10^9 scores", "MiB",
        "reading, epoch: s per 10^6 interactions")  # fmt: skip


class First:
    """The first ``n`` batches of a loader, and otherwise that loader."""

    def __init__(self, loader, n: int) -> None:
        self.loader, self.n = loader, min(n, len(loader))

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        return islice(iter(self.loader), self.n)

    def __getattr__(self, name: str) -> object:
        return getattr(self.loader, name)


def measure(way: str, size: str, folder: str, threads: str, batch: str) -> None:
    """Prints the figures of a line."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer

    from recbole_mm.quick_start import MultiModalConfig, build_model, build_trainer
    from recbole_mm.training import loaders

    torch.set_num_threads(int(threads))
    sys.argv = sys.argv[:1]
    keys = {
        "data_path": folder, "checkpoint_dir": folder, "use_gpu": False, "show_progress": False, "state": "ERROR",
        "train_batch_size": int(batch),
    }  # fmt: skip
    if way == "ours":
        create_dataset, data_preparation = loaders.create_dataset, loaders.data_preparation
        config = MultiModalConfig("BPR", size, config_dict=keys)
    else:
        config = Config("BPR", size, config_dict={**keys, "eval_batch_size": max(BEST, SIZES[size][1])})
    figures, before, start = {}, peak_resident_set(), time.process_time()

    def lap(name: str, factor: float = 1.0) -> None:
        nonlocal start
        figures[name] = {"s": (time.process_time() - start) * factor, "MiB": (peak_resident_set() - before) / 2**20}
        start = time.process_time()

    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    lap("reading")
    model = build_model(config, train) if way == "ours" else get_model("BPR")(config, train.dataset)
    trainer = build_trainer(config, model) if way == "ours" else get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train)
    trainer._train_epoch(First(train, 2), 0)
    start = time.process_time()
    some = First(train, BATCHES)
    trainer._train_epoch(some, 0)
    lap("epoch", len(train) / len(some))
    users = max(1, SCORES // dataset.item_num)
    rows = valid.dataset.inter_feat[valid.dataset.uid_field] <= users
    part = valid.dataset.copy(type(valid.dataset.inter_feat)({k: v[rows] for k, v in valid.dataset.inter_feat.interaction.items()}))
    asked = type(valid)(config, part, valid._sampler, shuffle=False)
    start = time.process_time()
    trainer.evaluate(asked, load_best_model=False)
    lap("evaluation", 1e9 / (part.inter_feat[part.uid_field].unique().numel() * dataset.item_num))
    print(json.dumps(figures))


def line(way: str, size: str, folder: Path, given: argparse.Namespace) -> str:
    command = [sys.executable, __file__, "--measure", way, size, str(folder), str(given.threads), str(given.batch)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    cells = [f"{found[stage][unit]:.{digits}f}" for stage in found for unit, digits in (("s", 1), ("MiB", 0))]
    each = ", ".join(f"{found[stage]['s'] / SIZES[size][2] * 1e6:.1f}" for stage in ("reading", "epoch"))
    return "| " + " | ".join([size, " x ".join(f"{n:,}" for n in SIZES[size]), way, *cells, each]) + " |"


def main() -> None:
    if "--measure" in sys.argv:
        measure(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=2048, help="interactions; every step of Adam goes over all users and items")
    parser.add_argument("--output", type=Path, help="a file for the table as well")
    given = parser.parse_args()
    table = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    print("\n".join(table), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes:
            draw_apart(Path(folder), size)
            for way in given.ways:
                table.append(line(way, size, Path(folder), given))
                print(table[-1], flush=True)
    if given.output:
        given.output.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
