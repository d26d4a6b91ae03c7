"""The files of an unlearned run: a checkpoint, its record and its table of users, as any run leaves them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from recbole_mm.checkpoint import checkpoint_name
from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.errors import InputError
from recbole_mm.training.build import build_trainer
from recbole_mm.training.record import amend_record
from recbole_mm.training.tested import floats, measure_test, tell_and_record
from recbole_mm.training.trained_data import REFIT, SPLIT, UNLEARNED, describe
from recbole_mm.unlearning.kept import KeptRun


def output_name(config, checkpoint_file: str, output: str | None) -> str:
    """The name of the unlearned checkpoint: what was asked for, or a new one beside the old.

    Raises:
        InputError: it is no name for one, or there is something already.
    """
    if output is None:
        return checkpoint_name(config.changed(checkpoint_dir=str(Path(checkpoint_file).parent)))
    path = Path(output)
    if path.suffix != ".pth":
        raise InputError(f"--output: {output} must end with .pth, as checkpoints do")
    taken = [file for file in run_files(output) if file.exists()]
    if taken:
        raise InputError(f"--output: {taken[0]} is there already: name another file")
    if not path.parent.is_dir():
        raise InputError(f"--output: there is no folder {path.parent}")
    return output


def run_files(checkpoint_file: str) -> list[Path]:
    """The files of a run: the checkpoint, its record, and its table of users."""
    stem = Path(checkpoint_file).with_suffix("")
    return [Path(f"{stem}{ending}") for ending in (".pth", ".json", ".users.parquet")]


def log_of(checkpoint_file: str) -> list[Path]:
    """The log of a run, as far as its record names it."""
    with suppress(OSError, ValueError, KeyError):
        return [Path(json.loads(run_files(checkpoint_file)[1].read_text(encoding="utf-8"))["files"]["log"])]
    return []


def write_unlearned(run: KeptRun, file: str, from_file: str, facts: Mapping[str, object], started: datetime) -> dict[str, object]:
    """Measures the model of an unlearned run, writes its files and says how it fares. A model that is found at once is found before.

    Args:
        run: over what stays alone.
        file: of the new checkpoint.
        from_file: of the run that it comes from.
        facts: what the checkpoint and the record say of it.
        started: when the unlearning has begun.

    Returns:
        What ``run`` returns of a run.
    """
    config, model, loaders = run.config, run.model, run.loaders
    train_data, valid_data, test_data = loaders
    with suppress(OSError, ValueError, KeyError):
        config.external_config_dict = json.loads(run_files(from_file)[1].read_text(encoding="utf-8"))["asked"]
    with no_tensorboard():
        trainer = build_trainer(config, model)
    trainer.saved_model_file = file
    if run.closed_form:
        trainer.fit(train_data, None if run.refitted else valid_data, verbose=False, saved=False)
    trainer.eval_collector.data_collect(train_data)
    valid = floats(trainer.evaluate(valid_data, load_best_model=False)) if valid_data else None
    if valid:
        trainer.best_valid_score = valid[str(config["valid_metric"]).lower()]
    trainer.best_valid_result = trainer.valid_result = valid
    refitted = {REFIT: run.checkpoint[REFIT]} if run.refitted else {}
    trainer.trained_data = {**describe(train_data._dataset), SPLIT: dict(run.checkpoint[SPLIT]), UNLEARNED: dict(facts), **refitted}
    tested = measure_test(config, trainer, train_data, test_data, load_best=False)
    trainer._save_checkpoint(run.checkpoint["epoch"], verbose=False)
    result = {
        "best_valid_score": float(trainer.best_valid_score), "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": valid, **tested.results(),
    }  # fmt: skip
    result |= tell_and_record(config, trainer, loaders, result, tested, started)
    amend_record(result["files"]["record"], unlearned=dict(facts), **refitted)
    return result
