"""Checks of keys that are each valid, and do not go together."""

from collections.abc import Mapping

from recbole.utils import ModelType

from recbole_mm.config.modalities import CROSS, PAIR, ModalitySources
from recbole_mm.errors import InputError
from recbole_mm.parallel.ranks import Ranks


def check_combinations(config: Mapping) -> None:
    """Checks several keys of one of our models at once: what would train nothing, or contradicts itself.

    Raises:
        InputError: naming the keys and what to do.
    """
    _check_init_from(config)
    _check_loss(config)
    _check_encoder_training(config)
    _check_fusion(config)
    _check_processes(config)


def check_refit(config: Mapping) -> None:
    """Checks that ``refit: True`` has something to train anew.

    Raises:
        InputError: naming the reason and what to do.
    """
    if not config["refit"]:
        return
    if config["MODEL_TYPE"] == ModelType.DECISIONTREE:
        raise InputError(f"refit: True needs a model that trains epoch by epoch, and {config['model']} grows trees; leave it out")
    if config["train_stage"] not in (None, "finetune"):
        raise InputError(f"refit: True is for the last stage of {config['model']}, not for train_stage: {config['train_stage']}, which has "
                         "no best epoch; leave it out")  # fmt: skip


def _check_init_from(config: Mapping) -> None:
    if not config["init_from"] or config["resume"]:
        return
    if config["MODEL_TYPE"] == ModelType.TRADITIONAL:
        raise InputError(f"init_from: {config['model']} is solved at once, and starts from nothing; leave it out")
    if config["modalities"] == []:
        raise InputError("init_from takes what was learned about content, and modalities: [] has none; leave it out")


def _check_loss(config: Mapping) -> None:
    if config["use_id"] is False and config["modalities"] == []:
        raise InputError("use_id: False and modalities: [] leave nothing to recommend by")
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    drawing = "sampled_softmax" if sequential else "BPR"
    if config["loss_type"] == drawing and config["train_neg_sample_args"]["distribution"] == "none":
        raise InputError(f"{config['model']} with loss_type: {drawing} needs negatives, and train_neg_sample_args gives none; leave it "
                         "out, or use loss_type: SSM")  # fmt: skip
    loss, pairs = config["loss_type"], config["train_batch_size"] * max(config["nproc"] or 1, Ranks.current().world)
    if loss in ("SSM", "InfoNCE", "DirectAU") and pairs == 1 and not sequential:
        raise InputError(f"loss_type: {loss} compares the items of a batch, and train_batch_size 1 has but one; raise it, or set "
                         "loss_type: BPR")  # fmt: skip
    if ModalitySources.from_config(config).encoder_trains and config["train_neg_sample_args"].get("dynamic"):
        raise InputError("train_neg_sample_args: dynamic encodes the catalogue at every step; set encoder_training: pretrained")


def _check_encoder_training(config: Mapping) -> None:
    trains, paradigm, tuning = ModalitySources.from_config(config).encoder_trains, config["encoder_training"], config["encoder_tuning"]
    if trains and config["MODEL_TYPE"] == ModelType.TRADITIONAL:
        raise InputError(f"encoder_training: end2end is for models that train step by step, and {config['model']} is solved at once, "
                         "without a gradient: set encoder_training: pretrained, or finetuned")  # fmt: skip
    if trains and config["encoder_freeze_epochs"] != "auto" and config["encoder_freeze_epochs"] >= config["epochs"]:
        raise InputError(
            f"encoder_freeze_epochs {config['encoder_freeze_epochs']} of {config['epochs']} epochs: the encoder would never train; "
            "lower it, or set encoder_training: pretrained"
        )
    if (paradigm, tuning) == ("finetuned", "side"):
        raise InputError("encoder_tuning: side trains beside an encoder that stays as it is, and is for encoder_training: end2end; choose "
                         "another encoder_tuning")  # fmt: skip
    if config["cache_hidden_states"] and (paradigm, tuning) != ("end2end", "last_k"):
        raise InputError("cache_hidden_states: True is for encoder_training: end2end with encoder_tuning: last_k, where the lower blocks "
                         "stay as they are; leave it out")  # fmt: skip
    if config["cache_hidden_states"] and not trains:
        raise InputError("cache_hidden_states: True is for an encoder that trains, and none does here; leave it out")
    augmented = [f"{key}: {config[key]}" for key in ("image_augmentation", "token_dropout") if config[key] not in ("none", 0)]
    if trains and augmented and (config["cache_hidden_states"] or tuning == "side"):
        raise InputError(f"{augmented[0]} changes what the encoder reads in every step, and with cache_hidden_states: True or "
                         "encoder_tuning: side it reads every item only once; leave one of the two out")  # fmt: skip
    if config["gradient_checkpointing"] and tuning == "side":
        raise InputError("gradient_checkpointing: True has no effect with encoder_tuning: side, where no block of the encoder runs in "
                         "training; leave it out")  # fmt: skip
    if config["encoder_compile"] and (config["cache_hidden_states"] or tuning == "side"):
        raise InputError("encoder_compile: True does not go with cache_hidden_states or encoder_tuning: side, which run parts of the "
                         "encoder by themselves; leave it out")  # fmt: skip


def _check_fusion(config: Mapping) -> None:
    if config["fusion"] != CROSS:
        return
    sources = ModalitySources.from_config(config)
    if CROSS in sources.files:
        raise InputError("feature_files: 'cross' is what fusion: cross calls its own features; give the modality another name")
    if sources.encoded is not None and not set(PAIR) <= set(sources.encoded):
        raise InputError("fusion: cross needs the tokens of pictures and texts from an encoder, and feature files have none: set "
                         "modalities to image and text without feature_files for them, or fusion: gated")  # fmt: skip
    if sources.encoder_trains and config["encoder_tuning"] == "side":
        raise InputError("fusion: cross reads tokens, and encoder_tuning: side makes one row of each layer; choose another encoder_tuning, "
                         "or encoder_training: pretrained")  # fmt: skip
    if config["encoder_compile"]:
        raise InputError("encoder_compile: True does not go with fusion: cross, which takes tokens out of the encoder; leave it out")


def _check_processes(config: Mapping) -> None:
    if config["strategy"] != "fsdp":
        return
    if not ModalitySources.from_config(config).encoder_trains or config["encoder_tuning"] == "side":
        raise InputError("strategy: fsdp shards an encoder that trains (encoder_training: end2end, any encoder_tuning but side), and none "
                         "does here; leave it out")  # fmt: skip
    if config["enable_scaler"]:
        raise InputError("strategy: fsdp with enable_scaler: torch cannot scale losses for sharded and whole parameters together; set "
                         "enable_scaler: False, and encoder_precision: bf16 to compute in half precision")  # fmt: skip
