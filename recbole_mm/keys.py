"""Which configuration keys exist, and what ours may hold."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import yaml
from recbole.utils import argument_list

from recbole_mm.errors import InputError, nearest
from recbole_mm.model import is_ours
from recbole_mm.properties import RECBOLE_PROPERTIES, properties_dir

COMMAND_KEYS = {"model", "dataset", "config_files", "nproc", "ip", "port", "world_size", "group_offset"}
ABBREVIATIONS = {"lr": "learning_rate", "wd": "weight_decay"}
CHOICES = {
    "encoder_training": ("pretrained", "end2end"),
    "missing": ("learned", "mean", "zero"),
}
NON_NEGATIVE = (
    "encoder_weight_decay", "encoder_warmup_steps", "contrastive_weight", "id_dropout", "reg_weight", "max_broken_images",
)  # fmt: skip


@lru_cache
def our_keys() -> set[str]:
    """The keys that our property files add to RecBole's."""
    files = [properties_dir() / "overall.yaml", *(properties_dir() / "model").glob("*.yaml")]
    return set().union(*(_keys_of(file) for file in files)) - recbole_keys()


@lru_cache
def recbole_keys() -> set[str]:
    """The keys of RecBole's property files, its argument lists, and every ``config["..."]`` in its source."""
    keys = set(COMMAND_KEYS)
    for name in ("general_arguments", "training_arguments", "evaluation_arguments", "dataset_arguments"):
        keys.update(getattr(argument_list, name))
    for file in RECBOLE_PROPERTIES.rglob("*.yaml"):
        if "url" not in file.stem:
            keys.update(_keys_of(file))
    for file in RECBOLE_PROPERTIES.parent.rglob("*.py"):
        keys.update(re.findall(r"config\[\s*[\"'](\w+)[\"']\s*\]", file.read_text(encoding="utf-8")))
    return keys


def unknown_keys(keys: Iterable[str]) -> list[str]:
    """Those that neither RecBole nor recbole_mm knows."""
    known = our_keys() | recbole_keys()
    return [key for key in keys if key not in known]


def check_keys(keys: Iterable[str], ours: bool) -> None:
    """RecBole's models take any key, as in RecBole, but one that is nearly a key of ours; our models take known keys only.

    Raises:
        InputError: naming the unknown key and the nearest known one.
    """
    for key in unknown_keys(keys):
        spelt_out = "_".join(ABBREVIATIONS.get(part, part) for part in key.split("_"))
        hint = nearest(spelt_out, our_keys(), cutoff=0.5 if ours else 0.85)
        if ours or hint:
            raise InputError(f"unknown key '{key}'{hint or nearest(key, recbole_keys())}")


def check_values(config: Mapping) -> None:
    """Values and combinations that would fail later, or be silently ignored.

    Raises:
        InputError: naming the key and what it may be.
    """
    _check_valid_metric(config)
    batch = config["eval_batch_size"]
    if batch != "auto" and not (isinstance(batch, int) and batch > 0):
        raise InputError(f"eval_batch_size '{batch}': a positive number, or auto")
    if not is_ours(config.model_class):
        return
    for key, choices in {**CHOICES, **config.model_class.choices}.items():
        if config[key] not in choices:
            raise InputError(f"{key} '{config[key]}' is none of {', '.join(map(str, choices))}{nearest(str(config[key]), choices)}")
    for key in NON_NEGATIVE:
        value = config[key]
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            raise InputError(f"{key} '{value}': a number that is not negative")
    if not 0 <= (config["id_dropout"] or 0) < 1:
        raise InputError(f"id_dropout {config['id_dropout']}: below 1")
    rate = config["encoder_learning_rate"]
    if rate != "auto" and not (isinstance(rate, int | float) and rate >= 0):
        raise InputError(f"encoder_learning_rate '{rate}': a number that is not negative, or auto")
    if not isinstance(config["encoder_chunk_size"], int) or config["encoder_chunk_size"] < 1:
        raise InputError(f"encoder_chunk_size '{config['encoder_chunk_size']}': a positive number of items")
    if config["use_id"] is False and config["modalities"] == []:
        raise InputError("use_id: False and modalities: [] leave nothing to recommend by")


def _check_valid_metric(config: Mapping) -> None:
    name, _, k = str(config["valid_metric"]).partition("@")
    metrics = [metric.lower() for metric in config["metrics"]]
    if name.lower() not in metrics:
        raise InputError(f"valid_metric {config['valid_metric']}: '{name}' is not in metrics {config['metrics']}")
    if k and (not k.isdigit() or int(k) not in config["topk"]):
        raise InputError(f"valid_metric {config['valid_metric']}: {k} is not in topk {config['topk']}; add it to topk")


def _keys_of(file: Path) -> set[str]:
    return set(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
