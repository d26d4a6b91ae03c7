"""On a GPU: every recommender, every way to train the encoder, and a run that goes on from its checkpoint. Skipped where there is none."""

from pathlib import Path

import pytest
import torch

from recbole_mm import run
from recbole_mm.model import OUR_MODELS
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.testing.planted import built, settings, write_planted

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

WAYS = {
    "pretrained": {"encoder_training": "pretrained"},
    "pretrained, bf16": {"encoder_training": "pretrained", "encoder_precision": "bf16"},
    "finetuned": {"encoder_training": "finetuned", "finetune_epochs": 1},
    "finetuned, vlmo": {"encoder_training": "finetuned", "finetune_epochs": 1, "encoder": "vlmo:tiny", "modalities": ["joint"]},
    "end-to-end": {},
    "one joint pass": {"encoder": "beit3:tiny", "modalities": ["joint"]},
    "bf16": {"encoder_precision": "bf16"},
    "chunks": {"encoder_chunk_size": 8},
    "checkpointing": {"gradient_checkpointing": True, "encoder": "vlmo:tiny"},
    "last_k, cached": {"encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True},
    "lora": {"encoder_tuning": "lora"},
    "adapter": {"encoder_tuning": "adapter"},
    "multiway": {"encoder_tuning": "multiway"},
    "bitfit": {"encoder_tuning": "bitfit"},
    "side": {"encoder_tuning": "side"},
    "mixed precision and a scaler": {"enable_amp": True, "enable_scaler": True},
}


@pytest.fixture(scope="module")
def few_items(tmp_path_factory) -> Path:
    """Fewer items than LATTICE's graphs have neighbours between them."""
    return write_planted(tmp_path_factory.mktemp("few") / "shop", n_users=16, n_items=24)


def gpu_run(folder: Path, model: str = "CLIPRec", **keys) -> dict:
    return run(model, folder.name, config_dict=settings(folder, use_gpu=True, **keys))


@pytest.mark.parametrize("keys", WAYS.values(), ids=list(WAYS))
def test_every_way_to_train(planted_missing, keys):
    cost = gpu_run(planted_missing, epochs=2, **keys)["cost"]
    assert cost["seconds_training"] > 0 and cost["peak_memory_mib"] > 0


@pytest.mark.parametrize("encoder_training", ["pretrained", "end2end"])
@pytest.mark.parametrize("model", OUR_MODELS)
def test_every_model(planted_missing, model, encoder_training):
    gpu_run(planted_missing, model, epochs=2, encoder_training=encoder_training, encoder="beit3:tiny")


@pytest.mark.parametrize("model", ["LATTICE", "FREEDOM", "MGCN", "DRAGON", "GRCN", "LGMRec", "DiffMM"])
def test_graphs_with_more_entries_than_cells(few_items, model):
    gpu_run(few_items, model, epochs=1, knn_k=20)


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "ItemKNN"])
def test_recboles_own_models(planted, model):
    gpu_run(planted, model, epochs=2)


@pytest.mark.parametrize(
    ("model", "encoder"), [("CLIPRec", "open_clip:tiny"), ("CLIPRec", "vlmo:tiny"), ("VBPR", "beit3:tiny"), ("LATTICE", "open_clip:tiny")]
)
def test_loss_and_gradients_are_those_of_the_cpu(planted, model, encoder):
    """In float64, where rounding hides nothing."""
    found = {}
    for device, use_gpu in (("cpu", False), (DEVICE, True)):
        keys = {"id_dropout": 0.0} if model == "CLIPRec" else {}
        config, recommender, train, *_ = built(planted, model, use_gpu=use_gpu, encoder=encoder, **keys)
        assert config["device"].type == device
        recommender.double().train()
        recommender.start_epoch(0)
        loss = sum(recommender.calculate_loss(next(iter(train)).to(config["device"])))
        loss.backward()
        found[device] = [loss.detach(), *(p.grad for p in recommender.parameters() if p.grad is not None)]
    assert len(found["cpu"]) == len(found[DEVICE])
    for there, here in zip(found[DEVICE], found["cpu"], strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", ["CLIPRec", "LATTICE"])
def test_a_run_goes_on_from_its_checkpoint(planted, model):
    """A GPU adds up in any order, so the numbers are alike, not the same."""
    keys = {"metric_decimal_place": 10, "stopping_step": 9, "valid_metric": "NDCG@10"}
    straight = gpu_run(planted, model, epochs=4, checkpoint_dir="straight", **keys)
    gpu_run(planted, model, epochs=2, **keys)
    (file,) = Path("saved").glob(f"{model}-*.pth")
    resumed = gpu_run(planted, model, epochs=4, resume=str(file), **keys)
    assert resumed["test_result"] == pytest.approx(straight["test_result"], abs=0.1)
    _, found, *_ = load_data_and_model(str(file))
    assert found.device.type == DEVICE
