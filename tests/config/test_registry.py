"""Recommenders are found by name, and a new one is one file with its property file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm.config.properties import properties_dir
from recbole_mm.config.registry import get_model, is_ours, list_models, our_models, require_dataset, require_model
from recbole_mm.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
MODEL = """\
from recbole_mm.config.kinds import COUNT, Key
from recbole_mm.model.vbpr import VBPR


class Mine(VBPR):
    keys = {"my_size": Key(3, COUNT, "A size of its own.")}
"""
CHECK = """\
import runpy
runpy.run_module("recbole_mm.config.property_files", run_name="__main__")
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
config = MultiModalConfig("Mine", "demo", None, {"use_gpu": False})
assert (config["my_size"], config["epochs"], config["use_bias"]) == (3, 7, False), config
try:
    MultiModalConfig("Mine", "demo", None, {"my_size": 0})
except InputError as error:
    assert "my_size '0': a positive whole number" in str(error), error
else:
    raise AssertionError
"""


def test_every_model_is_the_class_of_its_name():
    for name, module in our_models().items():
        assert get_model(name).__name__ == name and get_model(name).__module__ == module and is_ours(get_model(name))
    assert not is_ours(get_model("BPR")) and get_model("NoSuch") is None and {"BPR", "CLIPRec"} <= set(list_models())
    assert sorted(our_models()) == sorted(file.stem for file in (properties_dir() / "model").glob("*.yaml"))


def test_names_are_required():
    for name, says in ((None, "no model"), ("", "no model"), ("CLIPrek", "did you mean 'CLIPRec'")):
        with pytest.raises(InputError, match=says):
            require_model(name)
    with pytest.raises(InputError, match="no data set"):
        require_dataset(None)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_trees_are_left_to_recbole(name: str):
    with pytest.raises(InputError, match=f"model {name} grows trees, which RecBole's own run_recbole does, and recbole_mm does not"):
        get_model(name)


def test_a_model_is_added_by_one_file_and_its_property_file(tmp_path):
    """In a copy of the package: it is listed, its keys are written into its property file, read, defaulted and checked."""
    for folder in ("recbole_mm", "properties"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "recbole_mm" / "model" / "mine.py").write_text(MODEL)
    file = tmp_path / "properties" / "model" / "Mine.yaml"
    file.write_text("\n\nepochs: 7\n")

    def python(*arguments: str) -> str:
        call = [sys.executable, *arguments]
        return subprocess.run(call, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True, text=True).stdout

    assert "Mine" in python("-m", "recbole_mm.cli", "run", "--help")
    python("-c", CHECK)
    assert file.read_text() == "my_size: 3                      # (int) A size of its own.\n\nepochs: 7\n"
