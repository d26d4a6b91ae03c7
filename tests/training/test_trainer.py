"""The encoder is a parameter group of its own, warms up, waits its turn, and the run says what it cost."""

import re

import pytest
import torch
from torch import nn

from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings
from recbole_mm.training.cost import cost_lines
from recbole_mm.training.health import health_of, score_spreads
from tests.training.quick import QUICK, count_as_pretrained


def trainer_of(folder, **keys):
    config, model, train, valid, test = built(folder, **keys)
    return build_trainer(config, model), model, train, valid, test


def test_parameter_groups(planted):
    trainer, model, *_ = trainer_of(planted, encoder_learning_rate=2e-4, encoder_weight_decay=0.3, learning_rate=0.01, weight_decay=0.0)
    recommender, matrices, vectors, scalars = trainer.optimizer.param_groups
    assert (recommender["lr"], matrices["lr"], vectors["lr"]) == (0.01, 2e-4, 2e-4)
    assert (matrices["decay"], vectors["decay"], scalars["decay"]) == (0.3, 0.0, 0.0)
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.0}
    assert all(p.ndim > 1 for p in matrices["params"]) and all(p.ndim == 1 for p in vectors["params"])
    assert scalars["params"] == [model.item_features.encoder.model.logit_scale]
    grouped = [id(p) for group in trainer.optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    frozen, model, *_ = trainer_of(planted, encoder_training="pretrained")
    assert len(frozen.optimizer.param_groups) == 1


@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "rmsprop"])
def test_weights_without_gradient_decay_by_their_rate_whatever_the_learner(shop, learner):
    """As part of a gradient that Adam normalises, any decay would take the whole rate off the embeddings of words that no text has."""
    keys = {"learner": learner, "encoder_learning_rate": 1e-3, "encoder_weight_decay": 0.5, "encoder_warmup_steps": 0}
    trainer, model, train, *_ = trainer_of(shop, modalities=["text"], **keys)
    words = dict(model.item_features.encoder.named_parameters())["model.token_embedding.weight"]
    before = words.detach().clone()
    for epoch in range(2):
        trainer._train_epoch(train, epoch)
    unused = before[20_000:30_000]
    torch.testing.assert_close(words.detach()[20_000:30_000], unused * (1 - 1e-3 * 0.5) ** (2 * len(train)), rtol=1e-5, atol=1e-9)
    assert not torch.allclose(words.detach(), before * (1 - 1e-3 * 0.5) ** (2 * len(train)))


def test_automatic_rates_depend_on_where_the_weights_come_from(planted, monkeypatch):
    assert trainer_of(planted)[0].optimizer.param_groups[1]["lr"] == 1e-3
    count_as_pretrained(monkeypatch)
    trainer = trainer_of(planted, epochs=6)[0]
    assert trainer.optimizer.param_groups[1]["lr"] == 1e-5 and trainer.frozen.epochs == 3


def test_warm_up_is_linear_in_the_encoders_steps(shop):
    trainer, model, train, *_ = trainer_of(shop, **QUICK, encoder_warmup_steps=4, encoder_learning_rate=1e-3, encoder_freeze_epochs=1)
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda *_: rates.append(trainer.optimizer.param_groups[1]["lr"]))
    steps = len(train)
    for epoch in range(3):
        trainer._train_epoch(train, epoch)
    live = rates[steps:]
    assert live[:5] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_a_warm_up_that_does_not_end_is_told(shop, caplog):
    keys = {**QUICK, "epochs": 2, "encoder_freeze_epochs": 1}
    steps = len(trainer_of(shop, **keys)[2])
    for warmup, told in ((steps, True), (steps - 1, False)):
        caplog.clear()
        trainer, _, train, *_ = trainer_of(shop, encoder_warmup_steps=warmup, **keys)
        trainer.fit(train, None, verbose=False, saved=False)
        assert (f"encoder_warmup_steps {warmup} of {steps} steps" in caplog.text) == told


