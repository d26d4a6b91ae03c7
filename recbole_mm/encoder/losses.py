"""Losses that fit an encoder to its items before or beside a recommender: ITC, ITM, MLM, CLCE and supervised contrast.

They are pure functions of a batch. Each returns a scalar in at least float32, whatever the autocast state (float64 stays float64), and
zero with a graph if the batch offers nothing to learn from. All random numbers come from ``generator``, on its device.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

IGNORED = -100
"""The label of a token that the masked language loss leaves out."""


def image_text_contrastive(
    image: Tensor, text: Tensor, logit_scale: Tensor | float, logit_bias: Tensor | float | None = None, same: Tensor | None = None
) -> Tensor:
    """Symmetric loss that pulls row i of ``image`` towards row i of ``text`` and pushes it away from every other row.

    Without ``logit_bias``: CLIP's softmax loss, the mean of both directions' cross-entropies (Radford et al. 2021). With it:
    SigLIP's pairwise sigmoid loss, summed over the n x n pairs and divided by n (Zhai et al. 2023).

    Args:
        image, text: (n, d) rows of the same items, in the same order; L2-normalised here.
        logit_scale: the positive factor on the cosines (already exponentiated).
        logit_bias: added to the scaled cosines.
        same: symmetric bool (n, n): pairs of rows that share their picture or their text, and so are not each other's negatives.

    Raises:
        ValueError: the shapes differ or are not (n, d).
    """
    if image.shape != text.shape or image.dim() != 2:
        raise ValueError(f"image and text rows must both be (n, d), not {tuple(image.shape)} and {tuple(text.shape)}")
    n = image.shape[0]
    with torch.autocast(image.device.type, enabled=False):
        image, text = _at_least_float32(image), _at_least_float32(text)
        if n < 2:
            return (image.sum() + text.sum()) * 0.0
        logits = F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T * logit_scale
        own = torch.eye(n, dtype=torch.bool, device=logits.device)
        shared = torch.zeros_like(own) if same is None else same & ~own
        if logit_bias is None:
            logits = logits.masked_fill(shared, -torch.inf)
            targets = torch.arange(n, device=logits.device)
            return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
        signs = 2 * own.to(logits.dtype) - 1
        return -F.logsigmoid(signs * (logits + logit_bias)).masked_fill(shared, 0.0).sum() / n


def shared_pairs(*group_ids: Tensor) -> Tensor:
    """The pairs of rows whose ids agree in any of the (n,) vectors (ids of pictures, ids of texts): bool (n, n), for ``same``. An id of
    -1 is unknown and agrees with nothing, not even with itself."""
    return torch.stack([(ids[:, None] == ids) & (ids >= 0)[:, None] for ids in group_ids]).any(0)


def hard_negatives(similarity: Tensor, same: Tensor | None = None, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draws for each image a text, and for each text an image, that look as if they matched (ALBEF: Li et al. 2021, arXiv 2107.07651).

    Args:
        similarity: (n, n) scaled cosines, images by texts; an image draws from the softmax over its admissible texts, a text likewise.
        same: bool (n, n), pairs that are not admissible as negatives of each other; the diagonal never is.

    Returns:
        int64 (n,) text index per image, and (n,) image index per text; -1 where nothing is admissible.
    """
    logits = _at_least_float32(similarity.detach())
    admissible = ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    admissible = admissible if same is None else admissible & ~same
    return _draw(logits, admissible, generator), _draw(logits.T, admissible.T, generator)


def matching_loss(logits: Tensor, is_match: Tensor) -> Tensor:
    """Cross-entropy of (m, 2) logits, (no match, match), against bool (m,)."""
    return _cross_entropy(logits, is_match.long())


