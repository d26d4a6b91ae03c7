"""Checkpoints of an earlier version load and rank as they did then, and resume where the model's parameters are the same."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder import create_encoder
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, load_data_and_model, run

KEPT = Path(__file__).parent / "kept_checkpoints"
"""The data set of four runs and the checkpoints of two of them, which had 2 epochs. ``expected.json`` holds what each run ended with."""
EXPECTED = json.loads((KEPT / "expected.json").read_text())


@pytest.fixture
def kept(tmp_path) -> Path:
    """A copy in the working directory, in which the checkpoints' names end in .pth."""
    shutil.copytree(KEPT, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("*.checkpoint"):
        file.rename(file.with_suffix(".pth"))
    return tmp_path


def sums_of_matrices(encoder: torch.nn.Module) -> list[float]:
    return [p.detach().double().sum().item() for p in encoder.parameters() if p.ndim > 1]


def scores_of_user_1(model: torch.nn.Module) -> torch.Tensor:
    """Of every item, (n_items - 1,): without the padding item."""
    with torch.no_grad():
        users, items = model.eval().final_embeddings()
    return items[1:] @ users[1]


@pytest.mark.parametrize("model_name", ["VBPR", "CLIPRec"])
def test_a_kept_checkpoint_loads_ranks_and_resumes(kept, model_name, caplog):
    """VBPR over feature files; CLIPRec with an encoder that is drawn from the seed and of which the biases are trained."""
    file, expected = kept / f"{model_name}.pth", EXPECTED[model_name]
    keys, after_2, after_4 = expected["settings"], expected["after 2 epochs"], expected["after 4 epochs"]
    if "encoder" in keys:
        drawn = sums_of_matrices(create_encoder(keys["encoder"], seed=keys["seed"]))
        if drawn != pytest.approx(expected["sums_of_drawn_matrices"], abs=1e-4):
            pytest.skip("this machine draws other random weights for the encoder than the one that wrote the checkpoint")

    config, model, *_, test = load_data_and_model(str(file))
    torch.testing.assert_close(scores_of_user_1(model), torch.tensor(after_2["scores_of_user_1"]), rtol=0, atol=1e-4)
    assert build_trainer(config, model).evaluate(test, load_best_model=False) == pytest.approx(after_2["test"], abs=1e-4)

    if model_name == "CLIPRec":  # which has parameters now that it had not
        with pytest.raises(InputError, match="other groups of parameters.*earlier version"):
            build_trainer(config, model).resume_checkpoint(str(file))
        return
    keys = {**keys, "epochs": 4, "resume": str(file), "data_path": "data", "show_progress": False, "use_gpu": False, "state": "WARNING",
            "fast_loop": False}  # fmt: skip
    result = run(model_name, "shop", config_dict=keys)
    assert "from here on with" not in caplog.text, "no setting is another one than then"
    assert result["test_result"] == pytest.approx(after_4["test"], abs=1e-4)
    assert result["best_valid_score"] == pytest.approx(after_4["best_valid_score"], abs=1e-4)
    model = load_data_and_model(str(file))[1]
    torch.testing.assert_close(scores_of_user_1(model), torch.tensor(after_4["scores_of_user_1"]), rtol=0, atol=1e-3)
