"""LATTICE: LightGCN over items that are enriched along a learned graph between items."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, FRACTION, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, ItemGraph, knn_graph, light_gcn, propagate, sum_graphs
from recbole_mm.model.item_graph import ItemGraphRecommender
from recbole_mm.model.loss import squared_norm
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.model.trained import TrainedFeatures


class LATTICE(ItemGraphRecommender):
    """LATTICE (Zhang et al., "Mining Latent Structures for Multimedia Recommendation", MM 2021).

    graph of rows x: cosines of the items, negative ones 0, the ``knn_k`` largest of each item kept, D^-1/2 S D^-1/2
    A_m = lambda_coeff * graph of the initial features e_m + (1 - lambda_coeff) * graph of W_m e_m + b_m
    A = sum over the modalities of alpha_m A_m, alpha = softmax of one learned number per modality
    h = A^n_item_layers I, I the items' id embeddings
    e_u, x_i = LightGCN over the training interactions from U and I; e_i = x_i + h_i / |h_i|; score(u, i) = e_u . e_i

    Loss: BPR + ``reg_weight`` * L2 of the batch's final embeddings. The learning rate falls by .96^(epoch / 50).

    With a frozen encoder, the features e_m are parameters that start at its values. The graph is made anew, with gradient, in the first
    batch of an epoch, and is a constant in the rest of the epoch, as in the authors' code. With an encoder that trains, e_m is what it
    makes of the items, and no feature is a parameter. Since the features of a batch's items are then new in every batch, so is the graph,
    and every step has a gradient to the encoder. The initial graph is made anew before every epoch (and every ``item_graph_every``
    steps).

    Deviations: a graph holds k neighbours per item, never n x n numbers. An item that lacks a modality has no neighbours in that modality's
    graph and is nobody's neighbour; an item that lacks all modalities is represented by its id alone. ``legacy_row_normalised: True`` is
    the LightGCN of the released code, over D^-1 (A + I).
    """

    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of the transformed features."),
        "n_layers": Key(2, COUNT, "Layers of LightGCN on the user-item graph."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graph."),
        "knn_k": Key(10, COUNT, "Number of neighbours of an item in each modality."),
        "lambda_coeff": Key(0.9, FRACTION, "Share of the graph of the initial features; the rest is learned."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the L2 term over the batch's final embeddings. Grid: [0.0, 1e-5, 1e-4, 1e-3]."),
        "legacy_row_normalised": Key(False, SWITCH, "True: LightGCN over D^-1 (A + I), as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, features = config["embedding_size"], self.item_features
        self.knn_k, self.lambda_coeff, self.reg_weight = config["knn_k"], config["lambda_coeff"], config["reg_weight"]
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.transform = ModalityProjection(features.dims, size)
        self.modality_logits = nn.Parameter(torch.zeros(len(features.modalities))) if len(features.modalities) > 1 else None
        self.trained = TrainedFeatures.where(True, features)
        legacy = config["legacy_row_normalised"]
        graph = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency = graph.adjacency("row" if legacy else "symmetric", self_loops=legacy)

    def learning_rate_factor(self, epoch: int) -> float:
        return 0.96 ** (epoch / 50)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self._constant_graph = None

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        user_rows, item_rows = self.embed(batch.items)
        u, items = user_rows[batch.users], item_rows[batch.items]
        return batch.loss(u, items), self.reg_weight * squared_norm(u, *batch.sides(items))

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids = self.item_embedding.weight
        h = propagate(self.mixed_graph(fresh_ids), ids, self.n_item_layers)
        users, items = light_gcn(self.adjacency, self.user_embedding.weight, ids, self.n_layers)
        return users, items + functional.normalize(h, dim=-1)

    def mixed_graph(self, fresh_ids: Tensor | None = None) -> ItemGraph | SparseMatrix:
        """The matrix A (n_items, n_items): with gradient, or as a constant after the first batch of an epoch."""
        features = self.item_features
        if self.training and not features.live and self._constant_graph is not None:
            return self._constant_graph
        learned = self._graphs(self.transform((self.trained or features).table(fresh_ids)))
        mixed = [sum_graphs([self.item_graph[m], learned[m]], [self.lambda_coeff, 1 - self.lambda_coeff]) for m in features.modalities]
        graph = sum_graphs(mixed, [1.0] if self.modality_logits is None else self.modality_logits.softmax(0))
        if self.training:
            self._constant_graph = graph.frozen()
        return graph

    def build_item_graph(self, features: dict[str, Tensor]) -> dict[str, ItemGraph]:
        """The initial graph of each modality."""
        return self._graphs(features)

    def _graphs(self, rows: dict[str, Tensor]) -> dict[str, ItemGraph]:
        graphs = {m: knn_graph(x, self.knn_k, absent=~self.item_features.present(m)) for m, x in rows.items()}
        return {m: ItemGraph(graph.indices, graph.weights.clamp(min=0)).normalised() for m, graph in graphs.items()}

    _constant_graph: SparseMatrix | None = None
