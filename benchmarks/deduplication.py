"""How many times faster a batch is encoded when each distinct item is encoded once.

python benchmarks/deduplication.py
"""

import tempfile
from pathlib import Path

import torch
from clock import DEVICE, fastest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.demo import write_demo
from recbole_mm.quick_start import build_model
from recbole_mm.training.loaders import create_dataset, data_preparation


def deduplication(folder: Path) -> None:
    """One training step's encoding, forward and backward: every occurrence of an item in the batch against each distinct one once."""
    config = MultiModalConfig("CLIPRec", "demo", config_dict=_settings(folder))
    train, *_ = data_preparation(config, create_dataset(config))
    features = build_model(config, train).item_features
    ids = next(iter(train))["item_id"].to(config["device"])

    def every_occurrence() -> None:
        sum(rows.sum() for rows in features.encoded_items.encode(ids).values()).backward()

    def distinct() -> None:
        sum(rows.sum() for rows in features(ids).values()).backward()

    ratio = fastest(every_occurrence) / fastest(distinct)
    print(f"de-duplication: {len(ids)} occurrences of {len(ids.unique())} items, {ratio:.2f} times faster", flush=True)


def _settings(folder: Path) -> dict:
    return {"data_path": str(folder.parent), "use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR"}


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "demo"
        write_demo(folder)
        deduplication(folder)


if __name__ == "__main__":
    main()
