"""Whether a run reads labels (the column LABEL_FIELD, or what ``threshold`` makes) from its data."""

from collections.abc import Mapping

from recbole.utils import ModelType

LABELLED = (ModelType.CONTEXT, ModelType.DECISIONTREE)


def learns_from_labels(config: Mapping) -> bool:
    """Does the model's loss read labels that are in the data? Where negatives are sampled, every interaction is a positive."""
    loss = getattr(config.model_class, "calculate_loss", None)
    reads = config["MODEL_TYPE"] in LABELLED or "LABEL" in getattr(getattr(loss, "__code__", None), "co_names", ())
    return reads and (config["train_neg_sample_args"] or {}).get("distribution") in ("none", None)


def is_tested_on_labels(config: Mapping) -> bool:
    return "labeled" in config["eval_args"]["mode"].values()
