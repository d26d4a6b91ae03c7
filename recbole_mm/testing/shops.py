"""The small shops over which models are checked. Each is drawn when it is first asked for."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recbole_mm.testing.planted import write_features, write_planted


class Shops:
    """Shops below a folder, in which users of one taste interact with items of one style alone (see ``write_planted``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def small(self) -> Path:
        """16 users and 24 items, with feature files of the modalities a (the colours), b (the words) and c (nothing)."""
        folder = write_planted(self.folder / "small" / "shop", n_users=16, n_items=24)
        write_features(folder)
        return folder

    @cached_property
    def larger(self) -> Path:
        """40 users and 48 items."""
        return write_planted(self.folder / "larger" / "shop")

    @cached_property
    def gaps(self) -> Path:
        """16 users and 24 items with pictures and texts missing here and there, of item i0 both."""
        return write_planted(self.folder / "gaps" / "shop", n_users=16, n_items=24, missing=True)

    @cached_property
    def cold(self) -> Path:
        """24 users and 64 items, half of them cold."""
        return write_cold(self.folder / "cold" / "shop", n_items=64)

    @cached_property
    def small_cold(self) -> Path:
        """24 users and 32 items, half of them cold."""
        return write_cold(self.folder / "small_cold" / "shop", n_items=32)


def write_cold(folder: Path, n_items: int) -> Path:
    """The planted shop with 24 users, who interact with all items of their style; cold.txt is half of the items of each. Beside the feature
    files stand those of ``shuffled``, in which items have each other's features."""
    write_planted(folder, n_users=24, n_items=n_items)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for u in range(24):
        rows += [f"u{u}\ti{i}\t{t}" for t, i in enumerate(range(u % 4, n_items, 4))]
    (folder / f"{folder.name}.inter").write_text("\n".join(rows) + "\n")
    (folder / "cold.txt").write_text("".join(f"i{i}\n" for i in range(n_items) if is_cold(i)))
    (folder / "shuffled").mkdir()
    order = np.random.default_rng(5).permutation(n_items)
    tokens = {"item_tokens": json.dumps([f"i{i}" for i in range(n_items)])}
    for name, file in write_features(folder, ("a", "b")).items():
        rows = load_file(folder / file)["features"]
        save_file({"features": rows[order]}, folder / "shuffled" / f"{name}.safetensors", tokens)
    return folder


def is_cold(item: int) -> bool:
    """Is item i<item> of a cold shop in its cold.txt?"""
    return item // 4 % 2 == 1
