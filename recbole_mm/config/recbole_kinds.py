"""What RecBole's own keys must hold. RecBole checks few of them: a wrong value fails somewhere in training, or is silently replaced."""

import re
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite

import yaml

from recbole_mm.config.kinds import (
    AMOUNT,
    COUNT,
    FOLDER,
    NAME,
    NAMES,
    SWITCH,
    WHOLE,
    Kind,
    choice,
    is_amount,
    is_name,
    is_number,
    is_whole,
)  # fmt: skip
from recbole_mm.config.negatives import NEGATIVES
from recbole_mm.config.parse import parse_scalar
from recbole_mm.config.properties import SAFE_LOADER, recbole_properties

LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
STATES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LARGEST_SEED = 2**32 - 1
SWITCHES = ("error_if_nonfinite", "foreach")
CLIPPING_OPTIONS = ("max_norm", "norm_type", *SWITCHES)
"""What torch's clip_grad_norm_ takes. All but the first have defaults there."""


def is_clipping(value: object) -> bool:
    """Is it empty, or can torch's ``clip_grad_norm_`` be called with these options?"""
    if value is None:
        return True
    known = isinstance(value, Mapping) and "max_norm" in value and set(value) <= set(CLIPPING_OPTIONS)
    return known and all(isinstance(given, bool) if key in SWITCHES else is_amount(given) and given > 0 for key, given in value.items())


def is_gpu_id(value: object) -> bool:
    """Is it the number of a GPU, several numbers, or empty?"""
    numbers = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    return value == "" or all(str(number).strip().isdigit() for number in numbers)


def is_topk(value: object) -> bool:
    return all(is_whole(k) and k > 0 for k in value) and bool(value) if isinstance(value, list) else is_whole(value) and value > 0


def is_columns(value: object) -> bool:
    """Is it empty, or does it map files to all (``~`` or ``*``) or some of their columns?"""
    return value is None or isinstance(value, Mapping) and all(c is None or c == "*" or NAMES.accepts(c) for c in value.values())


CLIPPING = Kind("dict", "a mapping such as {max_norm: 1.0} (if wanted also norm_type, which is positive, and error_if_nonfinite and "
                "foreach, which are True or False), or ~", is_clipping)  # fmt: skip
LEARNER = Kind("str", f"one of {', '.join(LEARNERS)} (no gradient is sparse here)", lambda v: is_name(v) and v.lower() in LEARNERS)
RATE = Kind("float", AMOUNT.words, lambda v: is_amount(v) and isfinite(v))
SEED = Kind("int", f"a whole number from 0 to {LARGEST_SEED}", lambda v: is_whole(v) and 0 <= v <= LARGEST_SEED)
STATE = Kind("str", f"one of {', '.join(STATES)}", lambda v: is_name(v) and v.upper() in STATES)
GPU = Kind("str", "the number of a GPU, numbers joined by commas, or '' for the CPU", is_gpu_id)
TOPK = Kind("list", "a positive whole number, or a list of them such as [10, 20]", is_topk)
METRIC = Kind("str", "a metric's name, such as Recall@10", is_name)
METRICS = Kind("list", "a list of metrics such as [Recall, NDCG]", lambda v: is_name(v) or NAMES.accepts(v) and bool(v))
DATA_PATH = Kind("str", "the folder that holds the data sets' folders", is_name)
TRANSFORM = choice("mask_itemseq", "inverse_itemseq", "crop_itemseq", "reorder_itemseq", "user_defined")
BUCKETS = Kind("dict", "a mapping from column to its buckets, such as {age: {method: ED, bucket: 10}}",
               lambda v: isinstance(v, Mapping) and all(isinstance(way, Mapping) and "method" in way for way in v.values()))  # fmt: skip
SUFFIXES = Kind("list", "a suffix of feature files, or a list of them", lambda v: is_name(v) or NAMES.accepts(v))
COLUMNS = Kind("dict", "a mapping from file to its columns, such as {inter: [user_id, item_id]}, or ~", is_columns)