def test_freeze_epochs_train_the_head_on_a_table(shop):
    trainer, model, train, valid, _ = trainer_of(shop, **QUICK, encoder_freeze_epochs=2, epochs=3)
    start = [p.detach().clone() for p in model.item_features.encoder.parameters()]
    for epoch in range(2):
        trainer._train_epoch(train, epoch)
    assert model.item_features.cost.items == len(model.item_features), "one refresh serves all frozen epochs"
    assert all(torch.equal(a, b) for a, b in zip(start, model.item_features.encoder.parameters(), strict=True))
    trainer._train_epoch(train, 2)
    assert not all(torch.equal(a, b) for a, b in zip(start, model.item_features.encoder.parameters(), strict=True))


def test_a_rate_of_zero_is_a_frozen_encoder(shop):
    keys = {"train_batch_size": 32, "epochs": 2, "encoder_learning_rate": 0.0}
    found = []
    for training in ("end2end", "pretrained"):
        trainer, model, train, valid, _ = trainer_of(shop, encoder_training=training, **keys)
        trainer.fit(train, valid, verbose=False, saved=False)
        found.append((model.state_dict(), trainer.best_valid_result))
    (live, result), (frozen, same) = found
    assert result == same and live.keys() == frozen.keys() and all(torch.equal(live[name], frozen[name]) for name in live)


def test_cosine_schedule_ends_at_zero(shop):
    keys = {"encoder_warmup_steps": 2, "encoder_freeze_epochs": 1, "learning_rate_schedule": "cosine", "learning_rate": 0.01}
    trainer, model, train, *_ = trainer_of(shop, **QUICK, **keys, encoder_learning_rate=1e-3)
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda *_: rates.append([group["lr"] for group in trainer.optimizer.param_groups[:2]]))
    for epoch in range(3):
        trainer._train_epoch(train, epoch)
    assert len(rates) == 3 * len(train)
    recommender, encoder = zip(*rates, strict=True)
    assert recommender[0] == pytest.approx(0.01, rel=0.05) and recommender[-1] == pytest.approx(0, abs=1e-9)
    assert all(later < earlier for earlier, later in zip(recommender[1:], recommender[2:], strict=False))
    live = encoder[len(train) :]
    assert live[:2] == pytest.approx([0.5e-3, 1e-3]) and live[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("model_name", ["VBPR", "LATTICE"])
def test_accumulated_batches_are_one_batch(planted, model_name):
    """SGD and a loss that is a mean over interactions: the sums of halves' gradients are those of the whole."""
    keys = {"learner": "sgd", "learning_rate": 0.1, "encoder_learning_rate": 0.1, "reg_weight": 0.0, "epochs": 1}
    states = []
    for every, size in ((2, 80), (1, 160)):
        trainer, model, train, *_ = trainer_of(planted, model=model_name, **keys, accumulation_steps=every, train_batch_size=size)
        trainer._train_epoch(iter_of(train, 160), 0)
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-6)


def iter_of(train, n: int) -> list:
    """The first n training interactions in their order, each with the same negative, in batches of the loader's size."""
    data = train.dataset.inter_feat[torch.arange(n)]
    data.update(data.__class__({"neg_item_id": data["item_id"] % 40 + 1}))
    return [data[torch.arange(start, start + train.step)] for start in range(0, n, train.step)]


def test_a_loss_that_is_no_number_ends_in_one_line(planted):
    trainer, model, train, *_ = trainer_of(planted, model="VBPR", encoder_training="pretrained")
    with torch.no_grad():
        model.user_embedding.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="the loss of epoch 1 is not finite"):
        trainer._train_epoch(train, 0)


def test_health_of_a_run(planted, caplog):
    trainer, model, train, valid, _ = trainer_of(planted, epochs=1, state="INFO")
    with caplog.at_level("INFO"):
        trainer.fit(train, valid, saved=False)
    assert "mean cosine of items: image" in caplog.text and "encoder gradient norm" in caplog.text
    health = trainer.health
    rows = model.item_features.table()["image"][1:].double()
    pairs = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=-1)
    different = ~torch.eye(len(rows), dtype=torch.bool)
    assert health["cosines"]["image"] == pytest.approx(float(pairs[different].mean()), abs=1e-4)
    assert health["gradient_norm"] > 0 and health["spreads"].keys() == {"id", "content"}
    with torch.no_grad():
        model.user_content.weight.mul_(10)
        model.user_content.common.mul_(10)
    assert score_spreads(model)["content"] == pytest.approx(10 * health["spreads"]["content"], rel=1e-3)


