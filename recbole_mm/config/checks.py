"""Checks of a configuration's values, each by itself: what would fail later or be silently ignored is said at once."""

from collections.abc import Mapping
from pathlib import Path

from recbole.evaluator import TopkMetric
from recbole.evaluator.register import metrics_dict
from torch import nn

from recbole_mm.config.combinations import check_combinations
from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import AMOUNT, COUNT, EVERY_MODEL, FOLDER, WHOLE, Kind, is_amount, is_name
from recbole_mm.config.modalities import READABLE
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.registry import is_ours
from recbole_mm.errors import InputError, nearest

SWITCHES = ("error_if_nonfinite", "foreach")
CLIPPING_OPTIONS = ("max_norm", "norm_type", *SWITCHES)
"""What torch's clip_grad_norm_ takes. All but the first have defaults there."""
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
PICKLES = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")


def is_clipping(value: object) -> bool:
    """Is it empty, or can torch's ``clip_grad_norm_`` be called with these options?"""
    if value is None:
        return True
    known = isinstance(value, Mapping) and "max_norm" in value and set(value) <= set(CLIPPING_OPTIONS)
    return known and all(isinstance(given, bool) if key in SWITCHES else is_amount(given) and given > 0 for key, given in value.items())


CLIPPING = Kind("dict", "a mapping such as {max_norm: 1.0} (if wanted also norm_type, which is positive, and error_if_nonfinite and "
                "foreach, which are True or False), or ~", is_clipping)  # fmt: skip
LEARNER = Kind("str", f"one of {', '.join(LEARNERS)} (no gradient is sparse here)", lambda v: is_name(v) and v.lower() in LEARNERS)
RECBOLE_KINDS = {
    "epochs": COUNT, "train_batch_size": COUNT, "embedding_size": COUNT, "seed": WHOLE, "eval_step": WHOLE, "stopping_step": WHOLE,
    "learning_rate": AMOUNT, "weight_decay": AMOUNT, "clip_grad_norm": CLIPPING, "checkpoint_dir": FOLDER,
}  # fmt: skip
"""What keys of RecBole must hold, whatever the model."""


def check_values(config: Mapping) -> None:
    """Checks a merged configuration (RecBole's ``Config``) before anything is built from it.

    Raises:
        InputError: naming the key and what it may be.
    """
    ours = is_ours(config.model_class)
    _check_metrics(config)
    for name, kind in ({**RECBOLE_KINDS, "learner": LEARNER} if ours else RECBOLE_KINDS).items():
        _check(config, name, kind)
    keys = KEYS if ours else {name: key for name, key in KEYS.items() if key.belongs_to == EVERY_MODEL}
    for name, key in {**keys, **declared_keys(config.model_class)}.items():
        _check(config, name, key.kind, key.may_be_empty)
    if Path(config["checkpoint_dir"]).is_file():
        raise InputError(f"checkpoint_dir {config['checkpoint_dir']} is a file, not a folder")
    if ours:
        _check_modalities(config)
        for name in PICKLES:
            if config[name]:
                raise InputError(f"{name}: RecBole's pickled data sets do not notice changed pictures and texts; leave it out")
        check_combinations(config)


def _check(config: Mapping, name: str, kind: Kind, may_be_empty: bool = False) -> None:
    """A key that has a value by default has one, unless it ``may_be_empty``."""
    value = config[name]
    empty = value is None and (may_be_empty or config.internal_config_dict.get(name) is None)
    if not empty and not kind.accepts(value):
        raise InputError(kind.complaint(name, value))


def _check_modalities(config: Mapping) -> None:
    """Every modality has a name that torch can give to a parameter, and comes from a file or from the encoder."""
    files = config["feature_files"] or {}
    for modality in files:
        if not modality.isidentifier() or hasattr(nn.ParameterDict, modality):
            raise InputError(f"feature_files: '{modality}' cannot be the name of a modality; call it image, text, audio or the like")
    for modality in config["modalities"] or []:
        if modality not in (*files, *READABLE):
            raise InputError(f"modalities: '{modality}' is in no feature file, and an encoder reads only {', '.join(READABLE)}"
                             f"{nearest(modality, (*files, *READABLE))}")  # fmt: skip


def _check_metrics(config: Mapping) -> None:
    """The metric that selects the model is one of the metrics, at one of the values of k."""
    valid, metrics, topk = str(config["valid_metric"]), config["metrics"], config["topk"]
    name, at, k = valid.partition("@")
    if name.lower() not in [str(metric).lower() for metric in metrics]:
        raise InputError(f"valid_metric {valid}: '{name}' is not in metrics {metrics}")
    needs_k = issubclass(metrics_dict[name.lower()], TopkMetric)
    if needs_k and not (k.isdigit() and int(k) in topk):
        raise InputError(f"valid_metric {valid}: {f'{k} is not in' if at else 'it needs an @k of'} topk {topk}")
    if at and not needs_k:
        raise InputError(f"valid_metric {valid}: {name} has no @k")
