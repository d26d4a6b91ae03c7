"""ITM and MLM: what is drawn, how often, and what the loss of it is."""

import math

import pytest
import torch

from recbole_mm.encoder.losses import hard_negatives, image_text_matching, mask_tokens, masked_language_loss, matching_loss


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def frequencies(draws, n):
    """(n, n) share of the draws in which row i drew column j."""
    return torch.nn.functional.one_hot(torch.stack(draws), n).double().mean(0)


def softmax_by_hand(row, admissible):
    weights = {j: math.exp(row[j]) for j in admissible}
    return [weights.get(j, 0.0) / sum(weights.values()) for j in range(len(row))]


def test_hard_negatives_follow_the_softmax_of_the_admissible_pairs():
    n, draws = 4, 4000
    similarity = torch.randn(n, n, generator=seeded(3)) * 1.5
    same = torch.eye(n, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    generator = seeded()
    texts, images = zip(*(hard_negatives(similarity, same, generator) for _ in range(draws)), strict=True)
    for drawn, scores in ((texts, similarity), (images, similarity.T)):
        expected = [softmax_by_hand(scores[i].tolist(), [j for j in range(n) if j != i and not same[i, j]]) for i in range(n)]
        found = frequencies(drawn, n)
        assert found.diagonal().sum() == 0 and found[0, 2] == found[2, 0] == 0
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=4 * math.sqrt(0.25 / draws))


def test_hard_negatives_of_extreme_scores_and_none():
    similarity = torch.tensor([[0.0, -1e4, -2e4], [500.0, 0.0, 100.0], [0.0, 0.0, 0.0]])
    same = torch.zeros(3, 3, dtype=torch.bool)
    same[2] = same[:, 2] = True
    texts, images = hard_negatives(similarity, same, seeded())
    assert texts.tolist() == [1, 0, -1] and images.tolist() == [1, 0, -1]
    assert [len(found) for found in hard_negatives(torch.zeros(0, 0))] == [0, 0]
    assert [found.tolist() for found in hard_negatives(torch.zeros(1, 1))] == [[-1], [-1]]
    assert hard_negatives(similarity, None, seeded())[0].tolist()[:2] == [1, 0]


def test_the_generator_decides_every_draw():
    state, similarity = torch.get_rng_state(), torch.zeros(30, 30)
    first, again, other = (hard_negatives(similarity, None, seeded(s))[0].tolist() for s in (1, 1, 2))
    assert first == again != other
    ids = torch.arange(1000).view(10, 100)
    first, again, other = (mask_tokens(ids, [0], 7, 1000, 0.5, seeded(s))[0].tolist() for s in (1, 1, 2))
    assert first == again != other
    assert torch.equal(state, torch.get_rng_state())


def test_matching_loss_by_hand():
    logits, is_match = torch.tensor([[0.0, 2.0], [1.0, -1.0], [3.0, 3.0]]), torch.tensor([True, False, True])
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2)) + math.log(2)) / 3
    assert matching_loss(logits, is_match).item() == pytest.approx(by_hand, rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert matching_loss(logits.bfloat16(), is_match).dtype == torch.float32
    assert matching_loss(logits.double(), is_match).dtype == torch.float64


def test_matching_scores_every_pair_and_its_hard_negatives():
    n = 5
    similarity = torch.randn(n, n, generator=seeded(1), dtype=torch.float64)
    same = torch.eye(n, dtype=torch.bool)
    same[4] = same[:, 4] = True
    table = torch.randn(n, n, 2, generator=seeded(2), dtype=torch.float64, requires_grad=True)
    asked = []

    def match_logits(images, texts):
        asked.extend(zip(images.tolist(), texts.tolist(), strict=True))
        return table[images, texts]

    loss = image_text_matching(match_logits, similarity, same, seeded(9))
    texts, images = (drawn.tolist() for drawn in hard_negatives(similarity, same, seeded(9)))
    wanted = [(i, i) for i in range(n)] + [(i, texts[i]) for i in range(4)] + [(images[j], j) for j in range(4)]
    assert asked == wanted
    by_hand = [math.log(sum(math.exp(x) for x in table[i, j].tolist())) - table[i, j, int(i == j)].item() for i, j in wanted]
    assert loss.item() == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-10)
    loss.backward()
    assert table.grad.isfinite().all() and table.grad.abs().sum() > 0


def test_matching_without_negatives_or_items():
    weight = torch.ones(2, requires_grad=True)
    alone = image_text_matching(lambda i, t: weight.expand(len(i), 2), torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.bool))
    assert alone.item() == pytest.approx(math.log(2))
    nothing = image_text_matching(lambda i, t: weight.expand(len(i), 2), torch.zeros(0, 0))
    nothing.backward()
    assert nothing.item() == 0 and weight.grad.tolist() == [0, 0]


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_masking_is_80_10_10_of_the_ordinary_tokens(probability):
    vocabulary, mask_id, n = 1000, 3, 200_000
    ids = torch.randint(5, vocabulary, (n // 100, 100), generator=seeded())
    ids[:, 0], ids[:, 60:] = 1, 0
    masked, labels = mask_tokens(ids, [0, 1], mask_id, vocabulary, probability, seeded(4))
    ordinary, chosen = ids > 1, labels != -100
    assert not (chosen & ~ordinary).any() and torch.equal(masked[~chosen], ids[~chosen]) and torch.equal(labels[chosen], ids[chosen])
    total = chosen.sum().item()
    assert total / ordinary.sum().item() == pytest.approx(probability, abs=0.01)
    kinds = {"mask": masked == mask_id, "kept": masked == ids, "other": (masked != mask_id) & (masked != ids)}
    shares = {kind: (found & chosen).sum().item() / total for kind, found in kinds.items()}
    assert shares == pytest.approx({"mask": 0.8, "kept": 0.1, "other": 0.1}, abs=0.012)
    drawn = masked[chosen & kinds["other"]]
    assert drawn.min() < 20 and drawn.max() > vocabulary - 20


def test_masking_all_or_nothing():
    ids = torch.arange(5, 25).view(2, 10)
    masked, labels = mask_tokens(ids, [], 3, 100, 0.0, seeded())
    assert torch.equal(masked, ids) and (labels == -100).all()
    assert torch.equal(mask_tokens(ids, [], 3, 100, 1.0, seeded())[1], ids)


def test_masked_language_loss_by_hand():
    logits = torch.randn(2, 3, 5, generator=seeded(), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[-100, 4, -100], [0, -100, 2]])
    picked = [(0, 1, 4), (1, 0, 0), (1, 2, 2)]
    by_hand = [math.log(sum(math.exp(x) for x in logits[i, j].tolist())) - logits[i, j, k].item() for i, j, k in picked]
    assert masked_language_loss(logits, labels).item() == pytest.approx(sum(by_hand) / 3, rel=1e-10)
    nothing = masked_language_loss(logits, torch.full((2, 3), -100))
    nothing.backward()
    assert nothing.item() == 0 and (logits.grad == 0).all()
    assert masked_language_loss(logits.bfloat16(), labels).dtype == torch.float32
