"""GRU4RecM beside the equations of a GRU, item by item."""

import pytest
import torch

from recbole_mm.testing.planted import built


@pytest.mark.parametrize("num_layers", [1, 2])
def test_states(planted, num_layers):
    keys = {"modalities": [], "hidden_size": 6, "inner_size": 5, "num_layers": num_layers}
    _, model, _, _, test = built(planted, "GRU4RecM", **keys)
    model.double().eval()
    interaction = next(iter(test))[0]
    histories = model.histories(interaction)
    scores = model.full_sort_predict(interaction)
    for row in range(3):
        outputs = [model.item_embedding.weight[item] for item in histories.items[row, : histories.lengths[row]]]
        for layer in range(num_layers):
            inward, onward = (model.gru.get_parameter(f"weight_{kind}_l{layer}") for kind in ("ih", "hh"))
            h, inputs, outputs = torch.zeros(5, dtype=torch.float64), outputs, []
            for x in inputs:
                (r, z, n), (hr, hz, hn) = (inward @ x).chunk(3), (onward @ h).chunk(3)
                r, z = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
                h = (1 - z) * torch.tanh(n + r * hn) + z * h
                outputs.append(h)
        state = model.dense.weight @ outputs[-1] + model.dense.bias
        torch.testing.assert_close(scores[row], model.item_embedding.weight @ state)
