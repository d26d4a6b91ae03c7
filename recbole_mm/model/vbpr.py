"""VBPR: matrix factorisation whose items have features."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbole_mm.config.kinds import AMOUNT, COUNT, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import two_parts, xavier_embedding
from recbole_mm.model.loss import squared_norm, table_norm
from recbole_mm.model.objective import ObjectiveRecommender


class VBPR(ObjectiveRecommender):
    """VBPR (He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016).

    score(u, i) = p_u . q_i + c_u . (W f_i + b)

    p and q are id embeddings (``embedding_size``), c_u is the user's content embedding of the same size, f_i are the concatenated features
    of the item in all modalities in use, and W f + b is one linear map of them. Loss: BPR + ``reg_weight`` * L2 of the batch's user and
    item vectors, including the projected features. A training step reads the features of the batch's items only.

    Deviations: this is the form that the tables of later papers report, without the paper's item bias and visual bias. ``use_bias: True``
    adds both: + beta_i + v . f_i (the paper's offset and user bias change neither ranking nor loss). The paper reads one picture per item;
    here every modality is read. The paper regularises W itself, not the projected features of the batch's items. ``legacy_norm: True`` is
    the L2 term of the code that the published grid of ``reg_weight`` belongs to: norms that are not squared.
    """

    needs_features = True
    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings, and of the content embeddings."),
        "use_bias": Key(False, SWITCH, "True: with the paper's item bias and visual bias, which published tables leave out."),
        "reg_weight": Key(0.01, AMOUNT, "Weight of the L2 term. Grid, with legacy_norm: [2.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5]."),
        "legacy_norm": Key(False, SWITCH, "True: that L2 term takes norms that are not squared, about 100 times less at a batch of 2048."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, width = config["embedding_size"], sum(self.item_features.dims.values())
        self.use_bias, self.reg_weight = config["use_bias"], config["reg_weight"]
        self.norm = table_norm if config["legacy_norm"] else squared_norm
        self.user_embedding = xavier_embedding(self.n_users, 2 * size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.project = nn.Linear(width, size)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        if self.use_bias:
            self.item_bias = nn.Embedding(self.n_items, 1)
            self.content_bias = nn.Linear(width, 1, bias=False)
            nn.init.zeros_(self.item_bias.weight)
            nn.init.zeros_(self.content_bias.weight)

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        users, items = self.user_embedding(batch.users), self._items(batch.items)
        loss = batch.loss(*self._with_bias(users, *items))
        return loss, self.reg_weight * self.norm(users, *batch.sides(items[0]))

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_bias(self.user_embedding.weight, *self._items(None, fresh_ids))

    @torch.no_grad()
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """The projected features, beside the id embedding (and with ``use_bias`` the item bias) of the nearest known items."""
        content = torch.cat([features[m] for m in self.item_features.modalities], dim=-1)
        parts = [self.like_nearest(features, self.item_embedding.weight), self.project(content)]
        if self.use_bias:
            parts.append(self.like_nearest(features, self.item_bias.weight) + self.content_bias(content))
        return torch.cat(parts, dim=-1)

    def score_parts(self) -> dict[str, slice]:
        return two_parts(self.item_embedding.embedding_dim)

    def _with_bias(self, users: Tensor, items: Tensor, biases: Tensor | None) -> tuple[Tensor, Tensor]:
        """The item biases as one more dimension, in which every user has a 1."""
        if biases is None:
            return users, items
        return torch.cat([users, torch.ones_like(users[:, :1])], dim=-1), torch.cat([items, biases.unsqueeze(1)], dim=-1)

    def _items(self, ids: Tensor | None, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The rows [q_i ; W f_i + b], (n, 2 * embedding_size), and the biases (n,) or None; of all items where ``ids`` is None."""
        own = self.item_embedding.weight if ids is None else self.item_embedding(ids)
        content = sum(self.item_features.projected(self._by_modality(self._maps()), ids, fresh_ids).values())
        size = self.project.out_features
        rows = torch.cat([own, content[:, :size] + self.project.bias], dim=-1)
        if not self.use_bias:
            return rows, None
        bias = self.item_bias.weight if ids is None else self.item_bias(ids)
        return rows, (bias + content[:, size:]).squeeze(1)

    def _maps(self) -> Tensor:
        """W, and below it v with ``use_bias``: the columns are those of the concatenated features."""
        return torch.cat([self.project.weight, self.content_bias.weight]) if self.use_bias else self.project.weight

    def _by_modality(self, weight: Tensor) -> dict[str, tuple[Tensor, None]]:
        dims = self.item_features.dims
        parts = weight.split([dims[m] for m in self.item_features.modalities], dim=1)
        return {m: (part, None) for m, part in zip(self.item_features.modalities, parts, strict=True)}
