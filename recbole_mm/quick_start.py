"""RecBole's quick start, for our models and for RecBole's: ``run``, ``objective_function`` and ``load_data_and_model``."""

from collections.abc import Mapping
from datetime import datetime, timezone
from logging import getLogger

from recbole.utils import init_seed

from recbole_mm.checkpoint import checkpoint_name, load_checkpoint  # noqa: F401
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.encoder.build_encoder import check_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.errors import InputError, recboles_own_failures
from recbole_mm.evaluation.protocol import evaluate_parts  # noqa: F401
from recbole_mm.parallel.launch import launch, starts_others
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import Bar, end_bars
from recbole_mm.training.build import build_model, build_trainer
from recbole_mm.training.cost import cost_line
from recbole_mm.training.epochs import TellsEpochs
from recbole_mm.training.init_from import read_source, start_from
from recbole_mm.training.loaders import create_dataset, data_preparation, everything, find_dataset, read_dataset
from recbole_mm.training.log import release_notices, start_log, starting
from recbole_mm.training.opening import tell_data, tell_model, tell_protocol, tell_run
from recbole_mm.training.recbole_trainer import load_recbole_state
from recbole_mm.training.record import amend_record
from recbole_mm.training.refit import refit
from recbole_mm.training.resumable_trainer import trained_before
from recbole_mm.training.run_state import load_model_state
from recbole_mm.training.tested import floats, measure_test, tell_and_record
from recbole_mm.training.trained_data import REFIT, SPLIT, TOKENS, check_resumable, warn_of_other_data
from recbole_mm.training.trainer import MultiModalTrainer

__all__ = [
    "InputError",
    "MultiModalConfig",
    "MultiModalTrainer",
    "build_model",
    "build_trainer",
    "create_dataset",
    "data_preparation",
    "find_dataset",
    "load_data_and_model",
    "objective_function",
    "run",
    "start",
]


def run(
    model: str | type | None,
    dataset: str | None,
    config_file_list: list[str] | None = None,
    config_dict: dict | None = None,
    saved: bool = True,
) -> dict:
    """Trains a model on a data set and tests it.

    With ``nproc: N`` in the configuration, or under torchrun, N processes train together as one process would with N times the
    ``train_batch_size``. Each of them encodes its share of the items of a batch.

    Args:
        model: the name or the class of one of our models or of RecBole's; None where the configuration names it.
        dataset: the name of the data set, which is a folder below ``data_path``; None where the configuration names it.
        config_file_list: YAML files of settings.
        config_dict: settings, which go before those of the files. Settings on the command line (``sys.argv``) go before both.
        saved: whether to keep a checkpoint of the best epoch in ``checkpoint_dir`` and test that one. Otherwise the last epoch is tested.

    Returns:
        RecBole's result: best_valid_score, valid_score_bigger, best_valid_result and test_result; with cold items also test_result_warm
        and test_result_cold. Besides, cost (see ``CostAccount.report``); popularity, the results of the most popular items on valid and
        test; and files, the paths of checkpoint, log, tensorboard, record and users (see ``training.record``). With ``refit: True``,
        refit says what the checkpoint was then trained on (see ``training.refit``).

    Raises:
        InputError: something is wrong with the settings or the data; the message is one line.
    """
    return run_command(model, dataset, config_file_list, None, config_dict, saved)


def run_command(
    model: str | type | None,
    dataset: str | None,
    config_file_list: list[str] | None,
    command_line: list[str] | None,
    config_dict: dict | None = None,
    saved: bool = True,
) -> dict:
    """``run`` with a command line of its own, every argument of which must be ``--key=value``. None stands for ``sys.argv``, where
    arguments that are no keys are left alone."""
    config = MultiModalConfig(model, dataset, config_file_list, config_dict, command_line)
    _check_encoder(config)
    if starts_others(config["nproc"]):
        arguments = (model, dataset, config_file_list, command_line, config_dict, saved)
        return launch(config["nproc"], config["use_gpu"], run_command, arguments)
    with recboles_own_failures():
        return _train(config, saved=saved, verbose=Ranks.current().rank == 0)


def objective_function(
    config_dict: dict | None = None, config_file_list: list[str] | None = None, saved: bool = True, tested: bool = True
) -> dict:  # fmt: skip
    """Makes one quiet run, as RecBole's HyperTuning does for each of its trials.

    Args:
        config_dict, config_file_list, saved: see ``run``.
        tested: whether the test part is read as well. Otherwise there are no results but those of the validation.

    Returns:
        What ``run`` returns, and the model's name under ``model``.

    Raises:
        InputError: as for ``run``.
    """
    config = MultiModalConfig(config_dict=config_dict, config_file_list=config_file_list)
    config["refit"] = False  # a trial is judged by its metrics alone
    _check_encoder(config)
    if starts_others(config["nproc"]):
        return launch(config["nproc"], config["use_gpu"], objective_function, (config_dict, config_file_list, saved, tested))
    with recboles_own_failures():
        return {"model": config["model"], **_train(config, saved=saved, verbose=False, tested=tested)}


