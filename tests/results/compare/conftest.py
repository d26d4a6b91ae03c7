"""A shop with ready features, a small grid over it, and a comparison that runs its cells in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_mm.errors import InputError
from recbole_mm.results.compare.cells import run_cell
from recbole_mm.testing.planted import write_features, write_planted


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    """16 users, 24 items, and feature files of the modalities a and b."""
    folder = write_planted(tmp_path_factory.mktemp("compared") / "shop", n_users=16, n_items=24)
    write_features(folder, ("a", "b"))
    return folder


@pytest.fixture(scope="session")
def grid(shop) -> dict:
    """Six cells: BPR, and VBPR over one modality or both, with two seeds each."""
    return {
        "dataset": "shop", "model": ["BPR", "VBPR"], "seed": [1, 2], "modalities": ["a", ["a", "b"]],
        "settings": {
            "data_path": str(shop.parent), "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "use_gpu": False, "epochs": 1,
            "encoder_training": "pretrained", "topk": [5, 10], "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@10",
            "train_batch_size": 64, "state": "WARNING",
        },
    }  # fmt: skip


def run_here(folders, workers=None):
    """An executor that runs cells in this process, one after the other."""
    for folder in folders:
        try:
            run_cell(folder)
            yield folder, None
        except InputError as error:
            yield folder, str(error)


@pytest.fixture()
def here(monkeypatch) -> Callable:
    """``compare``, in this process."""
    from recbole_mm.results.compare import compare as module

    monkeypatch.setitem(module.EXECUTORS, "local", run_here)
    return module.compare
