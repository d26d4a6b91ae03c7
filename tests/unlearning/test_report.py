"""What an unlearning says of itself."""

import json
import math
from pathlib import Path

import pytest

from recbole_mm.unlearning.correction import HIGH, LOW, MIDDLE
from recbole_mm.unlearning.unlearn import unlearn
from tests.training.moving_shop import BY_TIME, Shop, draw_shop, train
from tests.unlearning.forgetting import asked
from tests.unlearning.test_kept import SEQUENCES

OVER_HISTORIES = ("SASRecM", "SASRec")


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


def told_by(done, caplog) -> str:
    """What the report says on the screen."""
    with caplog.at_level("INFO", "recbole_mm"):
        done.report.tell()
    return caplog.text


@pytest.mark.parametrize("name", ["CLIPRec", "BPR", "SASRecM", "SASRec"])
def test_a_report_compares_before_after_and_a_model_trained_anew(shop, name, caplog):
    file = train(name, shop, **(SEQUENCES if name in OVER_HISTORIES else {}))
    done = unlearn(str(file), asked(("u1", "u7"), ("i1",)), "saved/new.pth", retrained=True)
    written = json.loads(Path("saved/new.unlearning.json").read_text())
    assert list(written["stages"]) == ["before", "after", "retrained"]
    for stage in written["stages"].values():
        assert stage["others"].keys() == done.result["test_result"].keys() and 0 <= stage["known"]["told_apart"] <= 1
    assert written["stages"]["after"]["others"] == done.result["test_result"]
    assert written["correction"]["known"]["recall"] == done.report.correction.known.recall
    assert (written["why"] is None) == bool(written["correction"]["steps"]) == (done.facts["how"] == "corrected")
    assert done.facts["correction"]["steps"] == written["correction"]["steps"]
    assert written["correction"]["weight"] in ((None, 0.0) if name in OVER_HISTORIES else (None, LOW, MIDDLE, HIGH))
    told = told_by(done, caplog)
    assert "membership test" in told and "retrained" in told
    assert " weights      corrected in " in told or " weights      left as they are: the model knows no more" in told


def test_models_that_are_found_at_once_are_found_anew(shop):
    file = train("EASE", shop)
    done = unlearn(str(file), asked(("u1", "u7")))
    assert done.report.correction is None and done.facts["how"] == "found anew" and list(done.report.stages) == ["before", "after"]


def test_without_a_validation_nothing_can_be_chosen(shop, caplog):
    file = train("BPR", shop, eval_args={**BY_TIME, "split": {"RS": [0.8, 0.0, 0.2]}})
    done = unlearn(str(file), asked(("u1", "u7")))
    assert done.report.correction is None and done.facts["how"] == "rows removed"
    assert "left as they are: the run ranks no validation and test items" in told_by(done, caplog)


def test_a_model_that_is_trained_in_steps_of_its_own_is_left_as_it_is(shop, caplog):
    file = train("RecVAE", shop, train_neg_sample_args={"distribution": "uniform", "sample_num": 1})
    done = unlearn(str(file), asked(("u1", "u7")))
    assert done.facts["how"] == "rows removed" and "after" in done.report.stages
    assert "left as they are: RecVAE is trained in steps of its own kind" in told_by(done, caplog)


def test_where_nothing_is_never_seen_there_is_no_membership_test(shop, caplog):
    """A refitted run has learned all that there is, validation and test as well."""
    file = train("BPR", shop, refit=True)
    done = unlearn(str(file), asked(("u1", "u7")), correct=False)
    assert len(done.forgotten.learned) == len(done.forgotten.pairs) == 20
    known = done.report.stages["before"].known
    assert known.told_apart is known.chance is None and 0 <= known.recall <= 1 and math.isfinite(known.excess)
    assert "membership test" not in told_by(done, caplog) and "NaN" not in Path(done.result["files"]["unlearning"]).read_text()
