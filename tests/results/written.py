"""Records as finished runs write them, without a run."""

import json
from pathlib import Path

FACTS = {
    "format": 1, "model": "VBPR", "dataset": "shop", "seed": 1, "started": "2026-03-01T10:00:00+00:00",
    "finished": "2026-03-01T10:01:40+00:00", "seconds": 100.0, "asked": {"epochs": 2}, "data": {"fingerprint": "f"},
    "valid_metric": "recall@20", "valid_metric_bigger": True, "best_valid_score": 0.25, "valid": {"recall@20": 0.25},
    "test": {"recall@20": 0.2, "ndcg@20": 0.1}, "versions": {}, "machine": "Linux",
    "settings": {"learning_rate": 0.001, "encoder": "open_clip:tiny", "encoder_training": "pretrained", "encoder_learning_rate": "auto",
                 "modalities": None, "feature_files": None},
}  # fmt: skip


def write(folder: Path, name: str, **facts: object) -> Path:
    """Writes a record; what is None is left out.

    Returns:
        Its stem.
    """
    folder.mkdir(exist_ok=True)
    kept = {key: value for key, value in {**FACTS, **facts}.items() if value is not None}
    (folder / f"{name}.json").write_text(json.dumps(kept), encoding="utf-8")
    return folder / name
