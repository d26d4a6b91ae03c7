"""What configuration keys may hold: what would fail later, be silently ignored, or train nothing is said at once."""

from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path

from recbole.evaluator import TopkMetric
from recbole.evaluator.register import metrics_dict
from torch import nn

from recbole_mm.config.modalities import READABLE, trains_encoder
from recbole_mm.config.registry import is_ours
from recbole_mm.errors import InputError, nearest
from recbole_mm.parallel.ranks import Ranks

COUNTS = (
    "epochs", "train_batch_size", "embedding_size", "encoder_image_size", "encoder_last_k", "lora_rank",
    "refresh_every", "adapter_dim", "side_dim", "accumulation_steps", "finetune_epochs", "finetune_batch_size",
)  # fmt: skip
MODEL_COUNTS = ("n_layers", "n_item_layers", "knn_k", "item_graph_every", "feature_size")
SHARES = ("id_dropout", "edge_dropout", "dropout", "dropout_rate", "finetune_valid_ratio")
POSITIVE = ("temperature", "ssl_temp")
WHOLE = ("seed", "eval_step", "stopping_step", "encoder_warmup_steps", "finetune_warmup_steps", "finetune_stopping_step")
AMOUNTS = (
    "learning_rate", "weight_decay", "encoder_weight_decay", "contrastive_weight", "id_init_std", "reg_weight", "content_reg_weight",
    "max_broken_images", "lora_alpha", "cl_weight", "ssl_alpha",
)  # fmt: skip
CHOICES = {
    "encoder_training": ("pretrained", "finetuned", "end2end"),
    "encoder_tuning": ("full", "last_k", "lora", "adapter", "bitfit", "side"),
    "trust_remote_code": (True, False),
    "missing": ("learned", "mean", "zero", "neighbours"),
    "gradient_checkpointing": (True, False),
    "encoder_compile": (True, False),
    "cache_hidden_states": (True, False),
    "feature_dtype": ("fp32", "fp16"),
    "encoder_precision": ("fp32", "bf16"),
    "strategy": ("ddp", "fsdp"),
    "learning_rate_schedule": ("constant", "cosine"),
}
SWITCHES = ("error_if_nonfinite", "foreach")
CLIPPING = ("max_norm", "norm_type", *SWITCHES)
"""What torch's clip_grad_norm_ takes, which has a default for all but the first."""
OBJECTIVES = ("itc", "itm", "mlm", "clce", "interaction")
NAMES = ("encoder", "encoder_tokenizer", "category_field", "image_dir", "data_path", "cache_dir")
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
MAY_BE_EMPTY = ("encoder", "text_field", "image_dir")
NO_PICKLES = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")

Config = Mapping


def check_values(config: Config) -> None:
    """Raises InputError naming the key and what it may be."""
    _check_metrics(config)
    _check(config, ("eval_batch_size",), lambda v: v == "auto" or _whole(v) and v > 0, "a positive number, or auto")
    _check(config, COUNTS, lambda v: _whole(v) and v > 0, "a positive whole number")
    _check(config, WHOLE, lambda v: _whole(v) and v >= 0, "a whole number that is not negative")
    _check(config, ("learning_rate", "weight_decay"), _amount, "a number that is not negative")
    _check(config, ("clip_grad_norm",), lambda v: v is None or _clipping(v), "a mapping such as {max_norm: 1.0} (with norm_type, also "
           "positive, and error_if_nonfinite and foreach, True or False, if wanted), or ~")  # fmt: skip
    _check(config, ("resume", "cold_items"), _name, "the path of a file")
    _check(config, ("cold_item_ratio",), lambda v: _amount(v) and v < 1, "a share below 1")
    _check(config, ("mask_valid_items",), lambda v: isinstance(v, bool), "True or False")
    _check(config, ("negative_items",), lambda v: v in ("all", "training"), "all or training")
    _check(config, ("checkpoint_dir",), _name, "a folder")
    if Path(config["checkpoint_dir"]).is_file():
        raise InputError(f"checkpoint_dir {config['checkpoint_dir']} is a file, not a folder")
    if is_ours(config.model_class):
        _check_ours(config)


