"""How soon a data set is read, filtered and split, beside stock RecBole: CPU seconds and peak memory.

    python benchmarks/reading.py [--sizes baby medium large] [--rounds 1]

Every figure is of a process of its own (importing does not count), and the ways take turns. The interactions are those of ``skewed``, once
with users and items alone, RecBole's default, and once with ratings and times, 5-core filters and a split by time. RecBole has no setting
that would make it quicker. "first" reads the files and fills the cache, "cached" finds it filled, and "careful" is ``fast_loop: False``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from skewed import SIZES, draw_apart

import recbole_mm  # noqa: F401, without which RecBole does not run on today's libraries
from recbole_mm.parallel.memory import peak_resident_set

FIELDS = ["user_id", "item_id", "rating", "timestamp"]
WORK = {
    "users and items": {"load_col": {"inter": FIELDS[:2]}},
    "all columns, 5-core, by time": {
        "load_col": {"inter": FIELDS}, "user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "TO", "mode": "full"},
    },
}  # fmt: skip
WAYS = ("RecBole", "careful", "first", "cached")


def measure(way: str, size: str, folder: str, work: str) -> None:
    """Prints CPU seconds of create_dataset and data_preparation, and how far memory grew meanwhile, in MiB."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    settings = {"data_path": folder, "use_gpu": False, "show_progress": False, "state": "ERROR", **WORK[work]}
    sys.argv = sys.argv[:1]
    if way == "RecBole":
        config = Config("BPR", size, config_dict=settings)
    else:
        from recbole_mm.config.multimodal_config import MultiModalConfig
        from recbole_mm.training.loaders import create_dataset, data_preparation

        config = MultiModalConfig("BPR", size, config_dict={**settings, "fast_loop": way != "careful"})
    before, times = peak_resident_set(), [time.process_time()]
    dataset = create_dataset(config)
    times.append(time.process_time())
    loaders = data_preparation(config, dataset)
    times.append(time.process_time())
    found = {"read": times[1] - times[0], "prepare": times[2] - times[1], "MiB": (peak_resident_set() - before) / 2**20}
    print(json.dumps({**found, "rows": [len(loader._dataset) for loader in loaders]}))


def in_a_process(way: str, size: str, folder: Path, work: str) -> dict:
    if way == "first":
        shutil.rmtree(folder / size / ".recbole_mm", ignore_errors=True)
    command = [sys.executable, __file__, "--measure", way, size, str(folder), work]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def compare(size: str, folder: Path, rounds: int) -> None:
    for work in WORK:
        found = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                found[way].append(in_a_process(way, size, folder, work))
        stock = {key: median(run[key] for run in found["RecBole"]) for key in ("read", "prepare", "MiB")}
        for way, runs in found.items():
            own = {key: median(run[key] for run in runs) for key in stock}
            total, other = own["read"] + own["prepare"], stock["read"] + stock["prepare"]
            same = "" if runs[0]["rows"] == found["RecBole"][0]["rows"] else f", other rows: {runs[0]['rows']}"
            print(f"{size}, {work}, {way}: {own['read']:.1f} + {own['prepare']:.1f} s, {own['MiB']:.0f} MiB; "
                  f"{other / total:.1f} times as fast, {own['MiB'] / stock['MiB']:.2f} of the memory{same}", flush=True)  # fmt: skip


def main() -> None:
    if "--measure" in sys.argv:
        measure(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes:
            draw_apart(Path(folder), size)
            compare(size, Path(folder), given.rounds)


if __name__ == "__main__":
    main()
