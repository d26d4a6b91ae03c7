"""Keys that are valid, and do not go together, are refused with what to do."""

import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"use_id": False, "modalities": []}, "nothing to recommend by"),
        ({"loss_type": "BPR", "train_neg_sample_args": None}, "needs negatives"),
        ({"train_batch_size": 1}, "compares the items of a batch"),
        (
            {
                "loss_type": "BPR",
                "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 2},
            },
            "every step",
        ),
        ({"encoder_freeze_epochs": 5, "epochs": 5}, "would never train"),
        ({"encoder_training": "finetuned", "encoder_tuning": "side"}, "choose another encoder_tuning"),
        ({"cache_hidden_states": True}, "with encoder_tuning: last_k"),
        ({"cache_hidden_states": True, "encoder_tuning": "last_k", "encoder_learning_rate": 0}, "an encoder that trains, and none does"),
        ({"token_dropout": 0.1, "encoder_tuning": "side"}, "reads every item only once"),
        ({"image_augmentation": "light", "encoder_tuning": "last_k", "cache_hidden_states": True}, "reads every item only once"),
        ({"gradient_checkpointing": True, "encoder_tuning": "side"}, "no block of the encoder runs"),
        ({"encoder_compile": True, "encoder_tuning": "side"}, "does not go with"),
        ({"strategy": "fsdp", "encoder_training": "pretrained"}, "and none does here"),
        ({"strategy": "fsdp", "enable_scaler": True}, "enable_scaler: False"),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused(keys, says):
    with pytest.raises(InputError, match=says):
        MultiModalConfig("CLIPRec", "demo", None, {"use_gpu": False, **keys})
