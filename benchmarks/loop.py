"""How many times faster training is than in stock RecBole 1.2.1, or than in another version of this package.

    python benchmarks/loop.py [--questions loader bpr wide] [--before=FOLDER]

Both sides train in processes of their own, an epoch each in turns. What counts is the median of their CPU seconds, and the peak of their
memory.

loader: batches without training, on 30,000 users x 20,000 items x 250,000 interactions.
bpr: an epoch of BPR on the same data, with 64 numbers per user and item and batches of 2048, by learner.

wide: an epoch of our models over features of 4096 and 384 numbers per item, on data of the size of Amazon Baby, by the package in FOLDER
(a checkout of an earlier version) and by this one.

RecBole's side is ``fast_loop: False``, with which loader, trainer and optimiser are RecBole's. There are no settings of RecBole's that
make them faster.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from clock import clock
from skewed import draw

HERE = Path(__file__).resolve().parent
ROUNDS = 5
WIDTHS = {"image": 4096, "text": 384}
STOCK, OURS = {"fast_loop": False}, {}


def draw_features(folder: Path) -> dict:
    """Writes features of the items of a data set. Returns the settings that name them."""
    rows = (folder / f"{folder.name}.inter").read_text().splitlines()[1:]
    items, rng = sorted({row.split("\t")[1] for row in rows}), np.random.default_rng(0)
    (folder / "ids.txt").write_text("\n".join(items) + "\n")
    for modality, width in WIDTHS.items():
        np.save(folder / f"{modality}.npy", rng.normal(size=(len(items), width)).astype(np.float32))
    files = {modality: f"{modality}.npy" for modality in WIDTHS}
    return {"feature_files": files, "feature_ids": "ids.txt", "encoder_training": "pretrained"}


def prepared(kind: str, scratch: str, name: str, model: str, keys: dict) -> Callable[[int], object]:
    """What a side does in every round, which it is told the number of."""
    from recbole_mm.config.multimodal_config import MultiModalConfig
    from recbole_mm.quick_start import build_model, build_trainer
    from recbole_mm.training.loaders import create_dataset, data_preparation

    common = {"data_path": scratch, "train_batch_size": 2048, "use_gpu": False, "show_progress": False, "state": "ERROR"}
    config = MultiModalConfig(model, name, config_dict=common | keys)
    train, *_ = data_preparation(config, create_dataset(config))
    if kind == "loader":
        return lambda _: sum(map(len, train))
    trainer = build_trainer(config, build_model(config, train))
    return lambda epoch: trainer._train_epoch(train, epoch)


def serve(given: str) -> None:
    """One side: prints the CPU seconds and the peak memory in MiB of a round for every line that it is sent."""
    from recbole_mm.parallel.memory import peak_resident_set  # of the side's package, as all that follows

    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    work = prepared(**json.loads(given))
    for number, _ in enumerate(sys.stdin):
        start = clock()
        work(number)
        print(f"round {clock() - start} {peak_resident_set() / 2**20}", flush=True)


class Side:
    """A process that does rounds of work with the package of a folder."""

    def __init__(self, folder: str | None, **work: object) -> None:
        paths = [str(Path(folder).resolve() if folder else HERE.parent), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, str(HERE / "loop.py"), "--serve", json.dumps(work)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=str(work["scratch"]),
                                        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})  # fmt: skip
        self.seconds: list[float] = []
        self.peak = 0.0

    def round(self) -> None:
        print(file=self.process.stdin, flush=True)
        told = next(line.split() for line in self.process.stdout if line.startswith("round"))
        self.seconds.append(float(told[1]))
        self.peak = float(told[2])


def compare(label: str, slow: Side, fast: Side) -> None:
    for _ in range(ROUNDS + 1):
        slow.round()
        fast.round()
    before, now = (median(side.seconds[1:]) for side in (slow, fast))
    print(
        f"{label}: {before:.3f} s and {slow.peak:.0f} MiB, {now:.3f} s and {fast.peak:.0f} MiB: {before / now:.1f} times faster", flush=True
    )
    for side in (slow, fast):
        side.process.stdin.close()
        side.process.wait()


def loader(scratch: str, _: str | None) -> None:
    cases = {
        "pairs": ("BPR", "uniform", 1), "points": ("NeuMF", "uniform", 1), "popularity": ("BPR", "popularity", 1),
        "four negatives": ("BPR", "uniform", 4),
    }  # fmt: skip
    for label, (model, distribution, number) in cases.items():
        keys = {"train_neg_sample_args": {"distribution": distribution, "sample_num": number, "alpha": 0.75}}
        work = {"kind": "loader", "scratch": scratch, "name": "medium", "model": model}
        compare(f"loader, {label}", Side(None, keys=keys | STOCK, **work), Side(None, keys=keys | OURS, **work))


def bpr(scratch: str, _: str | None) -> None:
    for learner in ("adam", "adagrad", "sgd"):
        work = {"kind": "epoch", "scratch": scratch, "name": "medium", "model": "BPR"}
        keys = {"embedding_size": 64, "learner": learner}
        compare(f"BPR, {learner}", Side(None, keys=keys | STOCK, **work), Side(None, keys=keys | OURS, **work))


def wide(scratch: str, before: str | None) -> None:
    if before is None:
        print("wide: name an earlier version's folder by --before", flush=True)
        return
    keys = draw_features(Path(scratch) / "baby")
    for model in ("VBPR", "FREEDOM", "MGCN", "BM3"):
        work = {"kind": "epoch", "scratch": scratch, "name": "baby", "model": model, "keys": keys}
        compare(f"wide, {model}", Side(before, **work), Side(None, **work))


QUESTIONS: dict[str, Callable[[str, str | None], None]] = {"loader": loader, "bpr": bpr, "wide": wide}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    parser.add_argument("--before", help="an earlier version's folder")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for size in ("medium", "baby"):
            draw(Path(scratch), size)
        for question in given.questions:
            QUESTIONS[question](scratch, given.before)


if __name__ == "__main__":
    main()
