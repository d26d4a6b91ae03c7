"""Items that are read anew in every step: augmented in training, as they are in evaluation."""

from itertools import pairwise

import pytest
import torch

from recbole_mm.items.raw_items import RawItems
from recbole_mm.testing.planted import built

AUGMENTED = {"image_augmentation": "light", "token_dropout": 0.3}


@pytest.fixture()
def items(planted) -> RawItems:
    return built(planted, **AUGMENTED)[1].item_features.encoded_items


def rows_of(items: RawItems, seed: int, chunk_size: int = 1024, repeated: bool = True) -> tuple[dict, dict]:
    """Rows of all items in training, and the gradients of a loss of them."""
    items.chunk_size, encoder = chunk_size, items.encoder.train()
    encoder.zero_grad()
    torch.manual_seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        if not repeated:
            patch.setattr(items, "_recomputed", items._encode_chunk)
        rows = items.encode(torch.arange(1, len(items)))
    sum((r * torch.linspace(-1, 1, r.shape[1])).sum() for r in rows.values()).backward()
    return rows, {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


def test_every_step_has_views_of_its_own_that_the_seed_decides(items):
    first, again, other = (rows_of(items, seed)[0] for seed in (0, 0, 1))
    assert all(torch.equal(first[m], again[m]) and not torch.allclose(first[m], other[m], atol=1e-3) for m in ("image", "text"))


def test_a_second_forward_pass_reads_the_same_views(items):
    (rows, gradients), (plain_rows, plain) = (rows_of(items, 0, 5, repeated) for repeated in (True, False))
    torch.testing.assert_close(rows, plain_rows)
    torch.testing.assert_close(gradients, plain)


def test_evaluation_and_the_catalogue_read_items_as_they_are(items, planted):
    plain = built(planted)[1].item_features.encoded_items
    ids, before = torch.arange(1, len(items)), torch.get_rng_state()
    found = [(i.encoder.train() and i.catalogue(), i.encoder.eval() and i.encode(ids)) for i in (plain, items)]
    for ours, theirs in pairwise(found):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