def image_text_matching(
    match_logits: Callable[[Tensor, Tensor], Tensor], similarity: Tensor, same: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """ITM as in ALBEF and VLMo (Bao et al. 2021, arXiv 2111.02358): does this picture belong to this text? The loss is over the n pairs
    of the batch, a hard negative text for each image, and a hard negative image for each text (see ``hard_negatives``).

    ``match_logits``: (m,) image indices, (m,) text indices -> (m, 2) logits of the pairs; called once, with m <= 3n.
    """
    texts, images = hard_negatives(similarity, same, generator)
    own = torch.arange(len(similarity), device=similarity.device)
    pairs = torch.cat([torch.stack([own, own]), torch.stack([own, texts]), torch.stack([images, own])], dim=1)
    is_match = torch.arange(pairs.shape[1], device=pairs.device) < len(own)
    drawn = (pairs >= 0).all(0)
    return matching_loss(match_logits(*pairs[:, drawn]), is_match[drawn])


def mask_tokens(
    token_ids: Tensor,
    special_ids: Sequence[int],
    mask_id: int,
    vocab_size: int,
    probability: float = 0.15,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """BERT's corruption (Devlin et al. 2019): each token is chosen with ``probability``; of the chosen tokens 80 % become ``mask_id``,
    10 % become any id below ``vocab_size``, and 10 % stay.

    Tokens with ``special_ids`` (padding, start, end) are never chosen. Returns the corrupted ids, and labels: the original id where a
    token was chosen, ``IGNORED`` elsewhere.
    """
    where = token_ids.device if generator is None else generator.device
    choice, fate = torch.rand((2, *token_ids.shape), generator=generator, device=where).to(token_ids.device)
    random_ids = torch.randint(vocab_size, token_ids.shape, generator=generator, device=where).to(token_ids.device)
    special = torch.tensor(special_ids, dtype=token_ids.dtype, device=token_ids.device)
    chosen = (choice < probability) & ~torch.isin(token_ids, special)
    corrupted = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, random_ids, token_ids))
    return torch.where(chosen, corrupted, token_ids), token_ids.masked_fill(~chosen, IGNORED)


