"""The contract of models holds for every way in which CLIPRec joins pictures and texts."""

from functools import partial

import pytest

from recbole_mm.testing.model_demands import PARADIGMS, ModelChecks
from recbole_mm.testing.shops import Shops

PICTURES_AND_TEXTS = {"modalities": ["image", "text"], "feature_files": None}


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    return partial(ModelChecks, "CLIPRec", Shops(tmp_path_factory.mktemp("shops")), patience=1)


@pytest.mark.parametrize("training", PARADIGMS)
@pytest.mark.parametrize("fusion", ["gated", "cross"])
def test_same_seed_same_model_and_a_checkpoint_has_its_scores(checks, fusion, training):
    checks(settings={"fusion": fusion, **PICTURES_AND_TEXTS}).repeats_and_loads(training)


def test_a_resumed_run_over_stored_tokens_equals_a_straight_one(checks):
    checks(settings={"fusion": "cross", **PICTURES_AND_TEXTS}).resumes("pretrained")


@pytest.mark.parametrize("fusion", ["gated", "cross"])
def test_it_finds_the_preference_where_items_lack_pictures_and_texts(checks, fusion):
    checks(settings={"fusion": fusion, **PICTURES_AND_TEXTS}).stands_missing_items("pretrained")
