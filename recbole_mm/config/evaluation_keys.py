"""Checks of the keys that say how a model is evaluated: metrics, topk, valid_metric and eval_args."""

import re
from collections.abc import Collection, Mapping

from recbole.evaluator.register import metric_information, metric_types, metrics_dict, smaller_metrics
from recbole.utils import EvaluatorType, ModelType

from recbole_mm.config.kinds import is_amount
from recbole_mm.errors import InputError, nearest

OPTIONS = ("split", "order", "group_by", "mode")
ORDERS, GROUPS, LEAVE_OUT = ("RO", "TO"), ("user", "none"), ("valid_and_test", "valid_only", "test_only")
MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
MODES = "full, labeled, uni100 or pop100 (with any number of negatives)"
FORM = "such as {split: {RS: [0.8, 0.1, 0.1]}, order: RO, group_by: user, mode: full}"


def settle_valid_metric(settings: dict, given: Collection[str]) -> list[str]:
    """Takes the first metric, and the first k, where nobody says what selects the model and the default is not among metrics and topk.

    Args:
        settings: all of them, in which ``valid_metric`` is set.
        given: the keys that somebody has set.

    Returns:
        What the log should say.
    """
    metrics, topk, before = _listed(settings["metrics"]), _listed(settings["topk"]), settings["valid_metric"]
    known = [metric for metric in metrics if isinstance(metric, str) and metric.lower() in metrics_dict]
    if "valid_metric" in given or not known or not topk or not isinstance(before, str):
        return []
    name, _, k = before.partition("@")
    name = name if name.lower() in map(str.lower, known) else known[0]
    k = k if k in map(str, topk) else topk[0]
    settings["valid_metric"] = f"{name}@{k}" if _ranks(name) else name
    same = settings["valid_metric"].lower() == before.lower()
    return [] if same else [f"valid_metric is {settings['valid_metric']}: the default {before} is not among metrics and topk"]


def _listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _ranks(metric: str) -> bool:
    """Is it a metric of the first k items?"""
    return any(need in ("rec.topk", "rec.items") for need in metric_information[metric.lower()])


def check_metrics(settings: Mapping, given: Mapping) -> None:
    """Checks metrics, topk and valid_metric, whose kinds are right. Whether ``eval_args`` allow them follows in ``check_mode``.

    Args:
        settings: all of them.
        given: those that somebody has set.

    Raises:
        InputError: there is no such metric, or they do not go together.
    """
    metrics = _listed(settings["metrics"])
    unknown = [f"'{metric}'{nearest(metric, _names())}" for metric in metrics if metric.lower() not in metrics_dict]
    if unknown:
        raise InputError(f"metrics: there is no {', no '.join(unknown)}; there are {', '.join(_names())}")
    values = [metric for metric in metrics if metric_types[metric.lower()] == EvaluatorType.VALUE]
    if values and len(values) < len(metrics):
        rankings = ", ".join(metric for metric in metrics if metric not in values)
        raise InputError(f"metrics: {rankings} are for rankings, and {', '.join(values)} for labels; take one kind")
    _check_valid_metric(str(settings["valid_metric"]), metrics, settings["topk"], given)


def _names() -> list[str]:
    return [metric.__name__ for metric in metrics_dict.values()]


def _check_valid_metric(valid: str, metrics: list[str], topk: object, given: Mapping) -> None:
    """The metric that selects the model is one of the metrics, at one of the values of k."""
    name, at, k = valid.partition("@")
    if name.lower() not in [metric.lower() for metric in metrics]:
        known = [metric for metric in metrics_dict if metric not in map(str.lower, metrics)]
        raise InputError(
            f"valid_metric {valid}: '{name}' is not in metrics {metrics}" + ("" if name.lower() in known else nearest(name, metrics))
        )
    topk = _listed(topk)
    ranks = _ranks(name)
    if ranks and not (k.isdigit() and int(k) in topk):
        raise InputError(f"valid_metric {valid}: {f'{k} is not in' if at else 'it needs an @k of'} topk {topk}")
    if at and not ranks:
        raise InputError(f"valid_metric {valid}: {name} has no @k")
    bigger = name.lower() not in smaller_metrics
    if given.get("valid_metric_bigger", bigger) != bigger:
        raise InputError(f"valid_metric_bigger {not bigger}: a {'bigger' if bigger else 'smaller'} {name} is better; leave it out")