def masked_language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (..., vocabulary) logits at those tokens whose label, (...), is not ``IGNORED``."""
    return _cross_entropy(logits[labels != IGNORED], labels[labels != IGNORED])


def label_aware_contrastive(features: Tensor, labels: Tensor, temperature: float = 0.5, beta: float | None = None) -> Tensor:
    """Pulls rows of one class together and pushes other classes away, the most similar ones hardest: the label-aware half of CLCE
    (Long et al. 2024, arXiv 2402.14551), with the weights of hard negative sampling (Robinson et al. 2021, arXiv 2010.04592).

    With c_ij the cosine of rows i and j, P_i the other rows of i's class, N_i the rows of other classes, an anchor i costs
    -log( 1/|P_i| sum_P exp(c_ip / t) / (sum_P exp(c_ip / t) + sum_N w_ik exp(c_ik / t)) ), w_ik = |N_i| exp(b c_ik) / sum_N exp(b c_ij)

    Deviations: the mean over the anchors that have a P_i instead of the sum; rows are L2-normalised here. Not checked against the
    authors' code, and therefore uncertain: that the mean over P_i is inside the logarithm, and that b = 1 / t is their weight.

    Args:
        features: (n, d); gradients pass through w as well.
        labels: int64 (n,); rows with -1 have no class and take no part.
        temperature, beta: t and the hardness b; b = 0 weighs all negatives alike, None stands for 1 / t.
    """
    with torch.autocast(features.device.type, enabled=False):
        known = labels >= 0
        features, labels = F.normalize(_at_least_float32(features)[known], dim=-1), labels[known]
        peers = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        anchors = peers.any(1)
        if not anchors.any():
            return features.sum() * 0.0
        cosines, positives, negatives = features[anchors] @ features.T, peers[anchors], labels[anchors, None] != labels
        beta = 1 / temperature if beta is None else beta
        pull = _log_sum(cosines / temperature, positives)
        push = _log_sum(cosines * (1 / temperature + beta), negatives) - _log_mean(cosines * beta, negatives)
        push = push.masked_fill(~negatives.any(1), -torch.inf)
        return (torch.logaddexp(pull, push) - _log_mean(cosines / temperature, positives)).mean()


def clce_loss(
    features: Tensor, logits: Tensor, labels: Tensor, weight: float = 0.9, temperature: float = 0.5, beta: float | None = None
) -> Tensor:
    """CLCE (arXiv 2402.14551): (1 - weight) * cross-entropy of (n, classes) logits + weight * ``label_aware_contrastive``."""
    classified = _cross_entropy(logits[labels >= 0], labels[labels >= 0])
    return (1 - weight) * classified + weight * label_aware_contrastive(features, labels, temperature, beta)


def supervised_contrastive(features: Tensor, labels: Tensor, items: Tensor | None = None, temperature: float = 0.07) -> Tensor:
    """Pulls rows of one class together and pushes all others away (Khosla et al. 2020, arXiv 2004.11362; over the views of pictures alone
    it is LaCViT's loss: Long et al. 2023, arXiv 2303.18013).

    With c_ij the cosine of rows i and j, and P_i the other rows of i's class, row i costs the mean over p in P_i of
    -log( exp(c_ip / t) / sum over all j but i of exp(c_ij / t) )

    The loss is the mean over the rows that have a class. A row whose class has no other item in the batch costs 0: views of the item
    itself, which Khosla et al. would pull together then, make no class. It still counts as a negative of other rows.

    Args:
        features: (n, d), L2-normalised here.
        labels: int64 (n,); rows with -1 have no class and take no part.
        items: int64 (n,), the item that each row is a view of; None if each row is an item of its own.
        temperature: t.
    """
    with torch.autocast(features.device.type, enabled=False):
        known = labels >= 0
        features, labels = F.normalize(_at_least_float32(features)[known], dim=-1), labels[known]
        own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        items = torch.arange(len(labels), device=labels.device) if items is None else items[known]
        alike = labels[:, None] == labels
        anchors = (alike & (items[:, None] != items)).any(1)
        if not anchors.any():
            return features.sum() * 0.0
        logits = (features[anchors] @ features.T / temperature).masked_fill(own[anchors], -torch.inf)
        positives = (alike & ~own)[anchors]
        costs = -logits.log_softmax(1).masked_fill(~positives, 0.0).sum(1) / positives.sum(1)
        return costs.sum() / len(labels)


def clamped_exp(log_scale: Tensor, limit: float = 100.0) -> Tensor:
    """``exp(log_scale)``, at most ``limit``: CLIP's temperature rule (Radford et al. 2021, section 2.5).

    At the limit the gradient still passes when it would lower the scale. A plain clamp would freeze OpenAI's released scale for good,
    which is stored as 4.6052, slightly above ln(100).
    """
    return _ClampFromAbove.apply(log_scale.exp(), limit)


class _ClampFromAbove(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.limit = limit
        return value.clamp(max=limit)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        return gradient * ((value <= ctx.limit) | (gradient > 0)), None


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(_at_least_float32(logits), targets) if len(targets) else _at_least_float32(logits).sum()


def _log_sum(logits: Tensor, over: Tensor) -> Tensor:
    return logits.masked_fill(~over, -torch.inf).logsumexp(1)


def _log_mean(logits: Tensor, over: Tensor) -> Tensor:
    return _log_sum(logits, over) - over.sum(1, dtype=logits.dtype).log()


def _draw(logits: Tensor, admissible: Tensor, generator: Generator | None) -> Tensor:
    """A column per row from the softmax over the admissible ones (the Gumbel-max trick); -1 where there is none."""
    where = logits.device if generator is None else generator.device
    noise = torch.empty(logits.shape, dtype=logits.dtype, device=where).exponential_(generator=generator).to(logits.device)
    scores = (logits - noise.log()).masked_fill(~admissible, -torch.inf)
    return scores.argmax(1).where(admissible.any(1), -1) if len(logits) else scores.new_zeros(0, dtype=torch.int64)
