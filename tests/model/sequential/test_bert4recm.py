"""BERT4RecM: what is hidden, what a state knows, and the loss beside a slow reference."""

import pytest
import torch
from torch.nn import functional

from recbole_mm.model.sequential.bert4recm import Cloze
from recbole_mm.model.sequential.histories import Histories
from recbole_mm.testing.planted import built, write_planted

KEYS = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "modalities": []}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("cloze") / "shop", n_users=14, n_items=32)


def cloze(shop, **keys):
    """The model in float64 with weights far from zero, and a batch of all training rows."""
    _, model, train, *_ = built(
        shop, "BERT4RecM", **{**KEYS, "train_batch_size": 1000, "repeat_bias": False, "loss_scores": "dot", "id_dropout": 0.0, **keys}
    )
    torch.manual_seed(1)
    for parameter in model.double().parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    (batch,) = list(train)
    return model, batch


@pytest.mark.parametrize("rows", ["users", "prefixes"])
@pytest.mark.parametrize(("mask_ratio", "ft_ratio", "share"), [(0.0, 0.0, 0.0), (0.99, 0.0, 0.99), (0.5, 0.0, 0.5), (0.99, 1.0, 0.0)])
def test_what_is_hidden(shop, rows, mask_ratio, ft_ratio, share):
    """Items of the history with the one after it, at least one of each, and the last one alone where it is so wanted."""
    model, batch = cloze(shop, sequence_rows=rows, mask_ratio=mask_ratio, ft_ratio=ft_ratio)
    plain = super(type(model), model).next_items(batch)
    found = model.next_items(batch)
    histories = found.histories
    assert histories.lengths.tolist() == [length + 1 for length in plain.histories.lengths.tolist()]
    assert (histories.items[:, :-1] * plain.histories.present).equal(plain.histories.items)
    ends = plain.steps == plain.histories.lengths[plain.rows] - 1
    assert histories.last(histories.items.unsqueeze(-1)).flatten().equal(plain.targets[ends])
    assert histories.hidden.any(1).all() and not (histories.hidden & ~histories.present).any()
    assert found.targets.equal(histories.items[found.rows, found.steps]) and found.targets.all()
    before = histories.hidden[:, :-1] & plain.histories.present
    assert before.sum().item() == pytest.approx(share * plain.histories.present.sum().item(), rel=0.35, abs=0)
    if not share:
        assert histories.hidden.sum(1).eq(1).all() and histories.last(histories.hidden).all()


def test_a_state_knows_what_is_shown_on_both_sides_and_nothing_that_is_hidden(shop):
    model, _ = cloze(shop)
    items = torch.tensor([[3, 9, 4, 7, 0], [5, 6, 2, 0, 0]])
    hidden = torch.tensor([[False, True, False, True, False], [False, True, False, False, False]])
    histories = Cloze(items, torch.tensor([4, 3]), hidden=hidden)
    rows = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    state = model.encode(rows, histories)[0, 1]
    gradient = torch.autograd.grad((state * torch.randn(8, dtype=torch.float64)).sum(), rows)[0].abs().sum(-1)
    assert (gradient[0] > 0).tolist() == [True, False, True, False, False] and not gradient[1].any()


def test_users_are_the_state_of_a_mask_behind_their_history(shop):
    model, _ = cloze(shop)
    model.eval()
    items = torch.tensor([[3, 9, 4, 7], [5, 6, 0, 0]])
    histories = Histories(items, torch.tensor([4, 2]))
    rows = model.item_rows()
    states = histories.last(model.states(rows, items, histories))
    for state, own in zip(states, ([3, 9, 4, 7, 1], [5, 6, 1]), strict=True):
        last = torch.arange(len(own)) == len(own) - 1
        wanted = model.encode(rows[own].unsqueeze(0), Cloze(torch.tensor([own]), torch.tensor([len(own)]), hidden=last.unsqueeze(0)))
        torch.testing.assert_close(state, wanted[0, -1])


@pytest.mark.parametrize("repeat_bias", [True, False])
@pytest.mark.parametrize("loss_type", ["CE", "sampled_softmax", "SSM"])
def test_the_loss_is_a_mean_over_what_is_hidden(shop, loss_type, repeat_bias):
    keys = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 3}} if loss_type == "sampled_softmax" else {}
    model, batch = cloze(shop, loss_type=loss_type, mask_ratio=0.3, repeat_bias=repeat_bias, **keys)
    torch.manual_seed(4)
    ours = model.calculate_loss(batch)
    torch.manual_seed(4)
    found = model.next_items(batch)
    rows, losses = model.item_rows(), []
    read = sorted({*found.histories.items[found.histories.present].tolist()})
    n_read = int(found.histories.present.sum()) + len(found.targets)
    for row, step, target in zip(found.rows.tolist(), found.steps.tolist(), found.targets.tolist(), strict=True):
        n = int(found.histories.lengths[row])
        one = Cloze(found.histories.items[[row], :n], torch.tensor([n]), hidden=found.histories.hidden[[row], :n])
        state = model.encode(rows[one.items], one)[0, step]
        shown = one.items[0][~one.hidden[0]].tolist()
        if loss_type == "CE":
            candidates, chance = list(range(model.n_items)), 1
        elif loss_type == "sampled_softmax":
            candidates, chance = [target, *found.negatives[row].tolist()], 1
        else:
            others = {*one.items[0].tolist()} - {target, *(shown if repeat_bias else ())}
            candidates = [item for item in read if item not in others]
            chance = 1 - (1 - model.popularity[candidates].double()) ** n_read
        again = torch.tensor([shown.count(item) for item in candidates]) * (model.repeat_bias if repeat_bias else 0)
        logits = rows[candidates] @ state + again - torch.as_tensor(chance).log()
        losses.append(functional.cross_entropy(logits.unsqueeze(0), torch.tensor([candidates.index(target)])))
    assert ours.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-6)
