"""Recommenders on a real data set, through the command's own path and on one split a seed.

    python benchmarks/real_data.py --dataset=ml-latest-small-mm-5core --data_path=... --seeds 1 2 --runs Pop BPR "content, end2end"

One line a run and seed: test recall@20 and NDCG@20 of the best validation epoch, epochs, seconds, and the run's cost line.
"""

import argparse
import logging
import time

from recbole_mm import run

CONTENT = {"use_id": False}
RUNS = {
    "Pop": ("Pop", {}),
    "ItemKNN": ("ItemKNN", {}),
    "BPR": ("BPR", {}),
    "LightGCN": ("LightGCN", {}),
    "ids": ("CLIPRec", {"modalities": []}),
    "ids + content, frozen": ("CLIPRec", {"encoder_training": "pretrained"}),
    "ids + content, end2end": ("CLIPRec", {}),
    "content, frozen": ("CLIPRec", {**CONTENT, "encoder_training": "pretrained"}),
    "content, end2end": ("CLIPRec", CONTENT),
    "content, end2end, BPR": ("CLIPRec", {**CONTENT, "loss_type": "BPR"}),
}


class _LastCost(logging.Handler):
    """Keeps the last cost line and counts the epochs."""

    line, epochs = "", 0

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.line = message if message.startswith("cost:") else self.line
        self.epochs += " training" in message and "epoch" in message and "time" in message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--epochs", type=int, help="for CLIPRec; the default of its properties otherwise")
    parser.add_argument("--cache_dir")
    arguments = parser.parse_args()
    for name in arguments.runs:
        model, keys = RUNS[name]
        for seed in arguments.seeds:
            settings = {
                "data_path": arguments.data_path, "encoder": "open_clip:tiny", "topk": [10, 20], "valid_metric": "Recall@20",
                "show_progress": False, "seed": seed, "cache_dir": arguments.cache_dir, **keys,
            }  # fmt: skip
            if model == "CLIPRec" and arguments.epochs:
                settings["epochs"] = arguments.epochs
            cost, start = _LastCost(), time.perf_counter()
            logging.getLogger().addHandler(cost)
            test = run(model, arguments.dataset, config_dict=settings)["test_result"]
            logging.getLogger().removeHandler(cost)
            print(
                f"RESULT {name} | seed {seed} | recall@20 {test['recall@20']:.4f} ndcg@20 {test['ndcg@20']:.4f} | {cost.epochs} epochs, "
                f"{time.perf_counter() - start:.0f} s | {cost.line}",
                flush=True,
            )


if __name__ == "__main__":
    main()
