"""Every recommender of this package meets the contract of ``recbole_mm.testing``, and some do more."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import torch

from recbole_mm.model import OUR_MODELS, get_model
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.testing import model_demands
from recbole_mm.testing.model_demands import PARADIGMS, UNIFIED, ModelChecks
from recbole_mm.testing.model_measures import scores_of
from recbole_mm.testing.planted import built
from recbole_mm.testing.shops import Shops

ROOT = Path(__file__).resolve().parents[2]
MODELS = [name for name in OUR_MODELS if any(isinstance(part, FunctionType) for part in vars(get_model(name)).values())]
SAME_CODE = sorted(set(OUR_MODELS) - set(MODELS))
"""Models that are another's code with other defaults."""

ODD = {
    "BM3": {"patience": 2, "features_rank": False},
    "MMGCN": {"patience": 2},
    "BERT4RecM": {"settings": {"learning_rate": 0.003}, "in_order": False},
}
"""BM3: half of a target view is dropped, and there are no negatives; features only shape the training of ids, as the paper has it. MMGCN
begins from rows of length 1, and has found the preference in half of the epochs only by some draws. BERT4RecM reads histories from both
sides, and does not know at first which items are neighbours."""

CASES = [pytest.param(d, id=f"{name}: {d}") for name in MODELS for d in model_demands(name, **ODD.get(name, {}))]


@pytest.mark.parametrize("demand", CASES)
def test_contract(demand, small_encoders):
    demand()


@pytest.fixture(scope="module")
def shops(tmp_path_factory) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="module")
def shop(shops) -> Path:
    return shops.small


def trained(folder: Path, model_name: str, epochs: int, **keys):
    """model, loaders and trainer after so many epochs."""
    return ModelChecks(model_name, Shops(folder.parent), {}, 1).trained(folder, epochs, **keys)


def test_a_resumed_run_equals_a_straight_one_whose_encoder_trains(shops):
    ModelChecks("CLIPRec", shops, {}, 1).resumes("end2end")


def test_checkpoints_give_equal_scores_in_another_process(shop, tmp_path):
    """Of a frozen encoder and of one that has trained."""
    scores, files = {}, {}
    for training in PARADIGMS:
        model, _, trainer = trained(shop, "CLIPRec", 1, encoder_training=training)
        trainer._save_checkpoint(0, verbose=False)
        scores[training], files[training] = scores_of(model), trainer.saved_model_file
    code = (
        "import sys, torch, numpy; sys.argv = sys.argv[:1]; from recbole_mm.quick_start import load_data_and_model\n"
        f"for training, file in {files!r}.items():\n"
        "    model = load_data_and_model(file)[1].eval()\n"
        "    scores = model.full_sort_predict({'user_id': torch.arange(1, model.n_users)}).view(model.n_users - 1, -1)\n"
        "    numpy.save(training + '.npy', scores.detach().numpy())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, capture_output=True)
    for training in PARADIGMS:
        assert torch.equal(scores[training], torch.from_numpy(np.load(tmp_path / f"{training}.npy"))[:, 1:])


@pytest.mark.parametrize("model_name", ["CLIPRec", "LATTICE"])
def test_over_a_finetuned_encoder_a_checkpoint_gives_the_same_scores(model_name, shop):
    """To a recommender it is a frozen encoder like any other; its tuning is tests/finetune's."""
    keys = {"encoder_training": "finetuned", "finetune_epochs": 1}
    model, _, trainer = trained(shop, model_name, 1, **keys)
    assert model.item_features.fingerprint != built(shop, model_name, encoder_training="pretrained")[1].item_features.fingerprint
    trainer._save_checkpoint(0, verbose=False)
    assert torch.equal(scores_of(load_data_and_model(trainer.saved_model_file)[1]), scores_of(model))


def test_loads_what_load_data_and_model_promises(shop):
    model, (train, *_), trainer = trained(shop, "CLIPRec", 1)
    trainer._save_checkpoint(0, verbose=False)
    loaded = load_data_and_model(trainer.saved_model_file)
    assert len(loaded) == 6 and json.dumps(loaded[0]["metrics"]) == json.dumps(trainer.config["metrics"])
    assert loaded[2].content.tokens([1, 2]) == train.dataset.content.tokens([1, 2])


@pytest.mark.parametrize("model_name", SAME_CODE)
def test_a_model_that_is_anothers_code_runs_as_that_one(model_name, shop):
    base = next(parent.__name__ for parent in get_model(model_name).__mro__ if parent.__name__ in MODELS)
    keys = {"encoder_training": "end2end", "modalities": ["image", "text"], **UNIFIED}
    assert torch.equal(*(scores_of(trained(shop, name, 1, **keys)[0]) for name in (model_name, base)))
