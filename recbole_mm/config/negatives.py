"""The negatives of training (``train_neg_sample_args``), and whether they go with the model's loss."""

from collections.abc import Mapping

from recbole.utils import ModelType

from recbole_mm.config.kinds import Kind, is_amount, is_whole
from recbole_mm.config.registry import is_ours
from recbole_mm.errors import InputError

DISTRIBUTIONS = ("uniform", "popularity", "none", "None")
WITHOUT_NEGATIVES = ("SSM", "sampled_softmax", "DirectAU", "InfoNCE", "bootstrap")
"""The losses of our general models that take no negatives of RecBole's samplers."""
SEQUENCES_WITHOUT_NEGATIVES = ("auto", "CE", "SSM")
"""The same of our sequence models."""
NEGATIVES_HOLD = {
    "distribution": lambda v: v is None or v in DISTRIBUTIONS, "sample_num": lambda v: is_whole(v) and v > 0 or v == "none",
    "alpha": lambda v: is_amount(v) or v == "none", "dynamic": lambda v: isinstance(v, bool), "candidate_num": is_whole,
}  # fmt: skip


def is_negatives(value: object) -> bool:
    """Is it empty, or a mapping that RecBole's samplers understand?"""
    if value is None or value == "None":
        return True
    known = isinstance(value, Mapping) and set(value) <= set(NEGATIVES_HOLD)
    fits = known and all(NEGATIVES_HOLD[key](given) for key, given in value.items())
    return fits and not (value.get("dynamic") and value.get("candidate_num", 0) < 1)


NEGATIVES = Kind("dict", "a mapping such as {distribution: uniform, sample_num: 1} (if wanted also alpha, and dynamic: True with a "
                 f"positive candidate_num; distribution is one of {', '.join(DISTRIBUTIONS[:3])}), or ~", is_negatives)  # fmt: skip


def wants_negatives(value: Mapping | str | None) -> bool:
    """Do these ``train_neg_sample_args`` ask for negatives? ``none`` is written in several ways."""
    return value not in (None, "None") and value.get("distribution", "uniform") not in (None, "none", "None")


def takes_no_negatives(model_class: type, loss: object) -> bool:
    """Is it a loss of one of our models that takes no negatives of RecBole's samplers?"""
    if not is_ours(model_class):
        return False
    return loss in (SEQUENCES_WITHOUT_NEGATIVES if model_class.type == ModelType.SEQUENTIAL else WITHOUT_NEGATIVES)


def settle_negatives(settings: dict, given: Mapping, model_class: type) -> list[str]:
    """Leaves negatives out where the loss takes none.

    Args:
        settings: the merged settings, in which ``train_neg_sample_args`` is set to ~ where there are to be none.
        given: the settings that somebody has set.

    Returns:
        What the log should say.

    Raises:
        InputError: somebody wants negatives for a loss of RecBole's that takes none.
    """
    loss, name = settings.get("loss_type"), model_class.__name__
    wanted = wants_negatives(settings["train_neg_sample_args"])
    in_batch = takes_no_negatives(model_class, loss)
    if not wanted or in_batch or _compares_with_all_items(model_class, loss):
        settings["train_neg_sample_args"] = None
    if not wanted or settings["train_neg_sample_args"] is not None:
        return []
    if in_batch:
        told = "train_neg_sample_args" in given
        return [f"loss_type {loss} takes no negatives of RecBole's: train_neg_sample_args is not used"] if told else []
    if "train_neg_sample_args" in given:
        raise InputError(f"{name} with loss_type: CE compares with all items and takes no negatives: leave train_neg_sample_args out, or "
                         "set loss_type: BPR")  # fmt: skip
    return [f"{name} with loss_type: CE takes no negatives: train_neg_sample_args is set to none"]


def _compares_with_all_items(model_class: type, loss: object) -> bool:
    """Is it one of RecBole's sequential models with a loss over all items at once, with which RecBole wants no negatives?"""
    decided = is_ours(model_class) or hasattr(model_class, "input_type") or model_class.type != ModelType.SEQUENTIAL
    return not decided and loss == "CE"