def test_steps_whose_scaled_loss_overflowed_are_no_part_of_the_mean_gradient(planted):
    model = trainer_of(planted)[1].eval()
    norms = [torch.tensor(value) for value in (1.0, float("inf"), 3.0, float("nan"))]
    assert health_of(model, norms)["gradient_norm"] == 2 and health_of(model, norms[1:2])["gradient_norm"] is None


def test_the_cost(shop, tmp_path):
    result = run("CLIPRec", shop.name, config_dict=settings(shop, epochs=1))
    cost = result["cost"]
    trainer, model, train, valid, test = trainer_of(shop, epochs=1)
    trainer.fit(train, valid, verbose=False, saved=False)
    distinct = sum(len(batch["item_id"].unique()) for batch in train)
    assert cost["items_encoded"] >= len(model.item_features) + distinct * 0.5
    assert cost["total_parameters"] == cost["trainable_parameters"] == sum(p.numel() for p in model.parameters())
    assert all(cost[f"seconds_{phase}"] > 0 for phase in ("encoding", "training", "evaluating")) and cost["peak_memory_mib"] > 50
    assert cost["share_of_bare_encoder"] > 0 and cost["items_per_second"] > 0
    seconds, sizes = cost_lines(trainer.account.report(model, trainer.device))
    assert re.fullmatch(r"encoding [\d.]+ s \(\d+ items, \d+ items/s\), training [\d.]+ s, evaluating [\d.]+ s", seconds)
    assert re.fullmatch(r"\d+ MiB at most; training ran at [\d.]+ of the bare encoder's speed", sizes)
    frozen = run("CLIPRec", shop.name, config_dict=settings(shop, epochs=1, encoder_training="pretrained"))["cost"]
    assert frozen["share_of_bare_encoder"] is None and frozen["trainable_parameters"] < cost["trainable_parameters"]
    assert frozen["seconds_finetuning"] == 0
    keys = {"encoder_training": "finetuned", "finetune_epochs": 1, "cache_dir": str(tmp_path)}
    tuned = run("CLIPRec", shop.name, config_dict=settings(shop, epochs=1, **keys))["cost"]
    assert tuned["seconds_finetuning"] > tuned["seconds_encoding"] > 0 and cost_lines(tuned)[0].startswith("fine-tuning ")


def test_the_bare_encoder_does_what_training_did(planted_missing, monkeypatch):
    """Of the items of a batch as many have a picture as of those that the bare encoder reads."""
    trainer, model, train, valid, _ = trainer_of(planted_missing, epochs=1)
    trainer.fit(train, valid, verbose=False, saved=False)
    items, read = model.item_features.encoded_items, []
    assert items.largest_call["image"] < items.largest_call["items"] > items.largest_call["text"]
    monkeypatch.setattr(items, "forward", lambda m, inputs, forward=items.forward: read.append((m, len(inputs))) or forward(m, inputs))
    assert model.item_features.bare_throughput() > 0
    assert set(read[2:]) == {(m, items.largest_call[m]) for m in ("image", "text")} and 4 <= len(read) <= 8


def test_a_batch_whose_items_have_no_picture_trains_on(planted_missing):
    trainer, model, train, *_ = trainer_of(planted_missing, modalities=["image"], train_batch_size=2, contrastive_weight=0.0)
    lacking = (~model.item_features.present("image")).nonzero().squeeze(1)
    data = train.dataset.inter_feat
    only = data[torch.isin(data["item_id"], lacking)][torch.arange(2)]
    trainer._train_epoch([only], 0)
    assert trainer.gradient_norms == []