def load_data_and_model(model_file: str, model_class: type | None = None) -> tuple:
    """Loads the run behind a checkpoint of one of our models or of RecBole's. A checkpoint of RecBole's is a pickle, which can run any
    code: name only files of your own.

    Args:
        model_file: the checkpoint.
        model_class: the class of the model, if it is neither one of ours nor one of RecBole's.

    Returns:
        config, model (in training mode), dataset, train_data, valid_data, test_data.

    Raises:
        InputError: there is no such checkpoint, or it does not fit the data set or the encoder that is there now.

    Users and items keep the ids of the checkpoint, whatever rows the data set has now. What is new or gone is named in the log: see
    ``KnownVocabulary``. Of a model that was refitted, train_data has all interactions.
    """
    checkpoint = load_checkpoint(model_file, pickled=True)
    config = config_of(checkpoint, model_class)
    start(config)
    data, loaders = data_of(config, checkpoint)
    model = build_model(config, loaders[0])
    warn_of_other_data(checkpoint, [loader._dataset for loader in loaders], model_file)
    load_state(config, model, checkpoint, model_file)
    return config, model, data, *loaders


def config_of(checkpoint: Mapping, model_class: type | None = None) -> MultiModalConfig:
    """The configuration of the run behind a checkpoint, on this machine's device."""
    stored = checkpoint["config"]
    config = MultiModalConfig.from_final(stored if isinstance(stored, dict) else stored.final_config_dict, model_class)
    config["tuned_encoder"] = checkpoint.get("tuned_encoder")
    return config


def data_of(config: MultiModalConfig, checkpoint: Mapping) -> tuple:
    """The data set that a checkpoint was trained on, with its ids and, where it stores one, its split; and the three loaders. Of a model
    that was refitted, the first one has all interactions."""
    init_seed(config["seed"], config["reproducibility"])  # which a split at random is drawn from
    data = create_dataset(config, checkpoint.get(TOKENS), checkpoint.get(SPLIT))
    data.keeps_order = True
    loaders = data_preparation(config, data)
    if REFIT in checkpoint:
        loaders = (everything(config, data), *loaders[1:])
    return data, loaders


def load_state(config: MultiModalConfig, model, checkpoint: Mapping, file: str) -> None:
    """Loads a checkpoint's weights into the model of its run.

    Raises:
        InputError: they do not fit.
    """
    (load_model_state if is_ours(config.model_class) else load_recbole_state)(model, checkpoint, file)


def _train(config: MultiModalConfig, saved: bool, verbose: bool, tested: bool = True) -> dict:
    result, dataset, file = _train_and_test(config, saved, verbose, tested)
    if config["refit"] and saved:
        result[REFIT] = refit(config, dataset, file, verbose)
        if "record" in result.get("files", {}):
            amend_record(result["files"]["record"], refit=result[REFIT])
    elif config["refit"]:
        getLogger().warning("refit: True makes the checkpoint, and this run keeps none: nothing is refitted")
    return result


def _train_and_test(config: MultiModalConfig, saved: bool, verbose: bool, tested: bool) -> tuple[dict, object, str]:
    """The result of a run, its data set, and the name of its checkpoint."""
    started = datetime.now(timezone.utc)
    find_dataset(config)
    progress, log = bool(config["show_progress"]) and verbose, getLogger().info
    with starting():
        start(config, silent=not verbose, held=verbose)
        log(str(config))
        if verbose:
            tell_run(config)
        before, source = trained_before(config), read_source(config)
        with Bar(desc=f"Reading {config['dataset']}", disable=not progress):
            dataset = read_dataset(config, before.get(TOKENS), before.get(SPLIT))
        log(str(dataset))
        if verbose:
            tell_data(dataset)
        train_data, valid_data, test_data = loaders = data_preparation(config, dataset)
        if config["resume"]:
            check_resumable(before, train_data._dataset, config["resume"])
        if verbose:
            tell_protocol(config, loaders)
            release_notices()
        model = build_model(config, train_data)
        log(str(model))
        if verbose:
            tell_model(model)
        trainer = build_trainer(config, model)
        if config["resume"]:
            trainer.resume_checkpoint(config["resume"])
        if source is not None:
            trainer.init_from = start_from(model, config, source)
    try:
        best_valid_score, valid = trainer.fit(train_data, valid_data, verbose=verbose, saved=saved, show_progress=progress)
        if not tested:
            found = {"best_valid_score": best_valid_score, "best_valid_result": floats(valid)}
            return {**found, "valid_score_bigger": config["valid_metric_bigger"]}, dataset, trainer.saved_model_file
        tested_run = measure_test(config, trainer, train_data, test_data, load_best=saved, show_progress=progress)
    finally:
        end_bars()
    result = {
        "best_valid_score": best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": floats(valid),
        **tested_run.results(),
    }
    if isinstance(trainer, TellsEpochs):
        result["cost"] = trainer.account.report(model, config["device"])
        log(cost_line(result["cost"]))
    if getattr(trainer, "init_from", None):
        result["init_from"] = trainer.init_from
    if verbose:
        result |= tell_and_record(config, trainer, loaders, result, tested_run, started)
    return result, dataset, trainer.saved_model_file


def _check_encoder(config: MultiModalConfig) -> None:
    if is_ours(config.model_class):
        check_encoder(EncoderSettings.from_config(config))


def start(config: MultiModalConfig, silent: bool = False, held: bool = False) -> None:
    """Seeds the random generators and opens the log, as every run does first.

    Args:
        silent, held: see ``start_log``.

    Raises:
        InputError: ``nproc`` is set, and the call is not part of ``run``, or the encoder's name is wrong.
    """
    _check_encoder(config)
    if starts_others(config["nproc"]):
        raise InputError("nproc works with run alone; start the other commands under torchrun to share their work among processes")
    init_seed(config["seed"], config["reproducibility"])
    start_log(config, silent, held)
    if config.data_set_settings and not held:
        getLogger().info(f"settings of the data set: {config.data_set_settings}")
    for notice in config.notices if Ranks.current().rank == 0 else ():
        getLogger().warning(notice)
