"""DRAGON: modality towers side by side, spread along a graph between users and a graph between items."""

from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.graph import InteractionGraph, propagate
from recbole_mm.model.item_graph import WeightedGraphRecommender
from recbole_mm.model.loss import mean_square
from recbole_mm.model.towers import ModalityTowers, modality_weights
from recbole_mm.model.user_graph import user_graph


class DRAGON(WeightedGraphRecommender):
    """DRAGON (Zhou et al., "Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal Recommendation", ECAI 2023).

    T_m = X_m + A X_m + ... + A^n_layers X_m, X_m = [P_m ; g_m] with rows of length 1: the tower of each modality m (see ModalityTowers),
    A = D^-1/2 A D^-1/2 over the training interactions, P_m the users' preferences, g_m a map of the items' features
    h_u = [w_u,1 T_1[u] ; ... ; w_u,M T_M[u]], w_u trained weights of the user, about 1 / M at first; y_i = [T_1[i] ; ... ; T_M[i]]
    e_U = h + N^n_user_layers h, e_I = y + S^n_item_layers y; score(u, i) = e_u . e_i

    N is the graph between users: the ``user_knn_k`` with whom a user has the most training items in common, weighted by a softmax over
    these counts (see ``user_graph``). S is FREEDOM's graph between items, made from the features (see WeightedGraphRecommender). No item
    has an id embedding.

    Loss: ``loss_type`` (the paper's is BPR) + ``reg_weight`` * (the sum over m of the mean square of the batch's P_m + the mean square of
    all w).

    With an encoder that trains, its gradient passes through the towers, and S is made anew before every epoch (and every
    ``item_graph_every`` steps).

    Deviations: features are centred (see ``ItemFeatures.centred``). Of users with equally many items in common, those with fewer items come
    first, then the smaller ids; the released code leaves it to the order of a sort. A user with fewer than ``user_knn_k`` neighbours has a
    softmax over those; the released code first repeats some of them, drawn at random, until there are enough. Its BPR has logarithms of
    base 2, so its ``reg_weight`` counts for 1.44 times less than here. It scores with the embeddings of the last training batch, here they
    are made anew.
    """

    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of each modality's part of the embeddings."),
        "n_layers": Key(2, COUNT, "Layers of propagation in the towers."),
        "n_user_layers": Key(1, COUNT, "Layers of propagation on the graph between users. Grid: [1, 2]."),
        "user_knn_k": Key(40, COUNT, "Number of neighbours of a user. Grid: [30, 40, 50]."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graph. Grid: [1, 2]."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the mean squares of preferences and weights. Grid: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.reg_weight = config["n_layers"], config["reg_weight"]
        self.n_user_layers, self.n_item_layers = config["n_user_layers"], config["n_item_layers"]
        self.towers = ModalityTowers(self.item_features.dims, self.n_users, config["embedding_size"])
        self.modality_preference = modality_weights(self.n_users, len(self.item_features.dims))
        interactions = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency, self.user_graph = interactions.adjacency(), user_graph(interactions, config["user_knn_k"])

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        users, items = self.embed(batch.items)
        regularisation = self.towers.penalty(batch.users) + mean_square(self.modality_preference)
        return batch.loss(users[batch.users], items[batch.items]), self.reg_weight * regularisation

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        users, items = self.towers(self.item_features.centred(fresh_ids), self.adjacency, self.n_layers)
        h, y = (users * self.modality_preference.unsqueeze(-1)).flatten(1), items.flatten(1)
        return h + propagate(self.user_graph, h, self.n_user_layers), y + propagate(self.item_graph, y, self.n_item_layers)
