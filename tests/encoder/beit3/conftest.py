"""Shared by the BEiT-3 tests: the authors' module of random weights, and what it answered."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from recbole_mm.encoder.beit3 import BEiT3, BEiT3Config

ORACLE = Path(__file__).parent / "oracle"
SIZES = {"embed_dim": 64, "depth": 3, "num_heads": 4, "mlp_ratio": 4, "image_size": 32, "patch_size": 8, "vocab_size": 100}


@pytest.fixture(scope="session")
def oracle():
    """``state``, ``pixels``, ``token_ids``, ``attention_mask``, and ``out``: name -> tensor. Read-only."""
    parts = {"sd": {}, "in": {}, "out": {}}
    for key, tensor in load_file(ORACLE / "beit3_tiny_retrieval.safetensors").items():
        kind, _, name = key.partition(".")
        parts[kind][name] = tensor
    given = parts["in"]
    return SimpleNamespace(
        state=parts["sd"],
        out=parts["out"],
        pixels=given["image"],
        token_ids=given["text_ids"],
        attention_mask=1 - given["text_padding_mask"],
    )


@pytest.fixture()
def build():
    """``build(state, **changes)``: an evaluating module of the oracle's sizes with these weights."""

    def make(state, **changes):
        model = BEiT3(BEiT3Config(**{**SIZES, "max_text_len": 12, **changes})).eval()
        model.load_released_state_dict(state)
        return model

    return make
