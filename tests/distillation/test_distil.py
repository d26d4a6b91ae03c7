"""Distilling learns what the teacher knows, goes on after a kill, is found again, and leaves an encoder like any other."""

import json
from pathlib import Path

import pytest
import torch

from recbole_mm.cli import main
from recbole_mm.config.catalogue_config import DISTILLING, CatalogueConfig
from recbole_mm.distillation import catalogue_importance as importance_module
from recbole_mm.distillation import distil as distil_module
from recbole_mm.distillation.comparison import seconds_to_encode
from recbole_mm.distillation.distil import distil
from recbole_mm.distillation.lesson import Lesson
from recbole_mm.distillation.request import Request, shares
from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.errors import InputError
from recbole_mm.finetune import loop as loop_module
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.retrieval import score
from recbole_mm.finetune.units import generator_for
from recbole_mm.items.catalogue import encode_catalogue
from recbole_mm.quick_start import create_dataset
from recbole_mm.testing.planted import settings

QUICK = {"distil_epochs": 3, "distil_batch_size": 17, "distil_warmup_steps": 3, "distil_valid_ratio": 0.3, "epochs": 1}
TEACHER, STUDENT = "vlmo:tiny", "open_clip:tiny"


@pytest.fixture(autouse=True)
def _encoders_are_small(small_encoders):
    pass


def given(folder: Path, cache: Path, **keys) -> list[str]:
    keys = {**settings(folder), **QUICK, "cache_dir": cache, **keys}
    return [f"--{key}={str(value)}" for key, value in keys.items()]


def config_of(folder: Path, cache: Path, **keys) -> CatalogueConfig:
    return CatalogueConfig(None, folder.name, None, given(folder, cache, **keys), DISTILLING, stand_in="VBPR")


def distilled(folder: Path, cache: Path, output: Path | None = None, teacher: str = TEACHER, prune=None, **keys) -> dict:
    """Without the recommenders at the end."""
    config = config_of(folder, cache, **keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil_module, "_recommended", lambda *_: {})
        return distil(config, create_dataset(config), Request(teacher, prune, output))


def staged(folder: Path, cache: Path, **keys) -> FinetuningLoop:
    """A student that is about to learn from itself."""
    config = config_of(folder, cache, **keys)
    how, dataset = EncoderSettings.from_config(config), create_dataset(config)
    tables = encode_catalogue(build_encoder(how), dataset.content, None).tables
    lesson = Lesson(dataset.content, {m: table.rows for m, table in tables.items()}, DistilSettings.from_config(config))
    return lesson.staged(build_encoder(how), same_space=True)[0]


def test_a_student_learns_and_is_read_again(shop, cache, tmp_path, caplog):
    with caplog.at_level("INFO"):
        report = distilled(shop, cache, tmp_path / "student", state="INFO")
    losses = [epoch["losses"] for epoch in report["epochs"]]
    assert losses[-1]["relations"] < losses[0]["relations"] and set(losses[0]) == {"rows", "relations", "itc"}
    assert score(report["after"]) == max(score(epoch["retrieval"]) for epoch in report["epochs"])
    assert {"image nearest@10", "text nearest@10", "image->text R@1"} <= report["after"].keys()
    assert create_encoder(report["name"]).fingerprint() == report["fingerprint"]
    assert report["name"] == f"open_clip:local-dir:{tmp_path / 'student'}" and report["student"] == STUDENT
    assert json.loads((tmp_path / "student" / "distillation.json").read_text()) == report
    assert report["trained_on"] + report["held_out"] == 64 and set(report["seconds_to_encode"]) == {"teacher", "student"}
    assert f"--encoder={report['name']} uses it" in caplog.text and "times as fast" in caplog.text


def test_what_was_distilled_is_found_again_and_the_teacher_encodes_once(shop, cache, monkeypatch, caplog):
    first = distilled(shop, cache)
    monkeypatch.setattr(FinetuningLoop, "run", lambda *_: pytest.fail("distilled again"))
    with caplog.at_level("INFO"):
        again = distilled(shop, cache, state="INFO")
    assert "image (64 reused, 0 new), text (64 reused, 0 new)" in caplog.text and "student reused from" in caplog.text
    assert {**again, "seconds_to_encode": 0} == {**first, "seconds_to_encode": 0}
    for other in ({"distil_epochs": 4}, {"distil_weights": "{rows: 1}"}, {"seed": 7}, {"teacher": "beit3:tiny"}):
        with pytest.raises(pytest.fail.Exception, match="distilled again"):
            distilled(shop, cache, **other)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(shop, cache):
    loop = staged(shop, cache, distil_weights="{rows: 1, relations: 1}")
    assert [loop.retrieve()[f"{m} nearest@10"] for m in ("image", "text")] == [1.0, 1.0]
    batch = Batch(loop.items, loop.units, loop.training, generator_for(0))
    losses = {name: objective(batch).item() for name, objective in loop.objectives.items()}
    loop._learn()
    assert not loop.encoder.training, "dropout would be a loss"
    assert losses["rows"] < 1e-9 and losses["relations"] < 1e-6


