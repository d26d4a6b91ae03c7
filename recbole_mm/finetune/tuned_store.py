"""Tuned encoders on disk: fine-tuned once, found again by everything that made them."""

import json
from hashlib import blake2b
from logging import getLogger
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from recbole_mm.disk import locked, write_whole
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.settings import LoopSettings
from recbole_mm.finetune.units import Units
from recbole_mm.parallel.randomness import random_state, set_random_state

VERSION = 3
"""To be raised where the same encoder, data and settings come to give other weights."""
WEIGHTS, REPORT, CHECKPOINT = "encoder.safetensors", "report.json", "checkpoint.pth"
logger = getLogger(__name__)


def tuned_key(fingerprint: str, settings: LoopSettings, units: Units, objectives: nn.ModuleDict) -> str:
    """Names a tuned encoder by the encoder it starts from, the settings, the contents it learns from, and what its objectives bring:
    heads as they start, categories, training interactions."""
    digest = blake2b(json.dumps([VERSION, fingerprint, settings.identity(), units.names], sort_keys=True).encode(), digest_size=16)
    for name, objective in objectives.items():
        digest.update(f"\0{name}\0{objective.digest()}".encode())
    return digest.hexdigest()


def load_or_tune(loop: FinetuningLoop, folder: Path) -> tuple[dict, bool]:
    """Puts tuned weights into the encoder of the loop: those stored in ``folder``, or else it trains now and stores them. One process
    does so at a time.

    Afterwards the global random states are as they were before, so that a run goes the same way whether or not it had to fine-tune.

    Returns:
        The report (see ``_report``), and whether the weights were stored already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", f"{loop.settings.activity} the encoder in {folder}"):
        report = _stored_report(folder)
        if report is not None:
            loop.encoder.load_state_dict(load_file(folder / WEIGHTS))
            return report, True
        state = random_state()
        before = loop.retrieve()
        loop.run(folder / CHECKPOINT)
        set_random_state(state)
        weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in loop.encoder.state_dict().items()}
        write_whole(folder / WEIGHTS, lambda file: save_file(weights, file))
        report = _report(loop, before) | {"checksum": _file_checksum(folder / WEIGHTS)}
        write_whole(folder / REPORT, lambda file: file.write_text(json.dumps(report, indent=1)))
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return report, False


def _report(loop: FinetuningLoop, before: dict[str, float] | None) -> dict:
    """What is known of a tuned encoder: settings, counts, seconds, its fingerprint, losses and retrieval of each epoch and which epoch was
    kept, and retrieval of the held-out items before and after (null if nothing is held out)."""
    return {
        "encoder": loop.encoder.name,
        "fingerprint": loop.encoder.fingerprint(),
        "settings": loop.settings.identity(),
        "trained_on": len(loop.training),
        "held_out": len(loop.held_out.units),
        "before": before,
        "after": loop.history[loop.best - 1]["retrieval"],
        "best_epoch": loop.best,
        "epochs": loop.history,
        "seconds": round(loop.seconds, 1),
    }


def _stored_report(folder: Path) -> dict | None:
    """The report of the weights in a folder; None if there are none, or they are not as they were written."""
    if not (folder / REPORT).is_file():
        return None
    try:
        report = json.loads((folder / REPORT).read_text())
        if report["checksum"] == _file_checksum(folder / WEIGHTS):
            return report
    except (OSError, ValueError, KeyError):
        pass
    logger.warning(f"{folder / WEIGHTS} is not as it was written; the encoder is trained again")
    return None


def _file_checksum(file: Path) -> str:
    digest = blake2b(digest_size=16)
    with open(file, "rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()