def test_a_catalogue_is_encoded_once_an_epoch(shop):
    trainer, model, train, valid, _ = trainer_of(shop, model="VBPR", epochs=2, train_batch_size=64)
    model.uses_table = True
    trainer.fit(train, valid, verbose=False, saved=False)
    training = 2 * sum(len(torch.cat([b["item_id"], b["neg_item_id"]]).unique()) for b in train)
    assert trainer.account.encoding.items <= training + 3 * len(model.item_features), "before the first epoch, and by every evaluation"


def watch_linear_layers(module: nn.Module) -> set[torch.dtype]:
    """The types in which linear layers, and linear maps of features, compute from now on."""
    found: set[torch.dtype] = set()
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _, inputs, output: found.add(output.dtype))
        elif hasattr(layer, "projected"):
            layer.projected = noting(layer.projected, found)
    return found


def noting(projected, found: set[torch.dtype]):
    def call(*arguments):
        rows = projected(*arguments)
        found.update(values.dtype for values in rows.values())
        return rows

    return call


@pytest.mark.parametrize("model_name", ["MGCN", "LATTICE", "FREEDOM", "DRAGON", "SMORE"])
def test_mixed_precision_of_graph_models(shop, model_name):
    """Linear layers compute in bfloat16, but losses are not: they are close to those in full precision, and weights stay float32."""
    losses = {}
    for mixed, expected in ((False, torch.float32), (True, torch.bfloat16)):
        trainer, model, train, *_ = trainer_of(shop, **QUICK, model=model_name, enable_amp=mixed, encoder_training="pretrained", epochs=1)
        computed_in = watch_linear_layers(model)
        of_an_epoch = trainer._train_epoch(train, 0)
        losses[mixed] = sum(of_an_epoch) if isinstance(of_an_epoch, tuple) else of_an_epoch
        assert computed_in == {expected} and {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses[True] != losses[False] and losses[True] == pytest.approx(losses[False], rel=0.01)


def test_mixed_precision_with_frozen_epochs(shop):
    """The encoder computes in bfloat16 where it trains. In full precision, it makes the tables of frozen epochs and of evaluations."""
    trainer, model, train, valid, _ = trainer_of(shop, **QUICK, enable_amp=True, encoder_freeze_epochs=1, epochs=2)
    features, weights = model.item_features, model.encoder_parameters()
    computed_in, before = watch_linear_layers(features.encoder), [p.detach().clone() for p in weights]
    trainer._train_epoch(train, 0)
    assert computed_in == {torch.float32} and all(map(torch.equal, weights, before))
    computed_in.clear()
    trainer._train_epoch(train, 1)
    assert computed_in == {torch.bfloat16} and not all(map(torch.equal, weights, before))
    assert {p.dtype for p in weights} == {torch.float32}
    computed_in.clear()
    trainer.eval_collector.data_collect(train)
    trainer.evaluate(valid, load_best_model=False)
    assert computed_in == {torch.float32} and features.table()["image"].dtype == torch.float32


@pytest.mark.parametrize("eval_args", [{"mode": "uni20"}, {"split": {"LS": "valid_and_test"}}, {"split": {"RS": [0.7, 0, 0.3]}}])
def test_recboles_other_ways_to_evaluate(shop, monkeypatch, eval_args):
    """Scores of the items that a user of the planted shop likes, all of which are above the others or below: 6 of 24 items."""
    trainer, model, train, valid, test = trainer_of(shop, **QUICK, eval_args=eval_args, epochs=1, encoder_training="pretrained")
    trainer.fit(train, valid, verbose=False, saved=True)
    assert trainer.evaluate(test).keys() == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}
    users, items = (torch.tensor([-1, *(int(token[1:]) % 4 for token in test.dataset.field2id_token[field][1:])])
                    for field in ("user_id", "item_id"))  # fmt: skip
    liked = (users[:, None] == items).float()
    for sign, recall in ((1, 1), (-1, 0)):
        monkeypatch.setattr(model, "predict", lambda batch, sign=sign: sign * liked[batch["user_id"], batch["item_id"]])
        monkeypatch.setattr(model, "full_sort_predict", lambda batch, sign=sign: sign * liked[batch["user_id"]])
        assert trainer.evaluate(test, load_best_model=False)["recall@5"] == recall
