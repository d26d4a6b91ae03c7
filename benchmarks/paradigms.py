"""The paper's question on a data set of one's own: pretrained, fine-tuned or end-to-end, by encoder and recommender.

    python benchmarks/paradigms.py --dataset=ml-latest-small-mm-5core --data_path=... --results=paradigms.jsonl [--seeds 1 2 3]
        [--models CLIPRec VBPR LATTICE] [--encoders open_clip:tiny vlmo:tiny ...] [--paradigms end2end ...] [--live N] [--set key=value ...]

A run a cell, each with a tenth of the items kept from training: recall@20 of warm items, of cold ones and of all, and seconds. VBPR and
LATTICE train for 60 epochs whatever the paradigm, end-to-end in the last ``--live`` of them (2 if not given). CLIPRec has no ids here, so
all it knows comes from its encoder, and trains end-to-end from the start, for ``--live`` epochs (5 if not given). The last epoch is tested.
Every finished run is a line of ``--results``, and is not done again: killed, the script goes on. A table of means over seeds ends it.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from recbole_mm import run

PARADIGMS = ("pretrained", "finetuned", "end2end")
ENCODERS = ("open_clip:tiny", "vlmo:tiny", "separate:image=open_clip:tiny,text=vlmo:tiny")
COMMON = {
    "topk": [20], "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@20", "cold_item_ratio": 0.1, "finetune_epochs": 10,
    "learning_rate": 0.005, "train_batch_size": 2048, "epochs": 60, "stopping_step": 60, "state": "ERROR", "show_progress": False,
}  # fmt: skip
CONTENT = {"use_id": False, "train_batch_size": 512, "epochs": 30}
LIVE = {"CLIPRec": 5, "VBPR": 2, "LATTICE": 2}


def keys_of(model: str, encoder: str, paradigm: str, live: int) -> dict:
    """A cell's settings."""
    keys = {**COMMON, **(CONTENT if model == "CLIPRec" else {}), "encoder": encoder, "encoder_training": paradigm}
    if paradigm == "end2end" and model == "CLIPRec":
        keys["epochs"] = live
    elif paradigm == "end2end":
        keys |= {"encoder_freeze_epochs": keys["epochs"] - live, "encoder_learning_rate": 1e-4}
    if paradigm == "finetuned" and encoder.startswith("separate:"):  # whose pictures and texts have no common space
        keys["finetune_weights"] = {"interaction": 1}
    return keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=list(LIVE), choices=list(LIVE))
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--paradigms", nargs="+", default=PARADIGMS, choices=PARADIGMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--live", type=int, help="epochs of end-to-end training")
    parser.add_argument("--set", nargs="+", default=[], help="key=value for every run")
    given = parser.parse_args()
    sys.argv = sys.argv[:1]
    own = dict(pair.split("=", 1) for pair in given.set)
    done = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    cells = [(s, m, e, p) for s in given.seeds for p in given.paradigms for e in given.encoders for m in given.models]
    for seed, model, encoder, paradigm in cells:
        cell = {"seed": seed, "model": model, "encoder": encoder, "paradigm": paradigm}
        if any(cell.items() <= line.items() for line in done):
            continue
        keys = {**keys_of(model, encoder, paradigm, given.live or LIVE[model]), "data_path": given.data_path, "seed": seed, **own}
        started = time.perf_counter()
        result = run(model, given.dataset, config_dict=keys, saved=False)
        found = {part: result[key]["recall@20"] for part, key in PARTS.items()}
        done.append({**cell, **found, "seconds": time.perf_counter() - started})
        with open(given.results, "a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        print(done[-1], flush=True)
    print(table(done))


PARTS = {"all": "test_result", "warm": "test_result_warm", "cold": "test_result_cold"}


def table(lines: list[dict]) -> str:
    """Means over seeds, and how many."""
    rows = ["| model | encoder | paradigm | all | warm | cold | seconds | seeds |", "|---|---|---|---|---|---|---|---|"]
    for cell in dict.fromkeys((line["model"], line["encoder"], line["paradigm"]) for line in lines):
        same = [line for line in lines if (line["model"], line["encoder"], line["paradigm"]) == cell]
        means = [f"{statistics.mean(line[part] for line in same):.3f}" for part in PARTS]
        seconds = statistics.mean(line["seconds"] for line in same)
        rows.append(f"| {' | '.join([*cell, *means])} | {seconds:.0f} | {len(same)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
