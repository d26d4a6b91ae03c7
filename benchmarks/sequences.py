"""What training over histories costs, as ratios in one process:

    python benchmarks/sequences.py --dataset=scientific --data_path=... --text_field text

bare: training SASRecM end-to-end beside the bare encoder: the distinct items that a whole step encodes, a second, over those of the
encoder's forward and backward pass alone, of the same items, read before.

rows: an epoch of RecBole's rows, one per interaction (``sequence_rows: prefixes``), over an epoch of one row per user, by a live encoder
and over a table. As many steps of histories make a batch on both sides.

stock: an epoch of stock RecBole's SASRec over epochs of this package's: by ids, and over a frozen table of 384 numbers per item.

The data are those of the first ``--users`` users, or with a live encoder ``--live_users``. With ``--threads 1`` on a CPU, seconds are those
of the work, whatever else runs on the machine; with more threads, or on a GPU (which is used where there is one), they are the clock's.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from clock import DEVICE, clock
from efficiency import interleaved

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation

WIDTH = 384
MODEL = {"hidden_size": 64, "inner_size": 256, "n_layers": 2, "n_heads": 2, "MAX_ITEM_LIST_LENGTH": 50}
LEAVE_ONE_OUT = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}}


class Shop:
    """The first users of a data set, and settings for runs on it.

    Attributes:
        length: the mean number of losses that a user's training history has.
    """

    def __init__(self, source: Path, folder: Path, users: int, settings: Mapping[str, object]) -> None:
        self.folder = folder / source.name
        self.folder.mkdir(parents=True)
        rows = pd.read_csv(source / f"{source.name}.inter", sep="\t", dtype=str)
        rows = rows[rows["user_id:token"].isin(rows["user_id:token"].drop_duplicates()[:users])]
        rows.to_csv(self.folder / f"{source.name}.inter", sep="\t", index=False)
        items = pd.read_csv(source / f"{source.name}.item", sep="\t", dtype=str, keep_default_na=False, quoting=3)
        items = items[items["item_id:token"].isin(rows["item_id:token"])]
        items.to_csv(self.folder / f"{source.name}.item", sep="\t", index=False, quoting=3)
        (self.folder / "ids.txt").write_text("\n".join(items["item_id:token"]) + "\n")
        np.save(self.folder / "rows.npy", np.random.default_rng(0).normal(size=(len(items), WIDTH)).astype(np.float32))
        self.settings = {**settings, "data_path": str(folder), "image_dir": str((source / "images").resolve()), **MODEL, **LEAVE_ONE_OUT}
        self.table = {"modalities": ["rows"], "feature_files": {"rows": "rows.npy"}, "feature_ids": "ids.txt"}
        lengths = rows["user_id:token"].value_counts() - 3  # without the first item, and those of validation and test
        self.length = float(lengths.clip(0, MODEL["MAX_ITEM_LIST_LENGTH"]).mean())
        self.about = f"{rows['user_id:token'].nunique():,} users, {len(items):,} items, {self.length:.1f} steps a user"

    def trainer(self, model: str, **keys: object) -> tuple:
        """A trainer and its loader."""
        wanted = {**self.settings, **keys}
        config = MultiModalConfig(model, self.folder.name, config_dict=wanted)
        train, *_ = data_preparation(config, create_dataset(config))
        return build_trainer(config, build_model(config, train)), train

    def epochs(self, model: str, **keys: object) -> Iterator[float]:
        """Trains an epoch each time it is asked: the seconds."""
        trainer, train = self.trainer(model, **keys)
        for epoch in range(10**6):
            start = clock()
            trainer._train_epoch(train, epoch)
            yield clock() - start


def bare(shop: Shop, batch: int, live: Mapping[str, object], rounds: int) -> None:
    steppers = {"training": steps(shop, batch, live), "bare encoder": bare_steps(shop, batch, live)}
    speeds = interleaved(steppers, 1, 2 * rounds)
    share = speeds["training"] / speeds["bare encoder"]
    print(f"bare ({live['encoder']}, {shop.about}): {share:.2f} of the encoder's {speeds['bare encoder']:.0f} items/s", flush=True)


def distinct(interaction) -> torch.Tensor:
    """The items of a batch of rows per user, once each."""
    read = torch.cat([interaction[field].flatten() for field in ("item_id_list", "next_item_ids")])
    return read[read > 0].unique()


def steps(shop: Shop, batch: int, live: Mapping[str, object]) -> Iterator[int]:
    """Makes a training step each time it is asked: how many items it has encoded."""
    trainer, train = shop.trainer("SASRecM", train_batch_size=batch, **live)
    trainer.model.train()
    while True:
        for interaction in train:
            trainer.model.calculate_loss(interaction.to(trainer.device)).backward()
            trainer._step(len(train), 1.0)
            yield len(distinct(interaction))


def bare_steps(shop: Shop, batch: int, live: Mapping[str, object]) -> Iterator[int]:
    """The encoder alone over the items of three batches, which it has in memory, in calls of training's size."""
    trainer, train = shop.trainer("SASRecM", train_batch_size=batch, **live)
    items = trainer.model.item_features.encoded_items
    items.encoder.train()
    batches = [distinct(interaction).to(items.device) for interaction, _ in zip(train, range(3), strict=False)]
    ready = [[{m: items.read(m, ids) for m in items.modalities} for ids in batch.split(items.items_a_call)] for batch in batches]
    while True:
        for calls, batch in zip(ready, batches, strict=True):
            for inputs in calls:
                sum(items.forward(m, values).square().mean() for m, values in inputs.items()).backward()
            items.encoder.zero_grad()
            yield len(batch)


