"""The colour shop, and its CLIP fine-tuned once."""

from pathlib import Path

import pytest

from recbole_mm.finetune.finetune_encoder import TunedEncoder
from tests.finetune.shops import tuned, write_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Shared: what one test has fine-tuned, another finds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def clip(shop, cache) -> TunedEncoder:
    """The shop's fine-tuned CLIP."""
    return tuned(shop, cache)
