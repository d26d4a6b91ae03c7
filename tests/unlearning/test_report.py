"""What an unlearning says of itself."""

import json
from pathlib import Path

import pytest

from recbole_mm.unlearning.unlearn import unlearn
from tests.training.moving_shop import BY_TIME, Shop, draw_shop, train
from tests.unlearning.forgetting import asked


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


def told_by(done, caplog) -> str:
    """What the report says on the screen."""
    with caplog.at_level("INFO", "recbole_mm"):
        done.report.tell()
    return caplog.text


@pytest.mark.parametrize("name", ["CLIPRec", "BPR", "SASRecM"])
def test_a_report_compares_before_after_and_a_model_trained_anew(shop, name, caplog):
    sequences = {"eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}, "MAX_ITEM_LIST_LENGTH": 8}
    file = train(name, shop, **(sequences if name == "SASRecM" else {}))
    done = unlearn(str(file), asked(("u1", "u7")), "saved/new.pth", retrained=True)
    written = json.loads(Path("saved/new.unlearning.json").read_text())
    assert list(written["stages"]) == ["before", "after", "retrained"]
    for stage in written["stages"].values():
        assert stage["others"].keys() == done.result["test_result"].keys() and 0 <= stage["known"]["told_apart"] <= 1
    assert written["stages"]["after"]["others"] == done.result["test_result"]
    assert written["correction"]["known"]["recall"] == done.report.correction.known.recall and written["why"] is None
    assert done.facts["correction"]["steps"] == written["correction"]["steps"]
    assert written["correction"]["weight"] in ((None, 0.0) if name == "SASRecM" else (None, 0.1, 0.3, 1.0))
    told = told_by(done, caplog)
    assert "membership test" in told and "retrained" in told


def test_models_that_are_found_at_once_are_found_anew(shop):
    file = train("EASE", shop)
    done = unlearn(str(file), asked(("u1", "u7")))
    assert done.report.correction is None and done.facts["how"] == "found anew" and list(done.report.stages) == ["before", "after"]


def test_without_a_validation_nothing_can_be_chosen(shop, caplog):
    file = train("BPR", shop, eval_args={**BY_TIME, "split": {"RS": [0.8, 0.0, 0.2]}})
    done = unlearn(str(file), asked(("u1", "u7")))
    assert done.report.correction is None and done.facts["how"] == "rows removed"
    assert "left as they are: the run ranks no validation and test items" in told_by(done, caplog)
