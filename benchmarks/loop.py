"""How many times faster training is than in stock RecBole 1.2.1: ratios of CPU seconds of things done in turns in one process.

    python benchmarks/loop.py [--questions loader]

loader: an epoch of batches without training, by RecBole's loader and by ours, on 30,000 users x 20,000 items x 250,000 interactions.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from clock import clock

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.training.loaders import create_dataset, data_preparation

N_USERS, N_ITEMS, N_INTERACTIONS = 30_000, 20_000, 250_000
ROUNDS = 5


def in_turns(works: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median seconds of each work, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = clock()
            work()
            seconds[name].append(clock() - start)
    return {name: median(spent[1:]) for name, spent in seconds.items()}


@contextmanager
def drawn() -> Iterator[dict]:
    """The settings of runs on interactions with a skewed popularity."""
    rng = np.random.default_rng(0)
    pairs = np.stack([rng.integers(0, N_USERS, N_INTERACTIONS), (rng.random(N_INTERACTIONS) ** 3 * N_ITEMS).astype(int)])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "many"
        folder.mkdir()
        rows = [f"u{user}\ti{item}" for user, item in np.unique(pairs, axis=1).T.tolist()]
        (folder / "many.inter").write_text("\n".join(["user_id:token\titem_id:token", *rows]) + "\n")
        yield {"data_path": scratch, "train_batch_size": 2048, "use_gpu": False, "show_progress": False, "state": "ERROR"}


def training_loader(model: str, keys: dict):
    config = MultiModalConfig(model, "many", config_dict=keys)
    return data_preparation(config, create_dataset(config))[0]


def loader() -> None:
    cases = {
        "pairs": ("BPR", "uniform", 1), "points": ("NeuMF", "uniform", 1), "popularity": ("BPR", "popularity", 1),
        "four negatives": ("BPR", "uniform", 4),
    }  # fmt: skip
    with drawn() as keys:
        for name, (model, distribution, number) in cases.items():
            given = {**keys, "train_neg_sample_args": {"distribution": distribution, "sample_num": number, "alpha": 0.75}}
            loaders = {fast: training_loader(model, {**given, "fast_loop": fast}) for fast in (False, True)}
            spent = in_turns({fast: lambda batches=batches: sum(map(len, batches)) for fast, batches in loaders.items()})
            print(f"loader, {name}: {spent[False]:.3f} s, {spent[True]:.3f} s, {spent[False] / spent[True]:.1f} times faster", flush=True)


QUESTIONS: dict[str, Callable[[], None]] = {"loader": loader}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    given = parser.parse_args()
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    for question in given.questions:
        QUESTIONS[question]()


if __name__ == "__main__":
    main()
