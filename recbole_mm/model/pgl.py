"""PGL: trained on a principal part of the graph of interactions, and scored on all of it."""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import svds
from torch import Tensor
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, FRACTION, POSITIVE, SHARE, SWITCH, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, light_gcn, propagate
from recbole_mm.model.item_graph import WeightedGraphRecommender
from recbole_mm.model.loss import info_nce
from recbole_mm.model.sparse import CELLS_AT_ONCE, SparseMatrix
from recbole_mm.model.trained import TrainedFeatures

SMALLEST = 1e-3


class PGL(WeightedGraphRecommender):
    """PGL (Yu et al., "Mind Individual Information! Principal Graph Learning for Multimedia Recommendation", AAAI 2025).

    y_i = [W_1 f_1i + b_1 ; W_2 f_2i + b_2 ; ...] of an item's features, each part divided by its length; P as wide, the users' embeddings
    e_u, x_i = LightGCN over the graph G of users and items, from P and y
    e_i = x_i + h_i, h = S^n_item_layers y, S FREEDOM's graph between items (see WeightedGraphRecommender); score(u, i) = e_u . e_i

    In evaluation G is D^-1/2 A D^-1/2 of all training interactions, in training a principal part of it (``mode``). ``local``: every epoch
    draws ``train_share`` of the interactions, without replacement, with probabilities proportional to 1 / sqrt(d_u d_i), and normalises
    by the degrees that remain. ``global``: once, the best approximation of D^-1/2 A D^-1/2 by ``rank`` singular values, of which entries
    below .001 are dropped; no more than 1e6 ``rank`` entries between users and items can be left, however large the data.

    Loss: recommendation loss + ``cl_weight`` / 2 * (InfoNCE over the batch's users + the same over its positive items, cosine,
    ``temperature``), between two independent dropouts (``dropout``) of their final embeddings. The learning rate falls by .96^(epoch / 50).

    With an encoder that trains, its gradient passes through y, and S is made anew before every epoch (and every ``item_graph_every``
    steps).

    Deviations: what is in a batch more than once is not a negative of itself. D^-1/2 A D^-1/2 has every singular value twice, so the 16
    largest of the paper are the 8 largest between users and items. The released code multiplies each by another, smaller one. It also has
    the contrastive term switched off (its logs have it on), and trains the features of a frozen encoder (``legacy_trained_features``).
    """

    loss_names = ("recommendation", "contrastive")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of each modality's part of the embeddings."),
        "n_layers": Key(2, COUNT, "Layers of LightGCN on the user-item graph."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graph."),
        "mode": Key("local", choice("local", "global"), "The part of the graph that is trained on: drawn edges, or singular values."),
        "train_share": Key(0.3, FRACTION, "local: share of the interactions that an epoch trains on."),
        "rank": Key(8, COUNT, "global: the number of singular values."),
        "dropout": Key(0.1, SHARE, "Dropout of the contrasted embeddings. Grid: [0.05, 0.1, 0.2]."),
        "temperature": Key(0.2, POSITIVE, "Temperature of the contrastive loss."),
        "cl_weight": Key(0.1, AMOUNT, "Weight of that loss. Grid: [0.05, 0.1, 0.5]."),
        "legacy_trained_features": Key(True, SWITCH, "A frozen encoder's features train along, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], self.item_features.dims
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.train_share, self.dropout = config["train_share"], config["dropout"]
        self.temperature, self.cl_weight = config["temperature"], config["cl_weight"]
        self.user_embedding = xavier_embedding(self.n_users, size * len(dims))
        self.trained = TrainedFeatures.where(config["legacy_trained_features"], self.item_features)
        self.project = ModalityProjection(dims, size)
        self.interactions = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency = self.training_adjacency = self.interactions.adjacency()
        self.draws_edges = config["mode"] == "local"
        if not self.draws_edges:
            self.training_adjacency = low_rank_adjacency(self.interactions, config["rank"])

    def learning_rate_factor(self, epoch: int) -> float:
        return 0.96 ** (epoch / 50)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if self.draws_edges:
            self.training_adjacency = self.interactions.sample(self.train_share, self.interactions.edge_weights()).adjacency()

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        users, items = self.embed(batch.items)
        contrast = self.contrast(users, batch.users) + self.contrast(items, batch.items[batch.positives])
        return batch.loss(users[batch.users], items[batch.items]), self.cl_weight * contrast / 2

    def contrast(self, rows: Tensor, ids: Tensor) -> Tensor:
        """InfoNCE between two dropouts of the rows of ``ids`` (n,)."""
        distinct, counts = ids.unique(return_counts=True)
        first, second = (functional.dropout(rows[distinct], self.dropout, self.training) for _ in range(2))
        return info_nce(first, second, self.temperature, counts)

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        projected = self.project((self.trained or self.item_features).table(fresh_ids))
        items = torch.cat([functional.normalize(rows, dim=-1) for rows in projected.values()], dim=-1)
        adjacency = self.training_adjacency if self.training else self.adjacency
        users, spread = light_gcn(adjacency, self.user_embedding.weight, items, self.n_layers)
        return users, spread + propagate(self.item_graph, items, self.n_item_layers)


def low_rank_adjacency(graph: InteractionGraph, rank: int) -> SparseMatrix:
    """The best approximation of ``graph.adjacency()`` by ``rank`` singular values between users and items, without entries below .001.

    The approximation is made for a few thousand users at a time, never for all n_users x n_items pairs at once.
    """
    users, items, weights = (x.cpu().numpy() for x in (graph.users, graph.items, graph.edge_weights().double()))
    matrix = coo_array((weights, (users, items)), shape=(graph.n_users, graph.n_items)).tocsr()
    smaller = min(matrix.shape)
    start = np.random.default_rng(0).standard_normal(smaller)
    left, values, right = svds(matrix, k=min(rank, smaller - 1), v0=start)
    left, right = (torch.from_numpy(np.ascontiguousarray(x)).float().to(graph.users.device) for x in (left * values, right))
    rows, columns, entries = [], [], []
    for some in torch.arange(graph.n_users, device=left.device).split(max(1, CELLS_AT_ONCE // graph.n_items)):
        part = left[some] @ right
        user, item = (part >= SMALLEST).nonzero(as_tuple=True)
        rows.append(some[user])
        columns.append(item + graph.n_users)
        entries.append(part[user, item])
    rows, columns, entries = map(torch.cat, (rows, columns, entries))
    n = graph.n_users + graph.n_items
    return SparseMatrix(torch.cat([rows, columns]), torch.cat([columns, rows]), entries.repeat(2), (n, n), symmetric=True)
