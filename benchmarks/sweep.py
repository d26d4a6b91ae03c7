"""Runs each of RecBole's general, sequential and context models for one epoch on a small shop, in several variants of its settings.

    python benchmarks/sweep.py [MODEL ...] [--seconds=60]

Prints a table: ``runs``, ``line`` for a model that ends in one clear line, ``slow`` for one over the time limit, or the exception that got
through. Models that need a knowledge graph, labels or a package that is not installed should end in a line.
"""

import argparse
import contextlib
import io
import os
import random
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from recbole.utils import ModelType

from recbole_mm import run
from recbole_mm.config.registry import get_model, list_models, our_models
from recbole_mm.errors import InputError

USERS, ITEMS, PER_USER = 60, 40, 12
RENAMED = {"USER_ID_FIELD": "customer", "ITEM_ID_FIELD": "product", "TIME_FIELD": "bought", "RATING_FIELD": "stars"}
BY_TIME = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user"}
VARIANTS = {
    "default": {},
    "time order": {"eval_args": {**BY_TIME, "mode": "full"}},
    "benchmark files": {"benchmark_filename": ["train", "valid", "test"]},
    "renamed columns": {"dataset": "renamed", **RENAMED},
    "labels": {
        "threshold": {"rating": 3},
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "class"]},
    },
}


def write_shops(folder: Path) -> None:
    """Draws the shop, with the parts of a split beside it, and once more with other names of columns."""
    draw, rows, time = random.Random(0), [], 0
    for user in range(USERS):
        taste = [item for item in range(ITEMS) if item % 4 == user % 4]
        for item in draw.sample(taste, 8) + draw.sample([item for item in range(ITEMS) if item not in taste], PER_USER - 8):
            time += draw.randint(1, 50)
            rows.append((f"u{user}", f"i{item}", draw.randint(1, 5), 1_600_000_000 + time))
    table = pd.DataFrame(rows, columns=["user_id:token", "item_id:token", "rating:float", "timestamp:float"])
    items = pd.DataFrame([(f"i{i}", f"c{i % 4}") for i in range(ITEMS)], columns=["item_id:token", "class:token"])
    place = table.groupby("user_id:token").cumcount()
    parts = {
        "shop": table,
        "shop.train": table[place < 8],
        "shop.valid": table[(place >= 8) & (place < 10)],
        "shop.test": table[place >= 10],
    }
    for name, rows_of_part in parts.items():
        _write(rows_of_part, folder / "shop" / f"{name}.inter")
    names = {f"{old}:{kind}": f"{new}:{kind}" for old, new, kind in zip(
        ("user_id", "item_id", "timestamp", "rating"), RENAMED.values(), ("token", "token", "float", "float"), strict=True)}  # fmt: skip
    _write(table.rename(columns=names), folder / "renamed" / "renamed.inter")
    for shop in ("shop", "renamed"):
        _write(items.rename(columns=names if shop == "renamed" else {}), folder / shop / f"{shop}.item")


def _write(table: pd.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, sep="\t", index=False)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def outcome(model: str, variant: dict, folder: Path, seconds: int) -> tuple[str, str]:
    """What came of a run, in a word, and the message if there is one."""
    keys = {
        "data_path": str(folder),
        "epochs": 1,
        "pretrain_epochs": 1,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        **variant,
    }
    try:
        with time_limit(seconds), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run(model, keys.pop("dataset", "shop"), config_dict=keys, saved=False)
    except InputError as error:
        return ("line", str(error)) if "TimeoutError" not in str(error) else ("slow", "")
    except TimeoutError:
        return "slow", ""
    except Exception as error:
        return type(error).__name__.upper(), str(error)
    return "runs", ""


def swept(names: list[str]) -> list[str]:
    """The models that were named; without names all of RecBole's but those over knowledge graphs."""
    return names or [name for name in list_models() if name not in our_models() and not _of_knowledge(name)]


def _of_knowledge(name: str) -> bool:
    try:
        return get_model(name).type == ModelType.KNOWLEDGE
    except InputError:  # a package that is not installed
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'model':12}", *(f"{variant:16}" for variant in VARIANTS))
    messages = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_shops(Path(folder))
        for model in swept(arguments.models):
            found = {name: outcome(model, variant, Path(folder), arguments.seconds) for name, variant in VARIANTS.items()}
            print(f"{model:12}", *(f"{word:16}" for word, _ in found.values()), flush=True)
            messages += [f"{model}, {name}: {message}" for name, (_, message) in found.items() if message]
    print("", *messages, sep="\n")


if __name__ == "__main__":
    main()
