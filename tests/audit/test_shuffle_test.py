"""The shuffle test says what was planted: signal with true features, none where rows are another item's."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from recbole_mm.cli import main
from recbole_mm.testing.planted import write_features, write_planted


@pytest.fixture(scope="module")
def planted_features(tmp_path_factory):
    folder = write_planted(tmp_path_factory.mktemp("shuffle") / "shop", n_users=80, n_items=80)
    write_features(folder, ("look",))
    with safe_open(str(folder / "look.safetensors"), framework="np") as file:
        rows, tokens = file.get_tensor("features"), json.loads(file.metadata()["item_tokens"])
    wrong = np.random.default_rng(5).permutation(tokens).tolist()
    save_file({"features": rows}, folder / "shifted.safetensors", {"item_tokens": json.dumps(wrong)})
    return folder


def shuffled(folder, capsys, files: str, *more: str) -> dict:
    assert main(["audit", *more, f"--dataset={folder.name}", f"--data_path={folder.parent}", f"--feature_files={files}", "--json",
                 "--show_progress=False", "--use_gpu=False", "--shuffle-test"]) == 0  # fmt: skip
    return json.loads(capsys.readouterr().out)


def test_true_and_permuted_features(planted_features, capsys):
    report = shuffled(planted_features, capsys, "{look: look.safetensors, shifted: shifted.safetensors}")
    numbers = report["numbers"]["shuffle_test"]
    assert {modality: found["signal"] for modality, found in numbers.items()} == {"look": True, "shifted": False}
    said = [f["message"] for f in report["findings"] if f["code"].startswith("shuffle_test")]
    assert said[0].startswith("no signal found: features may be misaligned: shifted: ")
    assert said[1].startswith("the alignment carries signal: look: ")
    assert numbers["look"]["true"] > 0.7 and numbers["look"]["difference"] > 0.1
    assert abs(numbers["shifted"]["true"] - 0.5) < 0.15


def test_the_runs_own_model_and_loss_have_no_part_in_it(planted_features, capsys, monkeypatch):
    monkeypatch.setattr("recbole_mm.audit.shuffle_test.STEPS", 1)
    chosen = ([], ["--model=EASEM"], ["--model=SLMRec"], ["--model=VBPR", "--loss_type=DirectAU", "--rank_scores=cosine"])
    reports = [shuffled(planted_features, capsys, "{look: look.safetensors}", *keys)["numbers"]["shuffle_test"] for keys in chosen]
    assert reports == [reports[0]] * len(chosen)


def test_an_encoder_that_cannot_be_had(planted_features, capsys):
    status = main(["audit", f"--dataset={planted_features.name}", f"--data_path={planted_features.parent}", "--show_progress=False",
                   "--use_gpu=False", "--shuffle-test", "--encoder=open_clip:ViT-B-32@/nowhere/weights.pt"])  # fmt: skip
    assert status == 0 and "/nowhere/weights.pt" in capsys.readouterr().out
