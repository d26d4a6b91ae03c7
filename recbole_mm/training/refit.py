"""``refit: True``: once the best epoch is known, the model is trained anew on all interactions.

The fine-tuned encoder of a run, the first of two stages (S3Rec, RaCT), and the checkpoint of ``init_from`` are taken as they are.
"""

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.terminal import end_bars, labelled, say
from recbole_mm.training.build import build_model, build_trainer
from recbole_mm.training.frozen_phase import FrozenPhase
from recbole_mm.training.init_from import read_source, start_from
from recbole_mm.training.loaders import everything
from recbole_mm.training.trained_data import REFIT


def refit(config: MultiModalConfig, dataset, file: str, verbose: bool) -> dict[str, int]:
    """Trains a model from its beginning on all interactions of a data set: those for validation and test as well, and those with cold
    items. It has as many epochs as the best one of a finished run had, under the learning rates of that run, without those that the run
    went back from (see ``FrozenPhase``).

    Its checkpoint takes the place of the run's, and keeps the validation results. Until then the run's own checkpoint stays: after an
    interruption, ``resume`` goes on from there.

    Args:
        config, dataset: of the run; the data set has been split.
        file: the run's checkpoint.

    Returns:
        What the checkpoint says of it: ``epochs``, and how many ``interactions``.
    """
    best = load_checkpoint(file, pickled=True)
    found = {name: best[name] for name in ("best_valid_score", "best_valid_result")}
    best_epoch, frozen, tuned = best["epoch"] + 1, best.get("frozen_phase"), best.get("tuned_encoder")
    started = best.get("init_from")
    if config["score_mix"] == "auto":
        config = config.changed(score_mix=best["other_parameter"]["score_mix"])
    left_out = frozen["epochs"] - frozen["kept"] if frozen and best_epoch > frozen["epochs"] else 0
    epochs = best_epoch - left_out
    del best
    train_data = everything(config, dataset)
    told = {"epochs": epochs, "interactions": len(train_data._dataset.inter_feat)}
    if verbose:
        why, n = "best" if found["best_valid_result"] else "last", f"{epochs} epoch{'s' if epochs > 1 else ''}"
        say(f"refit: epoch {best_epoch} was the {why}, so {n} on all {told['interactions']:,} interactions; the table is of the split")
    if tuned:
        config = config.changed(tuned_encoder=tuned)
    model = build_model(config, train_data)
    with no_tensorboard():
        trainer = build_trainer(config, model)
    if started:
        config = config.changed(init_from=started["file"], resume=None)
        trainer.init_from = start_from(model, config, read_source(config))
    trainer.wandblogger.log_wandb = False
    trainer.saved_model_file, trainer.epochs = file, epochs
    if frozen:
        trainer.frozen = FrozenPhase(frozen["kept"] if frozen["kept"] < epochs else epochs, False, epochs, fixed=True)
    try:
        trainer.fit(train_data, None, verbose=verbose, saved=False, show_progress=bool(config["show_progress"]) and verbose)
    finally:
        end_bars()
    vars(trainer).update(found)
    trainer.trained_data[REFIT] = told
    trainer._save_checkpoint(epochs - 1, verbose=False)
    if verbose:
        say(labelled("refitted", file))
    return told
