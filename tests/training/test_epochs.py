"""One line per epoch, with losses that have names; the same numbers as curves for TensorBoard."""

import re
from pathlib import Path

import pytest
import torch
from recbole.trainer import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_mm.config.registry import get_model, our_models
from recbole_mm.model.vbpr import VBPR
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings
from recbole_mm.training.epochs import EpochTable
from recbole_mm.training.health import alarms
from tests.training.quick import QUICK

ROW = re.compile(r"^epoch (\d+)/(\d+) +(.*)$", re.MULTILINE)


def curves(folder: Path = Path("log_tensorboard")) -> dict[str, list[float]]:
    """Tag -> values, of the one run in the working directory."""
    (run_folder,) = (path for path in folder.iterdir() if path.is_dir())
    events = EventAccumulator(str(run_folder)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_line_per_epoch_and_its_curves(shop, capsys):
    result = run("CLIPRec", shop.name, config_dict=settings(shop, **{**QUICK, "modalities": None}, epochs=2, state="INFO"))
    shown, drawn = capsys.readouterr().out, curves()
    rows = ROW.findall(shown)
    assert [row[:2] for row in rows] == [("1", "2"), ("2", "2")]
    assert re.search(r"^ +recommendation +regularisation +contrastive +recall@10 +time +\* best so far$", shown, re.MULTILINE)
    losses = ("recommendation", "regularisation", "contrastive")
    for place, (_, _, row) in enumerate(rows):
        numbers = [float(number) for number in re.findall(r"\d+\.\d{4}", row)]
        assert numbers == pytest.approx([drawn[tag][place] for tag in [f"loss/{name}" for name in losses] + ["valid/recall@10"]], abs=1e-4)
    assert drawn["loss/total"] == pytest.approx([sum(parts) for parts in zip(*(drawn[f"loss/{name}"] for name in losses), strict=True)])
    assert {f"valid/{metric}" for metric in result["best_valid_result"]} <= drawn.keys()
    assert {"health/cosine_image", "health/cosine_text", "health/gradient_norm", "health/spread_id"} <= drawn.keys()
    assert drawn["learning_rate/recommender"] == pytest.approx([0.005] * 2) and "learning_rate/encoder" in drawn
    (log,) = Path("log/CLIPRec").glob("*.log")
    assert re.search(r"epoch 2/2: loss/recommendation [\d.]+, .*valid/recall@10 [\d.]+", log.read_text())


def test_recboles_models_have_the_same_lines(shop, capsys):
    run("BPR", shop.name, config_dict=settings(shop, epochs=2, encoder=None, state="INFO"))
    shown, drawn = capsys.readouterr().out, curves()
    assert re.search(r"^ +loss +recall@10 +time", shown, re.MULTILINE) and len(ROW.findall(shown)) == 2
    assert drawn["loss/total"][0] == pytest.approx(0.7, abs=0.03) and len(drawn["valid/ndcg@5"]) == 2


def test_the_best_epoch_is_marked_and_stopping_is_told(shop, monkeypatch):
    config, model, train, valid, _ = built(shop, "BPR", encoder=None, epochs=9, stopping_step=1)
    trainer, scores, told = build_trainer(config, model), iter((0.1, 0.3, 0.2, 0.1, 0.5)), []
    monkeypatch.setattr(Trainer, "_valid_epoch", lambda *_, **__: (next(scores), {}))
    monkeypatch.setattr("recbole_mm.training.epochs.say", lambda what, text=None: told.append(what))
    trainer.fit(train, valid, saved=False)
    assert [line.count("*") for line in told[1:-1]] == [1, 1, 0, 0]
    assert told[-1] == "no better for 2 epochs: stopped; epoch 2 was the best" and trainer.best_epoch == 2


def test_epochs_without_validation_have_lines(shop, capsys):
    run("BPR", shop.name, config_dict=settings(shop, epochs=3, encoder=None, eval_step=2, state="INFO"))
    shown = capsys.readouterr().out
    rows = [row for _, _, row in ROW.findall(shown)]
    assert [len(re.findall(r"\d+\.\d{4}", row)) for row in rows] == [1, 2, 1] and all(row.endswith(" s") for row in rows)
    assert re.search(r"^ +loss +recall@10 +time", shown, re.MULTILINE)


@pytest.mark.parametrize("name", [n for n in our_models() if get_model(n).loss_names and n not in ("VLMoRec", "BEiT3Rec")])
def test_every_part_of_a_loss_has_a_name(planted, name):
    _, model, train, *_ = built(planted, name, encoder_training="pretrained", modalities=["image", "text"])
    model.start_epoch(0)
    losses = model.train().calculate_loss(next(iter(train)))
    assert isinstance(losses, tuple) and len(losses) <= len(model.loss_names) and model.loss_names[0] == "recommendation"
    assert get_model(name) is type(model)


class Bare(VBPR):
    """A model of a user's own, which returns one tensor, as RecBole allows."""

    def calculate_loss(self, interaction) -> torch.Tensor:
        return sum(super().calculate_loss(interaction))


class More(VBPR):
    """A model of a user's own with one more part of the loss."""

    def calculate_loss(self, interaction) -> tuple:
        losses = super().calculate_loss(interaction)
        return *losses, 0 * losses[0]


@pytest.mark.parametrize(("model", "names"), [(Bare, {"total"}), (More, {"recommendation", "regularisation", "3", "total"})])
def test_models_of_a_users_own(shop, model, names):
    run(model, shop.name, config_dict=settings(shop, **QUICK, epochs=1, encoder_training="pretrained"))
    assert {tag.partition("/")[2] for tag in curves() if tag.startswith("loss/")} == names


def test_alarms():
    sound = {"cosines": {"image": 0.3}, "gradient_norm": 0.1, "spreads": {"id": 1.0, "content": 0.5}}
    assert alarms(sound) == alarms({}) == []
    wrong = {"cosines": {"image": 0.999}, "gradient_norm": 0.0, "spreads": {"id": 1.0, "content": 0.001}}
    assert alarms(wrong) == ["! images look alike: cosine 0.999", "! no gradient reaches the encoder", "! content has no say"]


def test_many_losses_are_shown_as_one(monkeypatch):
    told = []
    monkeypatch.setattr("recbole_mm.training.epochs.say", lambda what, text=None: told.append((what, text)))
    losses = {f"a_part_of_the_loss_{n}": 1.0 for n in range(8)}
    EpochTable(10, "recall@10").row(1, {**losses, "total": 8.0}, 0.5, True, 75.0, [])
    assert all(len(line) < 100 for line, _ in told) and "8.0000" in told[1][0] and "a_part_of_the_loss_7 1.0000" in told[1][1]


def test_losses_that_come_later_get_a_heading(monkeypatch):
    told = []
    monkeypatch.setattr("recbole_mm.training.epochs.say", lambda what, text=None: told.append(what))
    table = EpochTable(3, None)
    for epoch, names in enumerate((("a",), ("a", "contrastive"), ("a", "contrastive"))):
        table.row(epoch + 1, dict.fromkeys(names, 1.0), None, False, 1.0, [])
    assert ["contrastive" in line for line in told] == [False, False, True, False, False] and len(told) == 5
