"""The colour shop, and a student distilled once on it."""

from pathlib import Path

import pytest

from tests.finetune.shops import write_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Shared: the teacher's rows, and what one test has distilled."""
    return tmp_path_factory.mktemp("cache")
