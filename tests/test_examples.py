"""The examples run as they stand, and what they print is as they say."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm.data.demo import write_demo
from recbole_mm.encoder import factory

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
RANDOM_RECALL = 20 / 384
"""Of 20 items drawn at random, of the 384 or so that a user of the demo has not seen."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A folder that holds the demo."""
    folder = tmp_path_factory.mktemp("shop")
    write_demo(folder / "demo")
    return folder


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory) -> Path:
    """The same with few users and items, for claims that do not hang on their number."""
    folder = tmp_path_factory.mktemp("small")
    write_demo(folder / "demo", n_users=60, n_items=80)
    return folder


@pytest.fixture()
def printed(monkeypatch, tmp_path, capsys):
    """What an example prints, run as a program over a data set. No encoder of examples/ is registered beforehand."""

    def run(name: str, data: Path) -> str:
        (tmp_path / "dataset").symlink_to(data)
        monkeypatch.setattr(factory, "_backends", {name: made for name, made in factory._backends.items() if name != "colours"})
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_compare_three_models(printed, demo):
    rows = re.findall(r"^(\w+) +(0\.\d+) +(0\.\d+)$", printed("compare_three_models.py", demo), re.MULTILINE)
    recalls = {name: float(recall) for name, recall, _ in rows}
    assert list(recalls) == ["Pop", "BPR", "VBPR"] and min(recalls["BPR"], recalls["VBPR"]) > 3 * recalls["Pop"]


def test_own_encoder(printed, demo):
    recalls = dict(re.findall(r"^(\w+): recall@20 (.*)$", printed("own_encoder.py", demo), re.MULTILINE))
    assert set(recalls) == {"Pop", "CLIPRec"} and float(recalls["CLIPRec"]) > 4 * float(recalls["Pop"])


def test_own_recommender(printed, demo):
    recalls = dict(re.findall(r"margin (.*): recall@20 (.*)$", printed("own_recommender.py", demo), re.MULTILINE))
    assert len(recalls) == 2 == len(set(recalls.values())), "its key matters"
    assert min(map(float, recalls.values())) > 2 * RANDOM_RECALL


def test_features_from_files(printed, demo):
    rows = re.findall(
        r"^VBPR over (.*): recall@20 (.*), of the items kept out of training (.*)$", printed("features_from_files.py", demo), re.M
    )
    assert [names for names, *_ in rows] == ["words", "colours", "words and colours"]
    assert all(float(recall) > 2 * RANDOM_RECALL for _, *recalls in rows for recall in recalls)


def test_resume(printed, small_demo):
    *results, last = printed("resume.py", small_demo).splitlines()
    straight, stopped, resumed = (line.partition(": ")[2] for line in results)
    assert resumed == straight != stopped and last == "resumed equals straight: True"


def test_one_file_adds_a_recommender_and_one_an_encoder(small_demo, tmp_path):
    """Dropped into their rooms, the two examples are found by name; the recommender has a file of settings as well."""
    package = tmp_path / "package"
    for room in ("recbole_mm", "properties"):
        shutil.copytree(ROOT / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLES / "own_recommender.py", package / "recbole_mm" / "model")
    shutil.copy(EXAMPLES / "own_encoder.py", package / "recbole_mm" / "encoder")
    (package / "properties" / "model" / "TasteRec.yaml").write_text("embedding_size: 16\nmargin: 2.0\nepochs: 1\n")
    command = ["run", "--model=TasteRec", "--dataset=demo", "--encoder=colours:small", "--verbose"]
    (tmp_path / "dataset").symlink_to(small_demo)
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-m", "recbole_mm.cli", *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "embedding_size = 16" in said and "Colours(" in said and "recall@20" in said


def test_every_example_is_tested_here():
    tests = Path(__file__).read_text(encoding="utf-8")
    assert all(f'printed("{file.name}"' in tests for file in EXAMPLES.glob("*.py"))
