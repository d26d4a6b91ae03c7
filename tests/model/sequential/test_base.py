"""What all sequence models share: rows per user beside prefixes, the losses beside slow references, and RecBole's SASRec."""

import pytest
import torch
from recbole.utils import init_seed
from torch.nn import functional

from recbole_mm.errors import InputError
from recbole_mm.testing.planted import built, write_planted
from recbole_mm.training.build import build_trainer

IDS = {"modalities": [], "hidden_size": 16, "inner_size": 16}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("sequences") / "shop", n_users=14, n_items=32, missing=True)


def float64(folder, model_name="SASRecM", **keys):
    """A model without dropout in float64, and one training batch of all users."""
    _, model, train, *_ = built(folder, model_name, **{"train_batch_size": 1000, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0,
                                                       "hidden_size": 16, "inner_size": 16, "n_layers": 1, "id_dropout": 0.0,
                                                       "loss_scores": "dot", **keys})  # fmt: skip
    (batch,) = list(train)
    return model.double().train(), batch


@pytest.mark.parametrize("fast_loop", [True, False])
def test_by_ids_with_recboles_rows_it_is_recboles_sasrec(shop, fast_loop):
    scores = []
    for name, keys in [("SASRecM", {"sequence_rows": "prefixes", **IDS}), ("SASRec", {"hidden_size": 16, "inner_size": 16})]:
        shared = {"learner": "adam", "epochs": 2, "train_batch_size": 16, "fast_loop": False, "hidden_dropout_prob": 0.5}
        config, model, train, valid, _ = built(shop, name, **shared, **keys)
        config["fast_loop"] = fast_loop
        init_seed(config["seed"], config["reproducibility"])
        build_trainer(config, model).fit(train, valid, saved=False, verbose=False)
        model.eval()
        with torch.no_grad():
            scores.append(torch.cat([model.full_sort_predict(batch[0]).view(len(batch[0]), -1) for batch in valid]))
    assert torch.allclose(*scores, atol=1e-6) and scores[0].std() > 1e-3


@pytest.mark.parametrize("keys", [{}, {"loss_scores": "cosine", "loss_temperature": 0.2}], ids=str)
def test_a_row_per_user_has_the_losses_of_its_prefixes(shop, keys):
    keys = {**keys, "encoder_training": "pretrained", "loss_type": "CE"}
    model, batch = float64(shop, **keys)
    other, prefixes = float64(shop, sequence_rows="prefixes", **keys)
    other.load_state_dict(model.state_dict())
    steps = int(batch["item_length"].sum())
    assert steps == len(prefixes) > len(batch)
    assert model.calculate_loss(batch).item() == pytest.approx(other.calculate_loss(prefixes).item(), rel=1e-12)


@pytest.mark.parametrize("repeat_bias", [True, False])
@pytest.mark.parametrize("loss_type", ["CE", "SSM", "sampled_softmax"])
def test_losses_beside_slow_references_that_know_no_distinct_items(shop, loss_type, repeat_bias):
    """Every history and every target is encoded by itself."""
    arguments = {"distribution": "uniform", "sample_num": 5}
    model, batch = float64(shop, encoder_training="pretrained", loss_type=loss_type, loss_temperature=0.5, repeat_bias=repeat_bias,
                           train_neg_sample_args=arguments)  # fmt: skip
    with torch.no_grad():
        model.item_embedding.weight.mul_(20)
    found = model.calculate_loss(batch)
    rows = torch.cat([model.item_rows(torch.tensor([i])) for i in range(model.n_items)])
    own = {int(user): set() for user in batch["user_id"]}
    every = []
    for user, n, items, following in zip(
        batch["user_id"], batch["item_length"], batch["item_id_list"], batch["next_item_ids"], strict=True
    ):
        own[int(user)] |= {*items[:n].tolist(), *following[:n].tolist()}
        every += [*items[:n].tolist(), *following[:n].tolist()]
    candidates, losses = sorted(set(every)), []
    for place, user in enumerate(batch["user_id"].tolist()):
        history = batch["item_id_list"][place : place + 1]
        for step in range(int(batch["item_length"][place])):
            part = {name: batch[name][place : place + 1] for name in batch.columns}
            part = type(batch)({**part, "item_id_list": history[:, : step + 1], "item_length": torch.tensor([step + 1])})
            histories = model.histories(part)
            state = histories.last(model.encode(rows[history[:, : step + 1]], histories))[0] / 0.5
            target, had = int(batch["next_item_ids"][place, step]), history[0, : step + 1].tolist()
            if loss_type == "CE":
                allowed, chance = list(range(model.n_items)), torch.ones(model.n_items)
            elif loss_type == "sampled_softmax":
                allowed = [target, *batch["neg_item_id"][place].tolist()]
                chance = torch.ones(len(allowed))
            else:
                allowed = [item for item in candidates if item == target or item not in own[user] or (repeat_bias and item in had)]
                chance = 1 - (1 - model.popularity[allowed]) ** len(every)
            again = torch.tensor([had.count(item) for item in allowed]) * (model.repeat_bias if repeat_bias else 0.0)
            scores = rows[allowed] @ state + again - chance.log()
            losses.append(functional.cross_entropy(scores[None], torch.tensor([allowed.index(target)])))
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)


@pytest.mark.parametrize("loss_type", ["SSM", "sampled_softmax"])
def test_an_item_is_encoded_once_per_batch(shop, loss_type, monkeypatch):
    arguments = {"distribution": "uniform", "sample_num": 2}
    model, batch = float64(shop, encoder_training="end2end", loss_type=loss_type, train_neg_sample_args=arguments)
    asked = []
    items, encode = model.item_features.encoded_items, model.item_features.encoded_items.encode
    monkeypatch.setattr(items, "encode", lambda ids: (asked.append(ids), encode(ids))[1])
    model.calculate_loss(batch).backward()
    (ids,) = asked
    assert len(ids) == len(set(ids.tolist())) and 0 not in ids.tolist()


def test_padding_says_nothing(shop):
    model, batch = float64(shop, encoder_training="pretrained")
    wide = type(batch)({name: functional.pad(values, (0, 3)) if values.ndim == 2 else values for name, values in batch.interaction.items()})
    assert model.calculate_loss(wide).item() == pytest.approx(model.calculate_loss(batch).item(), rel=1e-12)
    model.eval()
    with torch.no_grad():
        assert torch.allclose(model.full_sort_predict(wide), model.full_sort_predict(batch), atol=1e-12)
        items = batch["next_item_ids"][:, 0]
        pairs = model.predict(type(batch)({**batch.interaction, "item_id": items}))
        assert torch.allclose(pairs, model.full_sort_predict(batch)[torch.arange(len(items)), items], atol=1e-12)


def test_a_catalogue_that_an_encoder_makes_anew_is_no_table_for_ce(shop):
    with pytest.raises(InputError, match="set loss_type: SSM"):
        built(shop, "SASRecM", loss_type="CE", encoder_training="end2end")
    assert built(shop, "SASRecM", encoder_training="end2end")[1].loss_type == "SSM"
    assert built(shop, "SASRecM", encoder_training="pretrained")[1].loss_type == "CE"
