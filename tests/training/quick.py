"""Settings under which an epoch on the small shop takes a moment, and tiny encoders that count as pretrained."""

import pytest

from recbole_mm.encoder import ItemEncoder, build_encoder

QUICK = {"modalities": ["image"], "train_batch_size": 16}


def count_as_pretrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, an encoder of a run is treated as one with released weights, whatever weights it has."""

    made = build_encoder.create_encoder

    def create(name: str, **options) -> ItemEncoder:
        encoder = made(name, **options)
        encoder.from_scratch = False
        return encoder

    monkeypatch.setattr(build_encoder, "create_encoder", create)