def _check_ours(config: Config) -> None:
    for key, choices in {**CHOICES, **config.model_class.choices}.items():
        if config[key] not in choices:
            raise InputError(f"{key} '{config[key]}' is none of {', '.join(map(str, choices))}"
                             f"{nearest(str(config[key]), map(str, choices))}")  # fmt: skip
    _check(config, AMOUNTS, _amount, "a number that is not negative")
    _check(config, MODEL_COUNTS, lambda v: _whole(v) and v > 0, "a positive whole number")
    _check(config, SHARES, lambda v: _amount(v) and v < 1, "a share below 1")
    _check(config, POSITIVE, lambda v: _amount(v) and v > 0, "a positive number")
    _check(config, ("layer_decay",), lambda v: _amount(v) and 0 < v <= 1, "a number above 0, at most 1")
    _check(config, ("lambda_coeff",), lambda v: _amount(v) and v <= 1, "a share")
    _check(config, ("encoder_chunk_size",), lambda v: v == "auto" or _whole(v) and v > 0, "a positive whole number, or auto")
    rates = ("encoder_learning_rate", "finetune_learning_rate")
    _check(config, rates, lambda v: v == "auto" or _amount(v), "a number that is not negative, or auto")
    _check(config, ("encoder_freeze_epochs",), lambda v: v == "auto" or _whole(v) and v >= 0, "a number of epochs, or auto")
    _check(config, NAMES, _name, "a name")
    _check(config, ("learner",), lambda v: _name(v) and v.lower() in LEARNERS, f"one of {', '.join(LEARNERS)} (no gradient is sparse here)")
    _check(config, ("finetune_weights",), _weights, f"weights that are not negative of some of {', '.join(OBJECTIVES)}, such as "
           "{itc: 1, interaction: 0.5}; what is not named has none")  # fmt: skip
    _check(config, ("finetune_batch_size",), lambda v: v > 1, "2 at least: a batch's items are each other's negatives")
    _check(config, ("text_field", "modalities"), _names, "a list of names")
    _check_feature_files(config)
    for key in NO_PICKLES:
        if config[key]:
            raise InputError(f"{key}: RecBole's pickled data sets do not notice changed pictures and texts; leave it out")
    _check_combinations(config)


def _check_feature_files(config: Config) -> None:
    _check(config, ("feature_files",), _files, "a mapping from modality to file, such as {image: image_feat.npy, text: text_feat.npy}")
    _check(config, ("feature_ids",), lambda v: _name(v) or _files(v), "a file that names rows, or row; or a mapping from modality to such")
    files = config["feature_files"] or {}
    for modality in files:
        if not modality.isidentifier() or hasattr(nn.ParameterDict, modality):
            raise InputError(f"feature_files: '{modality}' cannot be the name of a modality; call it image, text, audio or the like")
    for modality in config["modalities"] or []:
        if modality not in (*files, *READABLE):
            raise InputError(f"modalities: '{modality}' is in no feature file, and an encoder reads {', '.join(READABLE)} alone"
                             f"{nearest(modality, (*files, *READABLE))}")  # fmt: skip


