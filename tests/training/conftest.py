"""A shop that is small enough to train on many times, and a finished run on it."""

from pathlib import Path

import pytest

from recbole_mm.quick_start import run
from recbole_mm.testing.planted import settings, write_planted
from tests.training.quick import QUICK


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    """16 users and 24 items: 64 training interactions, 4 batches per epoch."""
    return write_planted(tmp_path_factory.mktemp("training") / "shop", n_users=16, n_items=24)


@pytest.fixture(scope="session")
def _finished(shop, tmp_path_factory) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["pytest"])
        patch.chdir(tmp_path_factory.mktemp("finished"))
        run("CLIPRec", shop.name, config_dict=settings(shop, **QUICK, epochs=1))
        (file,) = Path("saved").glob("*.pth")
        return file.read_bytes()


@pytest.fixture
def finished(_finished, tmp_path) -> Path:
    """The checkpoint of a run of CLIPRec for one epoch under ``QUICK``."""
    file = tmp_path / "finished.pth"
    file.write_bytes(_finished)
    return file
