"""FREEDOM: a frozen graph between items, and a pruned graph between users and items."""

from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, light_gcn, propagate
from recbole_mm.model.item_graph import WeightedGraphRecommender
from recbole_mm.model.trained import TrainedFeatures


class FREEDOM(WeightedGraphRecommender):
    """FREEDOM (Zhou & Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal Recommendation", MM 2023).

    S_m: 1 for the ``knn_k`` items most similar (cosine) to an item in modality m, itself among them, else 0; D^-1/2 S_m D^-1/2
    S = the sum over the modalities of ``modality_weights`` S_m, made from the features before training and frozen
    h = S^n_item_layers I, I the items' id embeddings
    e_u, x_i = LightGCN over the training interactions from U and I; e_i = x_i + h_i; score(u, i) = e_u . e_i

    Every epoch trains on a share of (1 - ``edge_dropout``) of the interactions. They are drawn without replacement, with probabilities
    proportional to 1 / sqrt(d_u d_i), and normalised by the degrees that remain. Evaluation uses all interactions. Loss: BPR on the final
    embeddings + ``reg_weight`` times the sum over the modalities of BPR on e_u . (W_m f_mi), with f_mi the item's features.

    With an encoder that trains, S is made anew before every epoch (and every ``item_graph_every`` steps), and the encoder's gradient comes
    from the modalities' BPR.

    Deviations: the paper's W_m f + b_m is used without b_m, which would add the same to both scores of a pair. The released code also
    trains the features of a frozen encoder (``legacy_trained_features: True``). The paper weights two modalities, pictures with .1 and
    texts with .9. Here modalities that ``modality_weights`` does not name share equally what the others leave of 1. An item that lacks a
    modality has no neighbours in that modality's graph and is nobody's neighbour. Losses are means over the batch, not sums.
    """

    loss_names = ("recommendation", "content")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each modality's projection."),
        "n_layers": Key(2, COUNT, "Layers of LightGCN on the user-item graph."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graph."),
        "edge_dropout": Key(0.9, SHARE, "Share of the interactions that an epoch leaves out of the graph. Grid: [0.8, 0.9]."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the modalities' BPR loss. Grid: [0.0, 1e-5, 1e-4, 1e-3]."),
        "legacy_trained_features": Key(False, SWITCH, "True: a frozen encoder's features train along, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size = config["embedding_size"]
        self.edge_dropout, self.reg_weight = config["edge_dropout"], config["reg_weight"]
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.trained = TrainedFeatures.where(config["legacy_trained_features"], self.item_features)
        self.project = ModalityProjection(self.item_features.dims, size, bias=False)
        self.interactions = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency = self.training_adjacency = self.interactions.adjacency()

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self.training_adjacency = self.prune().adjacency()

    def prune(self) -> InteractionGraph:
        """The interactions that an epoch trains on."""
        return self.interactions.sample(1 - self.edge_dropout, self.interactions.edge_weights())

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        user_rows, item_rows = self.embed()
        views = [item_rows.index_select(0, batch.items), *self.project.of(self.trained or self.item_features, batch.items).values()]
        users = user_rows.index_select(0, batch.users)
        losses = [batch.loss(users, rows) for rows in views]
        return losses[0], self.reg_weight * sum(losses[1:])

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids = self.item_embedding.weight
        adjacency = self.training_adjacency if self.training else self.adjacency
        users, items = light_gcn(adjacency, self.user_embedding.weight, ids, self.n_layers)
        return users, items + propagate(self.item_graph, ids, self.n_item_layers)
