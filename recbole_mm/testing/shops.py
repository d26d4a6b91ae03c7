"""The small shops over which models are checked. Each is drawn when it is first asked for."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recbole_mm.testing.planted import alternating, write_features, write_histories, write_planted, write_sequences


class Shops:
    """Shops below a folder, in which users of one taste interact with items of one style alone (see ``write_planted``)."""

    write = staticmethod(write_planted)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def small(self) -> Path:
        """16 users and 24 items, with feature files of the modalities a (the colours), b (the words) and c (nothing)."""
        folder = self.write(self.folder / "small" / "shop", n_users=16, n_items=24)
        write_features(folder)
        return folder

    @cached_property
    def larger(self) -> Path:
        """40 users and 48 items."""
        return self.write(self.folder / "larger" / "shop")

    @cached_property
    def gaps(self) -> Path:
        """16 users and 24 items with pictures and texts missing here and there, of item i0 both."""
        return self.write(self.folder / "gaps" / "shop", n_users=16, n_items=24, missing=True)

    @cached_property
    def cold(self) -> Path:
        """24 users and 64 items, half of them cold."""
        return write_cold(self.folder / "cold" / "shop", 64, [range(u % 4, 64, 4) for u in range(24)])

    @cached_property
    def small_cold(self) -> Path:
        """24 users and 32 items, half of them cold."""
        return write_cold(self.folder / "small_cold" / "shop", 32, [range(u % 4, 32, 4) for u in range(24)])

    @cached_property
    def sequences(self) -> "SequenceShops":
        """Those for sequence models."""
        return SequenceShops(self.folder / "sequences")


class SequenceShops(Shops):
    """Shops in which what was last says what comes next (see ``write_sequences``). In the cold one, a history has the items with
    interactions first."""

    write = staticmethod(write_sequences)

    @cached_property
    def larger(self) -> Path:
        """40 users and 48 items, with feature files of the modalities a and b."""
        folder = self.write(self.folder / "larger" / "shop")
        write_features(folder, ("a", "b"))
        return folder

    @cached_property
    def gaps(self) -> Path:
        """The same, but that the files lack every 7th item, or every 5th one."""
        folder = self.write(self.folder / "gaps" / "shop")
        write_features(folder, ("a", "b"), missing=True)
        return folder

    @cached_property
    def cold(self) -> Path:
        rng, warm, cold = np.random.default_rng(0), *([i for i in range(64) if is_cold(i) == wanted] for wanted in (False, True))
        histories = [alternating(warm, u, rng) + alternating(cold, u, rng)[:8] for u in range(24)]
        return write_cold(self.folder / "cold" / "shop", 64, histories)


def write_cold(folder: Path, n_items: int, histories: Sequence[Sequence[int]]) -> Path:
    """A planted shop with these histories; cold.txt is half of the items of each style. Beside the feature files stand those of
    ``shuffled``, in which items have each other's features."""
    write_planted(folder, n_users=len(histories), n_items=n_items)
    write_histories(folder, histories)
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
