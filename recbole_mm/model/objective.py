"""Objective: the recommendation loss that ``loss_type`` names, over the embeddings of a batch; ObjectiveRecommender, which trains by it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import EmbeddingRecommender
from recbole_mm.model.loss import alignment_loss, bpr_loss, log_inclusion, sampled_softmax_loss, uniformity_loss
from recbole_mm.model.positives import UserPositives

LOSSES = ("BPR", "SSM", "sampled_softmax", "DirectAU")
LOSS_TYPE = "The recommendation loss; see docs/training.md."


@dataclass(frozen=True)
class Batch:
    """The interactions of a step, and the distinct items whose embeddings its loss reads.

    Attributes:
        users: (n,), the user of each interaction.
        items: (c,), distinct item ids: the positives, and the negatives that the loss has of its own.
        positives: (n,), the place in ``items`` of each interaction's item.
        negatives: with BPR (n,), the place of each interaction's negative; with sampled_softmax (loss_negatives,), the places of the
            negatives of all interactions; else None.
    """

    objective: "Objective"
    users: Tensor
    items: Tensor
    positives: Tensor
    negatives: Tensor | None = None

    def loss(self, users: Tensor, items: Tensor) -> Tensor:
        """The recommendation loss, a scalar.

        Args:
            users: the embeddings of ``self.users``, (n, d).
            items: the embeddings of ``self.items``, (c, d).
        """
        return self.objective.loss(self, users, items)

    def sides(self, items: Tensor) -> tuple[Tensor, ...]:
        """Of rows of ``self.items`` (c, d), those of the interactions' items (n, d), and with BPR those of their negatives (n, d)."""
        paired = self.negatives is not None and self.objective.loss_type == "BPR"
        places = (self.positives, self.negatives) if paired else (self.positives,)
        return tuple(items.index_select(0, place) for place in places)


class Objective(nn.Module):
    """The recommendation losses.

    With s(u, i) the dot product (``loss_scores: dot``) or the cosine (``cosine``) of two embeddings, divided by ``loss_temperature``:

    - BPR (Rendle et al., UAI 2009): -log sigmoid(s(u, i) - s(u, j)), j a negative that RecBole has sampled;
    - SSM, in-batch sampled softmax (Wu et al., TOIS 2024, arXiv 2201.02327): -log softmax of s(u, i) among the batch's distinct items, less
      the logarithm of the probability that an item is in a batch (Yi et al., RecSys 2019);
    - sampled_softmax: -log softmax of s(u, i) among ``loss_negatives`` items, drawn anew for every batch and shared by its interactions,
      each item as often as any other (``loss_distribution: uniform``) or in proportion to its training interactions (``popularity``,
      without a correction, so that popular items are pushed down);
    - DirectAU (Wang et al., KDD 2022, arXiv 2206.12811): with embeddings of length 1, the mean of |u - i|^2 + ``loss_uniformity`` times the
      mean of l(users) and l(items), l(x) = log mean e^(-2 |x - x'|^2) over the pairs of the batch's distinct ones. It has no negatives.

    In both softmax losses, the other training items of a user are never the user's negatives. All losses are means over the interactions.
    """

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__()
        self.loss_type, self.cosine, self.temperature = config["loss_type"], config["loss_scores"] == "cosine", config["loss_temperature"]
        self.n_negatives, self.uniformity = config["loss_negatives"], config["loss_uniformity"]
        self.user_field, self.item_field, self.negative_field = (
            dataset.uid_field,
            dataset.iid_field,
            config["NEG_PREFIX"] + dataset.iid_field,
        )
        users, items = (np.asarray(dataset.inter_feat[field]) for field in (dataset.uid_field, dataset.iid_field))
        counts = np.bincount(items, minlength=dataset.item_num)
        self.register_buffer("popularity", torch.tensor(counts / max(len(items), 1), dtype=torch.float32), persistent=False)
        drawn = counts.astype(np.float32)
        if config["loss_distribution"] == "uniform":
            drawn = (counts > 0 if config["negative_items"] == "training" else np.arange(len(counts)) > 0).astype(np.float32)
        self.register_buffer("drawn", torch.from_numpy(drawn), persistent=False)
        self.known = UserPositives(users, items, dataset.item_num)

    def batch(self, interaction) -> Batch:
        """The batch of a RecBole Interaction."""
        users, positive = interaction[self.user_field], interaction[self.item_field]
        if self.loss_type == "BPR":
            others = interaction[self.negative_field]
        elif self.loss_type == "sampled_softmax":
            others = torch.multinomial(self.drawn, self.n_negatives, replacement=True)
        else:
            items, places = torch.unique(positive, return_inverse=True)
            return Batch(self, users, items, places)
        items, places = torch.unique(torch.cat([positive, others]), return_inverse=True)
        return Batch(self, users, items, *places.split([len(positive), len(others)]))

    def loss(self, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
        """See ``Batch.loss``."""
        if self.loss_type == "DirectAU":
            return self._alignment_and_uniformity(batch, users, items)
        if self.cosine:
            users, items = functional.normalize(users, dim=-1), functional.normalize(items, dim=-1)
        users = users / self.temperature
        if self.loss_type == "SSM":
            log_sampling = log_inclusion(self.popularity[batch.items], len(users))
            return sampled_softmax_loss(users @ items.T, batch.positives, log_sampling, self.known.among(batch.users, batch.items))
        own = (users * items.index_select(0, batch.positives)).sum(-1)
        if self.loss_type == "BPR":
            return bpr_loss(own, (users * items.index_select(0, batch.negatives)).sum(-1))
        own_items = self.known.among(batch.users, batch.items)[:, batch.negatives]
        others = (users @ items[batch.negatives].T).masked_fill(own_items, float("-inf"))
        return (torch.logsumexp(torch.cat([own.unsqueeze(1), others], dim=1), dim=1) - own).mean()

    def _alignment_and_uniformity(self, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
        users, items = functional.normalize(users, dim=-1), functional.normalize(items, dim=-1)
        _, places = torch.unique(batch.users, return_inverse=True)
        distinct = users[torch.empty_like(places).scatter(0, places, torch.arange(len(places), device=places.device))[: places.max() + 1]]
        uniformity = (uniformity_loss(distinct) + uniformity_loss(items)) / 2
        return alignment_loss(users, items[batch.positives]) + self.uniformity * uniformity


class ObjectiveRecommender(EmbeddingRecommender):
    """An EmbeddingRecommender whose recommendation loss is any of Objective's. Subclasses implement ``embed`` and ``calculate_loss``, which
    takes ``self.objective.batch(interaction)``."""

    keys = {
        "loss_type": Key("BPR", choice(*LOSSES), LOSS_TYPE),
        "loss_scores": Key("dot", choice("dot", "cosine"), "What the loss takes as scores."),
        "loss_temperature": Key(1.0, POSITIVE, "What the loss divides scores by."),
        "loss_negatives": Key(1024, COUNT, "sampled_softmax: the number of negatives, which a batch shares."),
        "loss_distribution": Key("uniform", choice("uniform", "popularity"), "sampled_softmax: how negatives are drawn."),
        "loss_uniformity": Key(1.0, AMOUNT, "DirectAU: the weight of uniformity. Grid: [0.2, 0.5, 1, 2, 5, 10]."),
        "rank_scores": Key("dot", choice("dot", "cosine"), "What ranks the items: dot products or cosines of the final embeddings."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.objective = Objective(config, dataset)
        self.ranks_by_cosine = config["rank_scores"] == "cosine"

    def ranked(self, rows: Tensor) -> Tensor:
        return functional.normalize(rows, dim=-1) if self.ranks_by_cosine else rows