def test_a_pruned_teacher_learns_what_it_has_lost(shop, cache, tmp_path, monkeypatch, caplog):
    with caplog.at_level("INFO"):
        report = distilled(shop, cache, tmp_path / "student", STUDENT, (0.5, 0.25), state="INFO", distil_learning_rate=0.003)
    assert "pruned from 2 and 2 blocks" in caplog.text and "to 1 and 1 blocks" in caplog.text and report["pruned"] == [0.5, 0.25]
    losses = [epoch["losses"] for epoch in report["epochs"]]
    assert losses[-1]["rows"] < losses[0]["rows"]
    read = create_encoder(report["name"])
    assert [len(tower) for tower in read.towers()] == [1, 1] and read.fingerprint() == report["fingerprint"]
    monkeypatch.setattr(importance_module, "_worked_out", lambda *_: pytest.fail("worked out again"))
    assert distilled(shop, cache, None, STUDENT, (0.5, 0.25), distil_learning_rate=0.003)["fingerprint"] == report["fingerprint"]
    with pytest.raises(pytest.fail.Exception, match="worked out again"):
        distilled(shop, cache, None, STUDENT, (0.5, 0.25), distil_learning_rate=0.003, distil_prune_by="first_order")


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("every_step", [False, True])
def test_killed_and_resumed_equals_straight(every_step, shop, cache, tmp_path, monkeypatch):
    straight, learn, steps = distilled(shop, cache), FinetuningLoop._learn, []
    monkeypatch.setattr(loop_module, "SAVE_SECONDS", 0.0 if every_step else 1e9)

    def dying(self):
        if len(steps) == 4:
            raise Killed
        steps.append(self.step)
        learn(self)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuningLoop, "_learn", dying)
        with pytest.raises(Killed):
            distilled(shop, tmp_path)
    torch.manual_seed(99)
    monkeypatch.setattr(FinetuningLoop, "_learn", lambda self: (steps.append(self.step), learn(self)))
    resumed = distilled(shop, tmp_path)
    assert resumed["fingerprint"] == straight["fingerprint"] and resumed["epochs"] == straight["epochs"]
    assert steps == ([*range(9)] if every_step else [0, 1, 2, 3, *range(3, 9)])


def test_one_modality_in_common_and_no_contrast(shop, cache, caplog):
    report = distilled(shop, cache, modalities="[text]", distil_epochs=1)
    assert set(report["epochs"][0]["losses"]) == {"rows", "relations"} and set(report["after"]) == {"text nearest@10"}
    assert "the student learns text alone" in caplog.text


def test_the_command_compares_a_recommender_over_both(shop, cache, tmp_path, capsys):
    arguments = [argument for argument in given(shop, cache, distil_epochs=1, state="INFO") if not argument.startswith("--encoder=")]
    command = ["distil", f"--dataset={shop.name}", f"--teacher={TEACHER}", f"--student={STUDENT}", f"--output={tmp_path / 'out'}"]
    assert main([*command, *arguments]) == 0
    told = capsys.readouterr().out
    assert "VBPR over frozen features, Recall@10 on validation: teacher 0." in told
    found = json.loads((tmp_path / "out" / "distillation.json").read_text())["recommender"]
    assert found["model"] == "VBPR" and found["valid_metric"] == "Recall@10" and found["teacher"] > 0 and found["student"] > 0


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"distil_weights": "{rows: -1}"}, ["distil_weights"]),
        ({"distil_weights": "{itc: 1}", "modalities": "[text]"}, ["distil_weights: itc", "picture and a text"]),
        ({"distil_batch_size": 1}, ["distil_batch_size"]),
        ({"encoder_tuning": "lora"}, ["encoder_tuning: lora", "leave it out"]),
        ({"encoder_dim": 16}, ["encoder_dim 16"]),
        ({"modalities": "[]"}, ["nothing to distil"]),
        ({"modalities": "[joint]"}, ["nothing to distil", "joint"]),
        ({"teacher": "vlmo:tinny"}, ["tinny"]),
        ({"student": "vlm:tiny"}, ["vlm"]),
        ({"encoder": "vlmo:tiny"}, ["--encoder", "--teacher", "--student"]),
        ({"output": "full"}, ["--output full", "new folder"]),
        ({"prune": "half"}, ["--prune half", "0.5,0.25"]),
        ({"prune": "0.1"}, ["--prune 0.1", "nothing"]),
        ({"student": ""}, ["--student", "--prune"]),
    ],
    ids=str,
)
def test_bad_input(keys, facts, shop, cache, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(FinetuningLoop, "run", lambda *_: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    values = {**settings(shop), **QUICK, "dataset": shop.name, "cache_dir": cache, "teacher": TEACHER, "student": STUDENT}
    del values["encoder"]
    assert main(["distil", *(f"--{key}={value!s}" for key, value in (values | keys).items())]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: ")
    assert all(fact in error[0] for fact in facts), error[0]


def test_seconds_are_those_of_the_whole_catalogue(shop, cache):
    config = config_of(shop, cache)
    how = EncoderSettings.from_config(config)
    assert 0 < seconds_to_encode(build_encoder(how), create_dataset(config).content, ["image", "text"], how) < 10


def test_what_prune_means():
    assert shares("0.5") == (0.5, 0) and shares("0.5,0.25") == (0.5, 0.25) and shares("0,0.5") == (0, 0.5)
    for wrong in ("", "1", "0", "0,0", "0.5,0.5,0.5", "-0.5", "0.5,", "nan"):
        with pytest.raises(InputError, match="--prune"):
            shares(wrong)
