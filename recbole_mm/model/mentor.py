"""MENTOR: modality towers whose views are brought to one distribution, masked and disturbed."""

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, SHARE, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.graph import InteractionGraph, propagate
from recbole_mm.model.item_graph import WeightedGraphRecommender
from recbole_mm.model.loss import info_nce, mean_square
from recbole_mm.model.objective import Batch
from recbole_mm.model.towers import ModalityTowers, modality_weights

ID = "id"
NOISE = 0.1


class MENTOR(WeightedGraphRecommender):
    """MENTOR (Xu et al., "MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation", AAAI 2025).

    T_m: the tower of each modality m (see ModalityTowers), T_id that of a table of item ids in place of features
    h_u = [w_u,1 T_1[u] ; ... ; w_u,M T_M[u]], w_u trained weights of the user, about 1 / M at first
    y_i = [T_1[i] ; ... ; T_M[i]]; e_U = h, e_I = y + S^n_item_layers y, S FREEDOM's graph between items (see WeightedGraphRecommender)
    score(u, i) = e_u . e_i. No id is in it.

    Loss: recommendation loss + ``reg_weight`` * (the sum over m of the mean square of the batch's P_m + the mean square of all w)
    + ``align_weight`` * A + ``mask_weight`` * F + ``noise_weight`` * G, of which

    A, alignment: over the pairs of the views e, T_id and every T_m, the differences |mean - mean'| + |variance - variance'| of all their
       numbers, the items' rows of the T being T + S^n_item_layers T
    F, masked features: the mean of 1 - cosine(dropout(e), W e + b) over the batch's users, plus that over its items
    G, noise on the graph: two copies of e, made with noise after every layer of the towers (each row x becomes x + .1 sign(x) r, r random,
       positive and of length 1), InfoNCE between them (cosine, ``temperature``) over the batch's users, plus that over its items

    With an encoder that trains, its gradient passes through the towers, and S is made anew before every epoch (and every
    ``item_graph_every`` steps).

    Deviations: features are centred (see ``ItemFeatures.centred``). F and G are over a batch, not over all users and items. The released
    code computes F without gradient, so that it is a constant, and G from further towers of their own, so that of what scores it trains w
    alone. ``legacy_detached_ssl: True`` does the same: it leaves F out, and keeps G's gradient from the towers. Here F trains, and with the
    published ``mask_weight`` of 1.5 it would outweigh the recommendation loss. The released BPR has logarithms of base 2, so its weights
    count for 1.44 times less than here. It scores with the embeddings of the last training batch; here they are made anew.
    """

    loss_names = ("recommendation", "regularisation", "alignment", "noise", "masked")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of each modality's part of the embeddings."),
        "n_layers": Key(2, COUNT, "Layers of propagation in the towers."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graph."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the mean squares of preferences and weights."),
        "align_weight": Key(0.1, AMOUNT, "Weight of the alignment of views. Grid: [0.1, 0.2, 0.3, 0.5]."),
        "mask_weight": Key(0.01, AMOUNT, "Weight of the masked features. The published 1 to 3 are those of a constant."),
        "dropout": Key(0.5, SHARE, "Share of the features that is masked. Grid: [0.1, 0.3, 0.5, 0.7]."),
        "noise_weight": Key(0.001, AMOUNT, "Weight of the noise on the graph. Grid: [0, 1e-4, 1e-3, 1e-2]."),
        "temperature": Key(0.2, POSITIVE, "Temperature of its InfoNCE. Grid: [0.1, 0.2, 0.3, 0.4]."),
        "legacy_detached_ssl": Key(False, SWITCH, "True: masked features and noise do not train the towers, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], self.item_features.dims
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.reg_weight, self.align_weight = config["reg_weight"], config["align_weight"]
        self.mask_weight, self.noise_weight = config["mask_weight"], config["noise_weight"]
        self.dropout, self.temperature, self.detached = config["dropout"], config["temperature"], config["legacy_detached_ssl"]
        self.towers = ModalityTowers(dims, self.n_users, size)
        self.modality_preference = modality_weights(self.n_users, len(dims))
        self.item_embedding = nn.Embedding(self.n_items, size)
        nn.init.xavier_normal_(self.item_embedding.weight)
        self.id_tower = ModalityTowers({ID: size}, self.n_users, size)
        self.predictor = None if self.detached else nn.Linear(size * len(dims), size * len(dims))
        self.adjacency = InteractionGraph.from_dataset(dataset, config["device"]).adjacency()

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        first = self.first_layer(batch.items)
        towers = self.propagated(first)
        users, items = final = self.fused(*towers)
        compared = self.compared(batch)
        penalty = self.towers.penalty(batch.users) + mean_square(self.modality_preference)
        losses = [batch.loss(users[batch.users], items[batch.items]), self.reg_weight * penalty]
        losses.append(self.align_weight * self.alignment(*towers, final))
        masked = []
        if self.predictor:
            masked.append(self.mask_weight * sum(self.masked(rows[ids]) for rows, ids in zip(final, compared, strict=True)))
        start = first.detach() if self.detached else first
        copies = zip(*(self.fused(*self.propagated(start, NOISE)) for _ in range(2)), compared, strict=True)
        noise = sum(info_nce(a[ids], b[ids], self.temperature) for a, b, ids in copies)
        return *losses, self.noise_weight * noise, *masked

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.fused(*self.propagated(self.first_layer(fresh_ids)))

    def first_layer(self, fresh_ids: Tensor | None = None) -> Tensor:
        """The first layer of every modality's tower, (n_users + n_items, M, size)."""
        return self.towers.first_layer(self.towers.project(self.item_features.centred(fresh_ids)))

    def propagated(self, first: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """The towers' rows of users (n_users, M, size), and T + S^n_item_layers T of items (n_items, M, size), from their first layers."""
        rows = total = first
        for _ in range(self.n_layers):
            rows = (self.adjacency @ rows.flatten(1)).view_as(first)
            if noise:
                rows = rows + noise * rows.sign() * functional.normalize(torch.rand_like(rows), dim=-1)
            total = total + rows
        users, items = total.split([self.n_users, self.n_items])
        return users, items + propagate(self.item_graph, items.flatten(1), self.n_item_layers).view_as(items)

    def fused(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The final embeddings, of the towers' rows."""
        return (users * self.modality_preference.unsqueeze(-1)).flatten(1), items.flatten(1)

    def compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The users and the items that masked features and noise are computed of."""
        return batch.users.unique(), batch.items

    def alignment(self, users: Tensor, items: Tensor, final: tuple[Tensor, Tensor]) -> Tensor:
        """A, from the modalities' rows of users (n_users, M, size) and of items (n_items, M, size)."""
        ids = self.propagated(self.id_tower.first_layer(self.id_tower.project({ID: self.item_embedding.weight})))
        views = [final, ids, *zip(users.unbind(1), items.unbind(1), strict=True)]
        moments = [torch.var_mean(torch.cat([rows.flatten() for rows in view]), correction=0) for view in views]
        return sum((a - b).abs() for pair in combinations(moments, 2) for a, b in zip(*pair, strict=True))

    def masked(self, rows: Tensor) -> Tensor:
        """The mean of F over rows of the final embeddings (n, M * size)."""
        return 1 - functional.cosine_similarity(functional.dropout(rows, self.dropout, self.training), self.predictor(rows)).mean()