def rows(shop: Shop, batch: int, keys: Mapping[str, object], rounds: int) -> None:
    users = max(1, round(batch / shop.length))
    sides = {
        "prefixes": shop.epochs("SASRecM", sequence_rows="prefixes", train_batch_size=batch, **keys),
        "users": shop.epochs("SASRecM", sequence_rows="users", train_batch_size=users, **keys),
    }
    seconds = quickest(sides, rounds)
    what = keys.get("encoder", "a table")
    print(f"rows ({what}, {shop.about}): an epoch of prefixes {seconds['prefixes']:.2f} s, of users {seconds['users']:.2f} s: "
          f"{seconds['prefixes'] / seconds['users']:.1f} times", flush=True)  # fmt: skip


def stock(shop: Shop, batch: int, rounds: int) -> None:
    users = {"train_batch_size": max(1, round(batch / shop.length))}
    sides = {
        "stock SASRec": shop.epochs("SASRec", train_batch_size=batch, fast_loop=False, train_neg_sample_args=None),
        "SASRec by our loop": shop.epochs("SASRec", train_batch_size=batch, train_neg_sample_args=None),
        "SASRecM by ids": shop.epochs("SASRecM", modalities=[], **users),
        "SASRecM over a table": shop.epochs("SASRecM", **shop.table, **users),
        "SASRecM over a table, without ids": shop.epochs("SASRecM", use_id=False, **shop.table, **users),
    }
    seconds = quickest(sides, rounds)
    for side, time in seconds.items():
        ratio = seconds["stock SASRec"] / time
        print(f"stock ({shop.about}): {side} {time:.2f} s an epoch, {ratio:.1f} times as fast", flush=True)


def quickest(sides: Mapping[str, Iterator[float]], rounds: int) -> dict[str, float]:
    """The seconds of each side's fastest epoch but the first one, in turns."""
    for epochs in sides.values():
        next(epochs)
    times = [{name: next(epochs) for name, epochs in sides.items()} for _ in range(rounds)]
    return {name: min(time[name] for time in times) for name in sides}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--encoder", default="open_clip:tiny")
    parser.add_argument("--modalities", nargs="+", default=["text"])
    parser.add_argument("--text_field", nargs="+", default=["title", "description"])
    parser.add_argument("--questions", nargs="+", default=["bare", "rows", "stock"], choices=["bare", "rows", "stock"])
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--live_users", type=int, default=300)
    parser.add_argument("--batch", type=int, default=1024, help="steps of histories")
    parser.add_argument("--live_batch", type=int, default=256, help="the same with a live encoder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    sys.argv = sys.argv[:1]  # which configurations would read as well
    torch.set_num_threads(given.threads)
    source = Path(given.data_path) / given.dataset
    live = {"encoder": given.encoder, "modalities": given.modalities, "encoder_freeze_epochs": 0, "weight_average": 0}
    with tempfile.TemporaryDirectory() as scratch:
        settings = {"use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR", "text_field": given.text_field}
        shop = Shop(source, Path(scratch) / "table", given.users, settings)
        small = Shop(source, Path(scratch) / "live", given.live_users, settings)
        if "bare" in given.questions:
            bare(small, max(1, round(given.live_batch / small.length)), live, given.rounds)
        if "rows" in given.questions:
            rows(small, given.live_batch, live, given.rounds)
            rows(shop, given.batch, shop.table, given.rounds)
        if "stock" in given.questions:
            stock(shop, given.batch, given.rounds)


if __name__ == "__main__":
    main()
