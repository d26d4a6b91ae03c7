"""Keys of the loss that the chosen loss does not read are named."""

import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig


@pytest.mark.parametrize(
    ("model", "keys", "unread"),
    [
        ("VBPR", {"loss_negatives": 5, "loss_temperature": 0.2}, "loss_type BPR does not read loss_negatives"),
        ("SLMRec", {"loss_scores": "cosine"}, "loss_type InfoNCE does not read loss_scores"),
        ("LATTICE", {"loss_type": "DirectAU", "loss_temperature": 0.1}, "loss_type DirectAU does not read loss_temperature"),
        ("LATTICE", {"loss_type": "sampled_softmax", "loss_negatives": 5, "loss_scores": "cosine"}, None),
        ("LATTICE", {"preset": "best"}, None),
    ],
)
def test_what_a_loss_does_not_read_is_said(model, keys, unread):
    assert MultiModalConfig(model, "demo", None, keys, []).notices == ([unread] if unread else [])
