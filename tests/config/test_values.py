"""What a key may hold is said in one line, whatever stands there instead."""

import pytest

from recbole_mm.config.checks import CHOICES, COUNTS, MAY_BE_EMPTY, WHOLE
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError

NEVER_EMPTY = (
    *COUNTS, *WHOLE, *CHOICES, "learner", "checkpoint_dir", "valid_metric", "learning_rate", "weight_decay", "layer_decay",
    "encoder_learning_rate", "encoder_weight_decay", "encoder_freeze_epochs", "encoder_chunk_size", "finetune_learning_rate",
    "finetune_valid_ratio",
)  # fmt: skip


def config(monkeypatch, *written: str, model: str = "CLIPRec") -> MultiModalConfig:
    monkeypatch.setattr("sys.argv", ["x", *(f"--{pair}" for pair in written)])
    return MultiModalConfig(model, "demo", None, {"use_gpu": False})


@pytest.mark.parametrize("key", [key for key in dict.fromkeys(NEVER_EMPTY) if key != "encoder_image_size"])
def test_a_key_with_a_default_is_never_empty(monkeypatch, key):
    with pytest.raises(InputError, match=key):
        config(monkeypatch, f"{key}=~")


def test_what_is_empty_by_default_may_be_empty(monkeypatch):
    keys = ("resume", "cold_items", "cache_dir", "clip_grad_norm", "encoder_image_size", "encoder_tokenizer", "modalities", *MAY_BE_EMPTY)
    assert all(config(monkeypatch, *(f"{key}=~" for key in keys))[key] is None for key in keys)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("use_id=no", "use_id 'no' is none of True, False"),
        ("gradient_checkpointing=ture", r"none of True, False \(did you mean 'True'\?\)"),
        ("encoder_compile=yes", "none of True, False"),
        ("resume=True", "resume 'True': the path of a file"),
        ("cold_items=5", "cold_items '5': the path of a file"),
        ("cache_dir=5", "cache_dir '5': a name"),
        ("learner=5", "learner '5': one of adam, adamw"),
        ("learner=adma", "learner 'adma': one of adam, adamw"),
        ("learner=sparse_adam", "no gradient is sparse"),
        ("train_batch_size=1", "takes negatives from the batch"),
        ("finetune_batch_size=1", "finetune_batch_size '1': 2 at least"),
        ("encoder_tuning=LoRA", "did you mean 'lora'"),
    ],
)
def test_what_cannot_be_is_said_with_what_can(monkeypatch, written, says):
    with pytest.raises(InputError, match=says):
        config(monkeypatch, written)


def test_a_batch_of_one_in_each_of_several_processes_has_negatives(monkeypatch):
    assert config(monkeypatch, "train_batch_size=1", "nproc=2")["train_batch_size"] == 1


def test_files_are_checked_for_recboles_models_too(monkeypatch):
    with pytest.raises(InputError, match="resume '5'"):
        config(monkeypatch, "resume=5", model="BPR")