def check_eval_args(value: object) -> None:
    """Checks the form of eval_args.

    Raises:
        InputError: naming the option and what it may be.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"eval_args '{'~' if value is None else value}': a mapping {FORM}")
    for option in value:
        if option not in OPTIONS:
            raise InputError(f"eval_args: there is no '{option}'{nearest(str(option), OPTIONS)}; it is a mapping {FORM}")
    _check_split(value.get("split", {"LS": "valid_only"}))
    if value.get("order", "RO") not in ORDERS:
        raise InputError(f"eval_args: order '{value['order']}' is neither RO (random) nor TO (by time)")
    if "TS" in (value.get("split") or {}) and value.get("order", "RO") != "TO":
        raise InputError("eval_args: split TS cuts each user's interactions by time, which RecBole does only in their order: add order: TO")
    if value.get("group_by") is not None and str(value["group_by"]).lower() not in GROUPS:
        raise InputError(f"eval_args: group_by '{value['group_by']}' is neither user nor none")
    mode = value.get("mode", "full")
    modes = mode if isinstance(mode, Mapping) and mode and set(mode) <= {"valid", "test"} else {"valid": mode}
    for part in modes.values():
        if not (isinstance(part, str) and MODE.fullmatch(part)):
            raise InputError(f"eval_args: mode '{part}' is none of {MODES}; a mapping of valid and test may give each its own")


def _check_split(split: object) -> None:
    if not (isinstance(split, Mapping) and len(split) == 1):
        raise InputError(f"eval_args: split '{split}': one of {{RS: [0.8, 0.1, 0.1]}}, {{LS: valid_and_test}} and {{TS: [0.8, 0.1, 0.1]}}")
    ((way, parts),) = split.items()
    if way not in ("RS", "LS", "TS"):
        raise InputError(f"eval_args: split by '{way}': there are RS (ratios), LS (leave one out) and TS (ratios by time)")
    if way == "LS" and parts not in LEAVE_OUT:
        raise InputError(f"eval_args: split LS '{parts}' is none of {', '.join(LEAVE_OUT)}{nearest(str(parts), LEAVE_OUT)}")
    if way != "LS" and not (isinstance(parts, list) and len(parts) == 3 and all(map(is_amount, parts)) and parts[0] > 0):
        raise InputError(f"eval_args: split {way} '{parts}': three shares for training, validation and test, such as [0.8, 0.1, 0.1]")


def check_mode(settings: Mapping) -> None:
    """Checks that the metrics can be had under the modes of ``eval_args``.

    Raises:
        InputError: naming the metrics and the mode that they need.
    """
    mode = settings["eval_args"].get("mode", "full")
    modes = set(mode.values()) if isinstance(mode, Mapping) else {mode}
    metrics = _listed(settings["metrics"])
    of_values = metric_types[metrics[0].lower()] == EvaluatorType.VALUE
    if not of_values and "labeled" in modes:
        raise InputError(f"eval_args: mode labeled compares scores with labels, and metrics {', '.join(metrics)} rank items: set "
                         "mode: full, or metrics such as [AUC, LogLoss] with a valid_metric among them")  # fmt: skip
    if of_values and "full" in modes:
        raise InputError(f"eval_args: mode full ranks all items, and metrics {', '.join(metrics)} compare scores with labels: set "
                         "mode: labeled, or metrics such as [Recall, NDCG] with a valid_metric among them")  # fmt: skip


def check_masks(config: Mapping) -> None:
    """Checks that a sequential model's ``mask_history: True`` can be done.

    Raises:
        InputError: naming the other key, and what to do.
    """
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL or not config["mask_history"]:
        return
    if "full" not in config["eval_args"]["mode"].values():
        raise InputError("mask_history: True is for a ranking of all items (eval_args: {mode: full}), and sampled candidates are none "
                         "that a user had before: leave it out")  # fmt: skip
    if not config["mask_valid_items"]:
        raise InputError("mask_history: True masks all that a user had before, the item of the validation as well, which mask_valid_items: "
                         "False does not: leave one of the two out")  # fmt: skip
