"""The table of keys: every key has a help and a default of its kind, and belongs to somebody."""

import subprocess
import sys

import pytest

from recbole_mm.config.keys import KEYS, SECTIONS, TUNING_KEYS, TUNINGS
from recbole_mm.config.kinds import EVERY_MODEL, OUR_MODELS, SEQUENTIAL_MODELS
from recbole_mm.config.known_keys import recbole_keys
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.model import OUR_MODELS as MODELS
from recbole_mm.model import get_model

OF_MODELS = {f"{model}.{name}": key for model in MODELS for name, key in declared_keys(get_model(model)).items()}


@pytest.mark.parametrize("name", [*KEYS, *OF_MODELS])
def test_a_key_has_a_help_and_a_valid_default(name):
    key = {**KEYS, **OF_MODELS}[name]
    assert key.help.endswith(".") and len(key.help.split()) > 2
    assert key.default is None or key.kind.accepts(key.default)


def test_a_key_stands_in_one_section_and_is_none_of_recboles():
    assert len(KEYS) == sum(map(len, SECTIONS.values()))
    assert KEYS.keys() & recbole_keys() == {"eval_batch_size"}, "whose default RecBole has too, and ours replaces"


def test_a_key_belongs_to_every_model_to_ours_to_sequential_ones_or_to_one_tuning():
    assert {key.belongs_to for key in KEYS.values()} <= {EVERY_MODEL, SEQUENTIAL_MODELS, OUR_MODELS, *TUNINGS}
    assert TUNING_KEYS == {
        "encoder_last_k": "last_k", "cache_hidden_states": "last_k", "lora_rank": "lora", "lora_alpha": "lora", "adapter_dim": "adapter",
        "multiway_dim": "multiway", "side_dim": "side", "side_noise": "side",
    }  # fmt: skip


def test_the_table_is_read_without_torch_and_recbole():
    code = "import recbole_mm.config.keys, sys; sys.exit(any(name in sys.modules for name in ('torch', 'recbole')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
