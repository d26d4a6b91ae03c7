"""fusion: how the features of an item are joined."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.model.fusion import Gate
from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built, write_features, write_planted


def scores(model) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        users, items = model.embed()
        return users @ items.T


def test_a_gate_is_its_equation_and_zeros_leave_their_weight_to_the_others():
    gate, rows = Gate([2, 1, 3]), [torch.randn(4, width) for width in (2, 1, 3)]
    for ours, given in zip(gate(rows), rows, strict=True):
        torch.testing.assert_close(ours, given)
    torch.nn.init.normal_(gate.weigh.weight), torch.nn.init.normal_(gate.weigh.bias)
    rows[2][1], rows[0][2], rows[1][2], rows[2][2] = 0, 0, 0, 0
    logits = torch.cat(rows, 1) @ gate.weigh.weight.T + gate.weigh.bias
    for item, present in enumerate([[0, 1, 2], [0, 1], [], [0, 1, 2]]):
        weights = len(present) * torch.softmax(logits[item, present], 0)
        for m, row in enumerate(gate(rows)):
            torch.testing.assert_close(row[item], weights[present.index(m)] * rows[m][item] if m in present else torch.zeros(row.shape[1]))


def test_a_gate_follows_what_a_row_says_about_the_other():
    """The first row says by its sign which of the two rows the target is made of, which no linear map of both can follow."""
    torch.manual_seed(0)
    trusted = torch.arange(256) % 2
    first = functional.normalize(torch.cat([3 * (2.0 * trusted - 1).unsqueeze(1), torch.randn(256, 3)], 1), dim=1)
    rows = [first, functional.normalize(torch.randn(256, 4), dim=1)]
    target = torch.where(trusted.bool(), rows[0][:, 1], rows[1][:, 1])
    errors = []
    for gate in (None, Gate([4, 4])):
        project = torch.nn.Linear(8, 1)
        parameters = [*project.parameters(), *(gate.parameters() if gate else ())]
        optimizer = torch.optim.Adam(parameters, 0.1)
        for _ in range(150):
            loss = (project(torch.cat(gate(rows) if gate else rows, 1)).squeeze(1) - target).square().mean()
            optimizer.zero_grad(), loss.backward(), optimizer.step()
        errors.append(float(loss.detach()))
    assert errors[1] < errors[0] / 5


@pytest.mark.parametrize("training", ["end2end", "pretrained"])
@pytest.mark.parametrize("fusion", ["gated", "cross"])
def test_it_starts_as_concat_to_the_bit_and_then_trains(planted_missing, fusion, training, tmp_path):
    keys = {"encoder_training": training, "missing": "zero" if fusion == "gated" else "learned", "checkpoint_dir": str(tmp_path)}
    concat, (config, joined, train, *_) = built(planted_missing, **keys)[1], built(planted_missing, fusion=fusion, **keys)
    assert torch.equal(scores(joined), scores(concat))
    losses, batch = [], next(iter(train))
    for model in (concat.train(), joined.train()):
        torch.manual_seed(0)
        losses.append(torch.stack(model.calculate_loss(batch)))
    torch.testing.assert_close(*losses)
    extra = joined.state_dict().keys() - concat.state_dict().keys()
    assert {name.split(".")[0] for name in extra} == ({"gate"} if fusion == "gated" else {"project_cross", "item_features"})
    before = {name: joined.state_dict()[name].clone() for name in extra}
    trainer = build_trainer(config, joined)
    for epoch in range(2):
        trainer._train_epoch(train, epoch)
    assert not [name for name, value in before.items() if torch.equal(value, joined.state_dict()[name])]
    content = joined.eval().item_vectors(joined.item_features.table())[:, -64:]
    torch.testing.assert_close(content, joined.embed()[1][:, -64:])


def test_gated_joins_files_and_has_nothing_to_weigh_in_one(tmp_path):
    folder = write_planted(tmp_path / "shop", n_users=8, n_items=12)
    files = write_features(folder)
    model = built(folder, fusion="gated", feature_files=files)[1]
    assert model.gate.weigh.weight.shape == (3, 24)
    assert built(folder, fusion="gated", feature_files=files, modalities=["a"])[1].gate is None


@pytest.fixture(scope="module")
def matching(tmp_path_factory) -> Path:
    """Every user buys either items whose words go with their colour or the others, so that neither picture nor text says anything by
    itself. Items 16 to 31 are cold."""
    folder = write_planted(tmp_path_factory.mktemp("data") / "matching", n_users=24, n_items=32)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    rows += [f"u{u}\ti{i}\t{i}" for u in range(24) for i in range(32) if matches(i) == u % 2]
    (folder / "matching.inter").write_text("\n".join(rows) + "\n")
    (folder / "cold.txt").write_text("".join(f"i{i}\n" for i in range(16, 32)))
    return folder


def matches(item: int) -> bool:
    return item % 2 == item // 2 % 2


@pytest.mark.parametrize(("fusion", "least", "most"), [("concat", 0.4, 0.6), ("cross", 0.95, 1.0)])
def test_cross_finds_a_preference_for_pictures_that_go_with_their_texts(matching, fusion, least, most, tmp_path):
    keys = {"fusion": fusion, "encoder_training": "pretrained", "use_id": False, "cold_items": str(matching / "cold.txt")}
    config, model, train, *_ = built(matching, learning_rate=0.01, epochs=30, checkpoint_dir=str(tmp_path), **keys)
    trainer = build_trainer(config, model)
    for epoch in range(30):
        trainer._train_epoch(train, epoch)
    items = {int(token[1:]): place for place, token in enumerate(item_tokens(train.dataset)) if place}
    right = []
    for row, token in zip(scores(model)[1:], user_tokens(train.dataset)[1:], strict=True):
        liked, other = (row[[items[i] for i in range(16, 32) if (matches(i) == int(token[1:]) % 2) == own]] for own in (True, False))
        right.append((liked.unsqueeze(1) > other).float().mean())
    assert least <= torch.stack(right).mean() <= most
