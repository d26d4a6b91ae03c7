"""Settings of fine-tuning: those that name its result in the store never change by themselves."""

import pytest

from recbole_mm.encoder import create_encoder
from recbole_mm.finetune.settings import FinetuneSettings
from tests.finetune.shops import configured


@pytest.mark.parametrize(
    ("tuning", "options"),
    [
        ("full", {}),
        ("last_k", {"last_k": 2}),
        ("lora", {"lora_rank": 8, "lora_alpha": 16}),
        ("adapter", {"adapter_dim": 64}),
        ("multiway", {"multiway_dim": 64}),
        ("bitfit", {}),
    ],
)
def test_what_names_a_tuned_encoder(shop, tmp_path, tuning, options):
    settings = FinetuneSettings.from_config(configured(shop, tmp_path, encoder_tuning=tuning, encoder_chunk_size=3))
    assert settings.asked_for == frozenset() and settings.chunk_size == 3
    found = settings.for_encoder(create_encoder("open_clip:tiny")).only(["itc"]).identity()
    assert found == {
        "seed": 2020, "epochs": 4, "batch_size": 17, "learning_rate": 1e-3, "warmup_steps": 3, "weight_decay": 0.01, "layer_decay": 1.0,
        "weights": {"itc": 1.0}, "category_field": None, "valid_ratio": 0.2, "stopping_step": 3, "precision": "fp32", "tuning": tuning,
        "tuning_options": options,
    }  # fmt: skip
    assert all(isinstance(value, int) for value in found["tuning_options"].values()), "16 and 16.0 would be other names"


def test_what_the_user_asked_for(shop, tmp_path):
    settings = FinetuneSettings.from_config(configured(shop, tmp_path, finetune_weights={"itc": 1, "mlm": 0}, finetune_learning_rate=0))
    assert settings.asked_for == {"itc", "mlm"} and settings.weights == {"itc": 1.0}
    assert settings.for_encoder(create_encoder("open_clip:tiny")).learning_rate == 0.0
