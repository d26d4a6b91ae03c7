"""DualGNN: modality towers, weighed by each user, whose taste is smoothed over users with items in common."""

from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.loss import mean_square
from recbole_mm.model.objective import ObjectiveRecommender
from recbole_mm.model.towers import ModalityTowers, modality_weights
from recbole_mm.model.user_graph import user_graph


class DualGNN(ObjectiveRecommender):
    """DualGNN (Wang et al., "DualGNN: Dual Graph Neural Network for Multimedia Recommendation", IEEE Transactions on Multimedia 2023).

    T_m = X_m + A X_m + ... + A^n_layers X_m, X_m = [P_m ; g_m] with rows of length 1: the tower of each modality m (see ModalityTowers),
    A = D^-1/2 A D^-1/2 over the training interactions, P_m the users' preferences, g_m a map of the items' features
    h_u = the sum over m of w_u,m T_m[u], w_u trained weights of the user, about 1 / M at first
    e_U = h + N h, e_I = the sum over m of T_m; score(u, i) = e_u . e_i

    N is the graph between users: the ``user_knn_k`` with whom a user has the most training items in common, weighted by a softmax over
    these counts (see ``user_graph``). No item has an id embedding.

    Loss: ``loss_type`` (the paper's is BPR) + ``reg_weight`` * (the sum over m of the mean square of the batch's P_m + the mean square of
    all w).

    Deviations: features are centred (see ``ItemFeatures.centred``). The authors' code also offers the maximum and the concatenation of the
    modalities in the place of the sum. MMRec's code, which the numbers on Amazon's data are of, adds the other towers to the first one
    before the users weigh them, so that h_u = w_u,1 (T_1 + ... + T_M)[u] + w_u,2 T_2[u] + ... (``legacy_aliased_sum: True``). Both draw the
    rest of the neighbours of a user who has fewer than ``user_knn_k`` from those there are; here the softmax is over those. Of users with
    equally many items in common, those with fewer items come first, then the smaller ids. Their BPR has logarithms of base 2, so their
    ``reg_weight`` counts for 1.44 times less than here. They score with the embeddings of the last training batch, here they are made anew.
    """

    uses_table = True
    needs_features = True
    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the towers, and of the final embeddings."),
        "n_layers": Key(2, COUNT, "Layers of propagation in the towers."),
        "user_knn_k": Key(40, COUNT, "Number of neighbours of a user."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the mean squares of preferences and weights. Grid: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]."),
        "legacy_aliased_sum": Key(False, SWITCH, "True: a user's first modality is the sum of all, as in numbers of MMRec."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.reg_weight, self.legacy_aliased_sum = config["n_layers"], config["reg_weight"], config["legacy_aliased_sum"]
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
        h = (users * self.modality_preference.unsqueeze(-1)).sum(1)
        if self.legacy_aliased_sum:
            h = h + self.modality_preference[:, :1] * users[:, 1:].sum(1)
        return h + self.user_graph @ h, items.sum(1)