COMMON_KINDS: Mapping[str, Kind] = {
    "gpu_id": GPU, "use_gpu": SWITCH, "worker": WHOLE, "seed": SEED, "state": STATE, "reproducibility": SWITCH, "data_path": DATA_PATH,
    "checkpoint_dir": FOLDER, "show_progress": SWITCH, "log_wandb": SWITCH, "wandb_project": NAME, "shuffle": SWITCH, "epochs": COUNT,
    "train_batch_size": COUNT, "learner": LEARNER, "learning_rate": RATE, "train_neg_sample_args": NEGATIVES, "eval_step": WHOLE,
    "stopping_step": WHOLE, "clip_grad_norm": CLIPPING, "weight_decay": RATE, "loss_decimal_place": WHOLE, "require_pow": SWITCH,
    "enable_amp": SWITCH, "enable_scaler": SWITCH, "repeatable": SWITCH, "metrics": METRICS, "topk": TOPK, "valid_metric": METRIC,
    "valid_metric_bigger": SWITCH, "metric_decimal_place": WHOLE, "embedding_size": COUNT, "field_separator": NAME, "seq_separator": NAME,
    "USER_ID_FIELD": NAME, "ITEM_ID_FIELD": NAME, "RATING_FIELD": NAME, "TIME_FIELD": NAME, "LABEL_FIELD": NAME, "NEG_PREFIX": NAME,
    "ITEM_LIST_LENGTH_FIELD": NAME, "LIST_SUFFIX": NAME, "POSITION_FIELD": NAME, "MAX_ITEM_LIST_LENGTH": COUNT, "load_col": COLUMNS,
    "unload_col": COLUMNS, "unused_col": COLUMNS, "transform": TRANSFORM, "discretization": BUCKETS, "additional_feat_suffix": SUFFIXES,
    "filter_inter_by_user_or_item": SWITCH, "rm_dup_inter": choice("first", "last"), "encoding": NAME,
    "tail_ratio": AMOUNT, "numerical_features": NAMES,
}  # fmt: skip
"""The keys that are read whatever the model."""

COMMENT = re.compile(r"^(\w[\w-]*)\s*:.*#\s*\((?P<type>[^)]*)\)(?P<rest>.*)$", re.MULTILINE)
RANGE = re.compile(r"[Rr]ange in\W*\[([^\]]*)\]")
TYPES: Mapping[str, Kind] = {
    "int": Kind("int", "a whole number", is_whole),
    "float": Kind("float", "a number", is_number),
    "bool": SWITCH,
    "str": NAME,
    "list of str": NAMES,
    "list of int": Kind("list", "a list of whole numbers", lambda v: isinstance(v, list | tuple) and all(map(is_whole, v))),
    "list of float": Kind("list", "a list of numbers", lambda v: isinstance(v, list | tuple) and all(map(is_number, v))),
}


@lru_cache
def kinds_of_model(name: str) -> dict[str, Kind]:
    """What the keys of one of RecBole's models must hold, as the comments in its property file say it. A comment that its own default does
    not agree with says nothing."""
    file = recbole_properties() / "model" / f"{name}.yaml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    content = yaml.load(text, Loader=SAFE_LOADER) or {}
    defaults = {key: parse_scalar(value) if isinstance(value, str) else value for key, value in content.items()}
    found: dict[str, Kind] = {}
    for match in COMMENT.finditer(text):
        key, kind, listed = match[1], TYPES.get(match["type"].strip()), RANGE.search(match["rest"])
        if kind is None or key not in defaults or key in COMMON_KINDS:
            continue
        if kind is NAME and listed:
            kind = choice(*re.findall(r"[\w-]+", listed[1]))
        elif kind.type == "int" and is_whole(defaults[key]) and defaults[key] >= 0:
            kind = WHOLE
        if kind.accepts(defaults[key]):
            found[key] = kind
    return found
