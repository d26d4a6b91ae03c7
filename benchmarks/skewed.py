"""Drawn interactions whose items are as unequally popular as in a real shop, in three sizes."""

import subprocess
import sys
from pathlib import Path

import numpy as np

SIZES = {"baby": (19_445, 7_050, 160_792), "medium": (30_000, 20_000, 250_000), "large": (200_000, 100_000, 5_000_000)}
"""Users, items and interactions: those of Amazon Baby, and two larger data sets."""
SPREAD = 1.3
"""The standard deviation of the logarithm of how active users are."""


def draw(folder: Path, size: str) -> None:
    """Writes ``<folder>/<size>/<size>.inter``: user, item, rating and time, in no order, nobody twice with the same item.

    The chance of an item falls with its place in the order of popularity, as 1 / (place + 50); that of a user is log-normal. Every user
    has at least five interactions where there are enough of them.
    """
    n_users, n_items, n = SIZES[size]
    rng = np.random.default_rng(0)
    least = min(5, n // n_users)
    activity = rng.lognormal(sigma=SPREAD, size=n_users)
    items = np.cumsum(1 / (np.arange(n_items) + 50))
    codes = np.empty(0, dtype=np.int64)
    always = np.repeat(np.arange(n_users), least)
    while len(codes) < n:
        more = n - len(codes)
        users = always if not len(codes) else np.searchsorted(np.cumsum(activity) / activity.sum(), rng.random(more + more // 8))
        drawn = np.searchsorted(items / items[-1], rng.random(len(users)))
        codes = np.unique(np.concatenate([codes, users.clip(max=n_users - 1) * n_items + drawn.clip(max=n_items - 1)]))
    codes = rng.permutation(codes)[:n]
    names = np.array([f"B{place:09d}" for place in rng.permutation(n_items)])
    columns = (codes // n_items, codes % n_items, rng.integers(1, 6, n), rng.integers(1_300_000_000, 1_700_000_000, n))
    (folder / size).mkdir(parents=True)
    with open(folder / size / f"{size}.inter", "w") as file:
        file.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        for part in np.array_split(np.stack(columns, axis=1), max(n // 100_000, 1)):
            file.writelines(f"A{user:08d}X\t{names[item]}\t{rating}.0\t{time}\n" for user, item, rating, time in part.tolist())


def draw_apart(folder: Path, size: str) -> None:
    """``draw`` in a process of its own, whose memory does not count in those that this one starts."""
    subprocess.run([sys.executable, __file__, str(folder), size], check=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), sys.argv[2])
