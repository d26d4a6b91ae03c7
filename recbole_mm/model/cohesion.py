"""COHESION: features refined by ids, layers that stay near the first, and a loss that stresses the modality that ranks worst."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.item_graph import WeightedGraphRecommender
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.model.towers import ModalityTowers
from recbole_mm.model.user_graph import user_graph

IDS = "item-ids"
"""The view of the ids beside those of the modalities, none of which can have a name with a hyphen."""


class COHESION(WeightedGraphRecommender):
    """COHESION (Xu et al., "COHESION: Composite Graph Convolutional Network with Dual-Stage Fusion for Multimodal Recommendation",
    SIGIR 2025).

    Views v: the ids and each modality. g_v = W2 leaky_relu(W1 f_v + b1) + b2, of an item's features, or of its id embedding e
    x_v = sqrt((e^2 + g_v^2) / 2), element by element: every view is refined by the ids before it is propagated
    X_0 = [P_v ; x_v] with rows of length 1, P_v the users' preferences; X_l+1 = the rows of A X_l, each times its cosine with that of X_0;
    E_v = X_0 + ... + X_n_layers; A = D^-1/2 A D^-1/2 over the training interactions
    E = [E_ids ; E_1 ; ...]; e_U = E_U + N E_U, e_I = E_I + S E_I; score(u, i) = e_u . e_i

    N is the graph between users: the ``user_knn_k`` with whom a user has the most training items in common, weighted by a softmax over
    these counts (see ``user_graph``). S is FREEDOM's graph between items, made from the features (see WeightedGraphRecommender).

    Loss: ``loss_type`` (the paper's is BPR) on the sum over the views of a_v (e_u,v . e_i,v), where a = 1 - softmax over v of
    (e_u,v . e_i,v - e_u,v . e_j,v) is a constant of each interaction (u, i) and its negative j: a view that ranks it well counts for less.
    + ``reg_weight`` * the sum over v of the mean square of the batch's P_v. With a loss other than BPR, j is any of the items whose rows
    the loss reads, drawn at random.

    Every epoch trains on a share of (1 - ``edge_dropout``) of the interactions, drawn like FREEDOM's. Evaluation uses all interactions.

    With an encoder that trains, its gradient passes through the towers, and S is made anew before every epoch (and every
    ``item_graph_every`` steps).

    Deviations: features are centred (see ``ItemFeatures.centred``). The released code detaches E_ids, so that P_ids and the map of the ids
    never train (``legacy_detached_ids: True``); it leaves P_ids out of the L2 term, and has weights of modalities there that nothing else
    reads. A user with fewer than ``user_knn_k`` neighbours has a softmax over those; the released code first repeats some of them, drawn at
    random, until there are enough. Of users with equally many items in common, those with fewer items come first, then the smaller ids. Its
    BPR has logarithms of base 2, so its ``reg_weight`` counts for 1.44 times less than here. It scores with the embeddings of the last
    training batch, which are those of the epoch's part of the interactions.
    """

    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each view."),
        "n_layers": Key(2, COUNT, "Layers of propagation of each view. Grid: [1, 2, 3, 4]."),
        "user_knn_k": Key(40, COUNT, "Number of neighbours of a user."),
        "edge_dropout": Key(0.0, SHARE, "Share of the interactions that an epoch leaves out. Grid: [0.0, 0.1, 0.2, 0.3, 0.4]."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the mean squares of the preferences. Grid: [1e-1, 1e-2, 1e-3, 1e-4]."),
        "legacy_detached_ids": Key(False, SWITCH, "True: the view of the ids does not train, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size = config["embedding_size"]
        self.n_layers, self.reg_weight, self.edge_dropout = config["n_layers"], config["reg_weight"], config["edge_dropout"]
        self.legacy_detached_ids = config["legacy_detached_ids"]
        self.item_embedding = nn.Embedding(self.n_items, size)
        nn.init.xavier_normal_(self.item_embedding.weight)
        self.towers = ModalityTowers({IDS: size, **self.item_features.dims}, self.n_users, size)
        self.interactions = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency = self.training_adjacency = self.interactions.adjacency()
        self.user_graph = user_graph(self.interactions, config["user_knn_k"])

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if self.edge_dropout:
            part = self.interactions.sample(1 - self.edge_dropout, self.interactions.edge_weights())
            self.training_adjacency = part.adjacency()

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        users, items = self.embed(batch.items)
        u, rows = users[batch.users], items[batch.items]
        paired = batch.sides(rows)
        positive, negative = paired if len(paired) == 2 else (*paired, rows[torch.randint(len(rows), (len(u),), device=rows.device)])
        weighted = self.by_view(u) * self.stress(u, positive, negative).unsqueeze(-1)
        return batch.loss(weighted.flatten(1), rows), self.reg_weight * self.towers.penalty(batch.users)

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids = self.item_embedding.weight
        views = self.towers.project({IDS: ids, **self.item_features.centred(fresh_ids)})
        refined = ((ids.unsqueeze(1).pow(2) + views.pow(2)) / 2 + 1e-8).sqrt()
        adjacency = self.training_adjacency if self.training else self.adjacency
        rows = layer_gcn(adjacency, self.towers.first_layer(refined), self.n_layers)
        if self.legacy_detached_ids:
            rows = torch.cat([rows[:, :1].detach(), rows[:, 1:]], dim=1)
        users, items = rows.flatten(1).split([self.n_users, self.n_items])
        return users + self.user_graph @ users, items + self.item_graph @ items

    def by_view(self, rows: Tensor) -> Tensor:
        """Final embeddings (n, views * size) as (n, views, size)."""
        return rows.unflatten(1, (-1, self.item_embedding.embedding_dim))

    def stress(self, users: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """a, the weight (n, views) of each view in the loss, without gradient."""
        margins = self.by_view(users * (positive - negative)).sum(-1)
        return 1 - margins.detach().softmax(-1)


def layer_gcn(adjacency: SparseMatrix, x: Tensor, layers: int) -> Tensor:
    """The sum of layers 0 to ``layers``, each the propagated one before it, whose rows are scaled by their cosine with layer 0's (LayerGCN,
    Zhou et al., ICDE 2023): x is (n, views, d), and so is the result."""
    total = layer = x
    for _ in range(layers):
        layer = (adjacency @ layer.flatten(1)).view_as(x)
        layer = layer * functional.cosine_similarity(layer, x, dim=-1).unsqueeze(-1)
        total = total + layer
    return total