def _check_combinations(config: Config) -> None:
    live = trains_encoder(config)
    if config["use_id"] is False and config["modalities"] == []:
        raise InputError("use_id: False and modalities: [] leave nothing to recommend by")
    if config["loss_type"] == "BPR" and config["train_neg_sample_args"]["distribution"] == "none":
        raise InputError("loss_type: BPR needs negatives, and train_neg_sample_args gives none; leave it out, or use loss_type: SSM")
    if config["loss_type"] == "SSM" and config["train_batch_size"] * max(config["nproc"] or 1, Ranks.current().world) == 1:
        raise InputError("loss_type: SSM takes negatives from the batch, and train_batch_size 1 has none; raise it, or set loss_type: BPR")
    if live and config["encoder_freeze_epochs"] != "auto" and config["encoder_freeze_epochs"] >= config["epochs"]:
        raise InputError(
            f"encoder_freeze_epochs {config['encoder_freeze_epochs']} of {config['epochs']} epochs: the encoder would never train; "
            "lower it, or set encoder_training: pretrained"
        )
    if live and config["train_neg_sample_args"].get("dynamic"):
        raise InputError("train_neg_sample_args: dynamic encodes the catalogue at every step; set encoder_training: pretrained")
    if (config["encoder_training"], config["encoder_tuning"]) == ("finetuned", "side"):
        raise InputError("encoder_tuning: side trains beside an encoder (encoder_training: end2end), and adapts none; choose another")
    if config["cache_hidden_states"] and (config["encoder_training"], config["encoder_tuning"]) != ("end2end", "last_k"):
        raise InputError("cache_hidden_states: True is for encoder_training: end2end with encoder_tuning: last_k, under which the lower "
                         "blocks stay as they are; leave it out")  # fmt: skip
    if config["gradient_checkpointing"] and config["encoder_tuning"] == "side":
        raise InputError("gradient_checkpointing: True with encoder_tuning: side, under which no block of the encoder runs; leave it out")
    if config["strategy"] == "fsdp" and (not live or config["encoder_tuning"] == "side"):
        raise InputError("strategy: fsdp shards an encoder that trains (encoder_training: end2end, any encoder_tuning but side), and none "
                         "does here; leave it out")  # fmt: skip
    if config["strategy"] == "fsdp" and config["enable_scaler"]:
        raise InputError("strategy: fsdp with enable_scaler: torch cannot scale losses for sharded and whole parameters together; set "
                         "enable_scaler: False, and encoder_precision: bf16 to compute in half precision")  # fmt: skip
    if config["cache_hidden_states"] and not live:
        raise InputError("cache_hidden_states: True, and no encoder that trains; leave it out")
    if config["encoder_compile"] and (config["cache_hidden_states"] or config["encoder_tuning"] == "side"):
        raise InputError("encoder_compile: True with cache_hidden_states or encoder_tuning: side, which cut the encoder open; leave it out")


def _check_metrics(config: Config) -> None:
    valid, metrics, topk = str(config["valid_metric"]), config["metrics"], config["topk"]
    name, at, k = valid.partition("@")
    if name.lower() not in [str(metric).lower() for metric in metrics]:
        raise InputError(f"valid_metric {valid}: '{name}' is not in metrics {metrics}")
    wants_k = issubclass(metrics_dict[name.lower()], TopkMetric)
    if wants_k and not (k.isdigit() and int(k) in topk):
        raise InputError(f"valid_metric {valid}: {f'{k} is not in' if at else 'it needs an @k of'} topk {topk}")
    if at and not wants_k:
        raise InputError(f"valid_metric {valid}: {name} has no @k")


def _check(config: Config, keys: tuple[str, ...], valid: Callable[[object], bool], what: str) -> None:
    """What has a value by default has one, but for ``MAY_BE_EMPTY``."""
    for key in keys:
        value = config[key]
        if not valid(value) and not (value is None and (key in MAY_BE_EMPTY or config.internal_config_dict.get(key) is None)):
            raise InputError(f"{key} '{'~' if value is None else value}': {what}")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _amount(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value >= 0


def _name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _files(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(map(_name, (*value, *value.values())))


def _clipping(value: object) -> bool:
    known = isinstance(value, Mapping) and "max_norm" in value and set(value) <= set(CLIPPING)
    return known and all(isinstance(given, bool) if key in SWITCHES else _amount(given) and given > 0 for key, given in value.items())


def _weights(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) <= set(OBJECTIVES) and all(map(_amount, value.values())) and any(value.values())


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
