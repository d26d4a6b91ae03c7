"""Tuned encoders on disk: fine-tuned once, found again by everything that made them."""

import json
from dataclasses import asdict
from hashlib import blake2b
from logging import getLogger
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from recbole_mm.disk import locked, write_whole
from recbole_mm.finetune.settings import Settings
from recbole_mm.finetune.stage import Stage
from recbole_mm.finetune.units import Units
from recbole_mm.parallel.randomness import random_state, set_random_state

VERSION = 2
"""To be raised where the same encoder, data and settings come to give other weights."""
WEIGHTS, REPORT, CHECKPOINT = "encoder.safetensors", "report.json", "checkpoint.pth"
logger = getLogger(__name__)


def key(fingerprint: str, settings: Settings, units: Units, objectives: nn.ModuleDict) -> str:
    """Names a tuned encoder: the base encoder, the settings, the contents it learns from, and what its objectives bring (heads as they
    start, categories, training interactions)."""
    digest = blake2b(json.dumps([VERSION, fingerprint, asdict(settings), units.names], sort_keys=True).encode(), digest_size=16)
    for name, objective in objectives.items():
        digest.update(f"\0{name}\0{objective.digest()}".encode())
    return digest.hexdigest()


def load_or_tune(stage: Stage, folder: Path, show_progress: bool = False) -> tuple[dict, bool]:
    """Puts tuned weights into the stage's encoder: those stored in ``folder``, or fine-tuned now and stored, by one process at a time.

    What is drawn now is drawn apart: the global random states are afterwards as they were, so that a run goes the same way whether or
    not it had to fine-tune.

    Returns:
        The report (see ``_report``), and whether the weights were stored already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", f"fine-tuning the encoder in {folder}"):
        report = _stored(folder)
        if report is not None:
            stage.encoder.load_state_dict(load_file(folder / WEIGHTS))
            return report, True
        state = random_state()
        before = stage.retrieve()
        stage.run(folder / CHECKPOINT, show_progress)
        set_random_state(state)
        weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in stage.encoder.state_dict().items()}
        write_whole(folder / WEIGHTS, lambda file: save_file(weights, file))
        report = _report(stage, before) | {"checksum": _checksum(folder / WEIGHTS)}
        write_whole(folder / REPORT, lambda file: file.write_text(json.dumps(report, indent=1)))
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return report, False


def _report(stage: Stage, before: dict[str, float] | None) -> dict:
    """Settings; retrieval of the held-out pairs before and after (null where nothing is held out); the losses and retrieval of each
    epoch; the epoch that was kept; counts; seconds; the tuned encoder's fingerprint."""
    return {
        "encoder": stage.encoder.name,
        "fingerprint": stage.encoder.fingerprint(),
        "settings": asdict(stage.settings),
        "trained_on": len(stage.training),
        "held_out": len(stage.held),
        "before": before,
        "after": stage.history[stage.best - 1]["retrieval"],
        "best_epoch": stage.best,
        "epochs": stage.history,
        "seconds": round(stage.seconds, 1),
    }


def _stored(folder: Path) -> dict | None:
    """The report of the weights in a folder; None where there are none, or not as they were written."""
    if not (folder / REPORT).is_file():
        return None
    try:
        report = json.loads((folder / REPORT).read_text())
        if report["checksum"] == _checksum(folder / WEIGHTS):
            return report
    except (OSError, ValueError, KeyError):
        pass
    logger.warning(f"{folder / WEIGHTS} is not as it was written: fine-tuned anew")
    return None


def _checksum(file: Path) -> str:
    digest = blake2b(digest_size=16)
    with open(file, "rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()
