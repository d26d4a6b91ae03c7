"""fusion: how the features of an item are joined."""

import pytest
import torch
from torch.nn import functional

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


@pytest.mark.parametrize("missing", ["learned", "zero"])
def test_gated_starts_as_concat_and_trains_its_gate(planted_missing, missing, tmp_path):
    keys = {"missing": missing, "epochs": 1, "checkpoint_dir": str(tmp_path)}
    concat, (config, gated, train, *_) = built(planted_missing, **keys)[1], built(planted_missing, fusion="gated", **keys)
    assert torch.equal(scores(gated), scores(concat))
    trainer = build_trainer(config, gated)
    trainer._train_epoch(train, 0)
    assert all(p.abs().sum() > 0 for p in gated.gate.parameters())
    content = gated.item_vectors(gated.item_features.table())[:, -64:]
    torch.testing.assert_close(content, gated.embed()[1][:, -64:])


def test_gated_joins_files_and_has_nothing_to_weigh_in_one(tmp_path):
    folder = write_planted(tmp_path / "shop", n_users=8, n_items=12)
    files = write_features(folder)
    model = built(folder, fusion="gated", feature_files=files)[1]
    assert model.gate.weigh.weight.shape == (3, 24)
    assert built(folder, fusion="gated", feature_files=files, modalities=["a"])[1].gate is None
