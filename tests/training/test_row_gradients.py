"""Gradients of rows lead to the same weights as those of whole tables, and leave the others alone where they can."""

import ctypes
import platform

import pytest
import torch
from torch import nn

from recbole_mm.parallel.memory import keep_freed_memory
from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built
from recbole_mm.training import recbole_trainer, trainer

FILES = {"encoder_training": "pretrained", "modalities": ["image"]}


def trained(folder, model: str, **keys) -> tuple[nn.Module, dict]:
    """A model after an epoch, and the weights that it began with."""
    config, model, train, *_ = built(folder, model, train_batch_size=16, **keys)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = build_trainer(config, model)
    made._train_epoch(train, 0)
    return model, before


def test_a_learner_ends_where_it_would_with_whole_gradients(shop, monkeypatch):
    cases = [("BPR", {"learner": learner}) for learner in ("adam", "adamw", "sgd", "adagrad", "rmsprop")]
    cases += [("BPR", {"learner": "sgd", "weight_decay": 0.1}), ("BPR", {"learner": "adagrad", "clip_grad_norm": {"max_norm": 0.01}})]
    cases += [("LightGCN", {}), ("NeuMF", {"learner": "sgd"}), ("VBPR", {**FILES, "accumulation_steps": 2})]
    for model, keys in cases:
        rows, _ = trained(shop, model, learning_rate=0.05, **keys)
        with monkeypatch.context() as patch:
            for module in (recbole_trainer, trainer):
                patch.setattr(module, "use_row_gradients", lambda *_, **__: None)
            whole, before = trained(shop, model, learning_rate=0.05, **keys)
        assert not any(table.sparse for table in whole.modules() if type(table) is nn.Embedding)
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(rows.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=f"{model} {keys}: {name}")
        assert any(not torch.equal(value, before[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("learner", ["sgd", "adagrad"])
def test_rows_without_gradient_are_not_read(shop, learner):
    """They are no numbers, and would stay as they are in any case; but their neighbours' sums would not."""
    config, model, train, *_ = built(shop, "BPR", learner=learner, cold_item_ratio=0.25)
    cold = train.dataset.cold_items
    with torch.no_grad():
        model.item_embedding.weight[cold] = float("nan")
    before = model.item_embedding.weight.detach().clone()
    build_trainer(config, model)._train_epoch(train, 0)
    after, gradient = model.item_embedding.weight.detach(), model.item_embedding.weight.grad
    moved = (after != before).any(1)
    assert gradient.is_sparse and not moved[0] and after[cold].isnan().all() and moved.sum() > len(cold)


@pytest.mark.parametrize("fast", [True, False])
def test_adam_is_fused_where_the_loop_is_fast(shop, fast):
    config, model, *_ = built(shop, "BPR", fast_loop=fast)
    assert bool(build_trainer(config, model).optimizer.param_groups[0]["fused"]) == fast
    assert model.user_embedding.sparse == fast


def test_the_memory_of_a_gradient_is_used_again(shop):
    config, model, train, *_ = built(shop, "BPR", train_batch_size=16)
    made = build_trainer(config, model)
    weights, seen = model.user_embedding.weight, set()
    for batch in train:
        made.optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        seen.add(weights.grad.data_ptr())
        absent = torch.ones(len(weights), dtype=torch.bool).index_fill_(0, batch["user_id"], False)
        assert not weights.grad[absent].any() and weights.grad[~absent].any()
    assert len(seen) == 1


def test_other_c_libraries_are_left_alone(monkeypatch):
    keep_freed_memory()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("asked"))
    keep_freed_memory()
