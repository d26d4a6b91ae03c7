"""A run that cannot start leaves nothing behind, and takes nothing of an earlier run with it."""

from pathlib import Path

import pytest

from recbole_mm.cli import main
from recbole_mm.testing.planted import settings, write_planted


def arguments(command: str, folder: Path, **keys) -> list[str]:
    keys = {"dataset": folder.name, **settings(folder, epochs=1), **keys}
    return [command, *(f"--{key}={str(value).replace(' ', '')}" for key, value in keys.items() if value is not None)]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", ["run", "extract"])
@pytest.mark.parametrize("encoder", ["vlmo:tiny@/no/such.pt", "opn_clip:tiny", "hf:/no/such", "open_clip:ViT-B-16@openai"])
def test_nothing_is_written(tmp_path, command, encoder):
    folder = write_planted(tmp_path / "data" / "shop")
    before = files(tmp_path)
    assert main(arguments(command, folder, model="CLIPRec", encoder=encoder)) == 2
    assert files(tmp_path) == before


def test_an_earlier_log_stays(tmp_path):
    folder = write_planted(tmp_path / "data" / "shop")
    assert main(arguments("run", folder, model="Pop", encoder=None)) == 0
    assert main(arguments("run", folder, model="CLIPRec", modalities="[]")) == 0
    logs = files(Path("log"))
    assert len(logs) == 4
    assert main(arguments("run", folder, model="CLIPRec", encoder="opn_clip:tiny")) == 2
    assert files(Path("log")) == logs
