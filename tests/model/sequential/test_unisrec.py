"""UniSRec's item rows and scores from their equations, with and without ids."""

import pytest
import torch

from recbole_mm.errors import InputError
from recbole_mm.testing.planted import built, write_features


@pytest.mark.parametrize("use_id", [True, False])
def test_rows_and_scores(planted, use_id):
    files = write_features(planted, ("a", "b"))
    keys = {"feature_files": files, "use_id": use_id, "hidden_size": 8, "n_exps": 3, "repeat_bias": False}
    _, model, train, _, test = built(planted, "UniSRec", **keys)
    torch.manual_seed(0)
    for parameter in model.double().eval().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    rows = []
    for item in range(model.n_items):
        row = model.item_embedding.weight[item] if use_id else 0
        for m, table in model.item_features.table().items():
            x, mixture = table[item].double(), model.content.maps[m]
            gates = (x @ mixture.gate).exp()
            row = row + sum(g * (e.w.weight @ (x - e.b)) for g, e in zip(gates / gates.sum(), mixture.experts, strict=True))
        rows.append(row)
    rows = torch.stack(rows)
    torch.testing.assert_close(model.item_rows(), rows)
    torch.testing.assert_close(model.item_rows(torch.tensor([5, 2])), rows[[5, 2]])
    interaction = next(iter(test))[0]
    histories = model.histories(interaction)
    states = histories.last(model.encode(rows[histories.items], histories))
    cosines = torch.nn.functional.cosine_similarity(states.unsqueeze(1), rows.unsqueeze(0), dim=-1)
    torch.testing.assert_close(model.full_sort_predict(interaction).view(len(states), -1), cosines / 0.07)


def test_its_settings_are_the_papers(planted):
    """Inductive: no parameter belongs to an item. Cosines over .07."""
    _, model, *_ = built(planted, "UniSRec", feature_files=write_features(planted, ("a",)))
    assert not any(model.n_items in parameter.shape for parameter in model.parameters())
    assert model.cosine and model.temperature == 0.07 and len(model.content.maps["a"].experts) == 8
    with pytest.raises(InputError, match="UniSRec needs item features"):
        built(planted, "UniSRec", modalities=[], use_id=True)


def test_training_starts_from_principal_components(planted):
    """Rows are about 1 long and around zero, and as much alike as the features; no expert is the other's copy."""
    _, model, *_ = built(planted, "UniSRec", feature_files=write_features(planted, ("a",)), hidden_size=32)
    model.eval()
    model.start_training()
    rows, features = model.item_rows()[1:], model.item_features.table()["a"][1:]
    assert rows.norm(dim=1).mean().item() == pytest.approx(1, abs=0.1) and rows.mean(0).norm() < 0.05
    centred = features - features.mean(0)
    cosines = [torch.nn.functional.cosine_similarity(x.unsqueeze(0), x.unsqueeze(1), dim=-1) for x in (rows, centred)]
    torch.testing.assert_close(*cosines, atol=0.15, rtol=0)
    first, second = (expert.w.weight for expert in model.content.maps["a"].experts[:2])
    assert (first - second).std().item() == pytest.approx(0.02 * 2**0.5, rel=0.2)
