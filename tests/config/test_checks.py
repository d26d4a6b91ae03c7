"""What a key may hold is said in one line, whatever stands there instead."""

import pytest

from recbole_mm.config.keys import KEYS
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.recbole_kinds import COMMON_KINDS
from recbole_mm.errors import InputError
from recbole_mm.model.cliprec import CLIPRec

ALL = {**KEYS, **declared_keys(CLIPRec)}
MAY_BE_EMPTY = ["clip_grad_norm", *(name for name, key in ALL.items() if key.default is None or key.may_be_empty)]
RECBOLES_EMPTY = ["train_neg_sample_args", "load_col", "unload_col", "rm_dup_inter", "encoding", "tail_ratio", "unused_col", "transform",
                  "discretization", "additional_feat_suffix"]  # fmt: skip
NEVER_EMPTY = [name for name in dict.fromkeys([*ALL, *COMMON_KINDS]) if name not in (*MAY_BE_EMPTY, *RECBOLES_EMPTY)]


def config(monkeypatch, *written: str, model: str = "CLIPRec") -> MultiModalConfig:
    monkeypatch.setattr("sys.argv", ["x", *(f"--{pair}" for pair in written)])
    return MultiModalConfig(model, "demo", None, {"use_gpu": False})


@pytest.mark.parametrize("key", NEVER_EMPTY)
def test_a_key_with_a_default_is_never_empty(monkeypatch, key):
    with pytest.raises(InputError, match=key):
        config(monkeypatch, f"{key}=~")


def test_what_is_empty_by_default_may_be_empty(monkeypatch):
    read = config(monkeypatch, *(f"{key}=~" for key in MAY_BE_EMPTY))
    assert all(read[key] is None for key in MAY_BE_EMPTY)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("lora_alpha=-1", "lora_alpha '-1': a number that is not negative"),
        ("layer_decay=0", "layer_decay '0': a number above 0 and at most 1"),
        ("encoder_chunk_size=none", "encoder_chunk_size 'none': a positive whole number, or auto"),
        ("feature_ids=5", "feature_ids '5': a file that names the rows"),
        ("negative_items=~", "negative_items '~' is none of all, training"),
        ("use_id=no", "use_id 'no' is none of True, False"),
        ("gradient_checkpointing=ture", r"none of True, False \(did you mean 'True'\?\)"),
        ("encoder_compile=yes", "none of True, False"),
        ("resume=True", "resume 'True': the path of a file"),
        ("cold_items=5", "cold_items '5': the path of a file"),
        ("cache_dir=5", "cache_dir '5': a name"),
        ("learner=5", "learner '5': one of adam, adamw"),
        ("learner=adma", "learner 'adma': one of adam, adamw"),
        ("learner=sparse_adam", "no gradient is sparse"),
        ("train_batch_size=1", "compares the items of a batch"),
        ("finetune_batch_size=1", "finetune_batch_size '1': a whole number of at least 2"),
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
