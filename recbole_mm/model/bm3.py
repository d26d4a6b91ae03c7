"""BM3: LightGCN trained by bootstrapping, without negatives."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, SWITCH, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, light_gcn
from recbole_mm.model.loss import table_norm
from recbole_mm.model.objective import LOSS_TYPE, LOSSES, ObjectiveRecommender
from recbole_mm.model.trained import TrainedFeatures


class BM3(ObjectiveRecommender):
    """BM3 (Zhou et al., "Bootstrap Latent Representations for Multi-modal Recommendation", WWW 2023).

    h_u, h_i are LightGCN's embeddings (mean over layers 0 to ``n_layers``), h_i with the item's id embedding added once more; h_m =
    W_m f_m + b_m is an item's modality m in the same space. Every h has two views: the online view P(h), with P a linear predictor, and the
    target view, which is h under dropout and passes no gradient. The loss, with d(x, y) = 1 - cos(x, y) averaged over the batch's
    interactions, is the sum of:

    - graph reconstruction: d(P(h_u), target h_i) + d(P(h_i), target h_u);
    - for every modality, ``cl_weight`` * (inter: d(P(h_m), target h_i) + intra: d(P(h_m), target h_m));
    - ``reg_weight`` * L2 of h_u and h_i.

    score(u, i) = P(h_u) . P(h_i). No negatives are sampled. Another ``loss_type`` takes the place of the graph reconstruction. Training
    reads the features of the batch's items only; scoring reads none.

    Deviations: the content reaches the ranking through P alone, and turns it away from the interactions where ``cl_weight`` is large. It is
    1 in the paper and 2 in the authors' code; here it is .2, and the learning rate 5e-3 instead of 1e-3, since that code's steps are too
    small for data with few batches in an epoch. The validation of one dense and one sparse data set chose both. The L2 term, as in that
    code, takes the norms of the tables of all h_u and all h_i, not squared, divided by the number of items; the paper squares the norms.
    An option is that code's training of the features of a frozen encoder (``legacy_trained_features: True``).
    """

    needs_features = True
    loss_names = ("recommendation", "alignment", "regularisation")
    keys = {
        "loss_type": Key("bootstrap", choice("bootstrap", *LOSSES), LOSS_TYPE),
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each modality's projection."),
        "n_layers": Key(1, COUNT, "Layers of propagation. Grid: [1, 2]."),
        "dropout": Key(0.5, SHARE, "Dropout of the target views. Grid: [0.3, 0.5]."),
        "cl_weight": Key(0.2, AMOUNT, "Weight of the alignment between and within modalities. 1 in the paper, 2 in public code."),
        "reg_weight": Key(0.1, AMOUNT, "Weight of the L2 term over all embeddings. Grid: [0.1, 0.01]."),
        "legacy_trained_features": Key(False, SWITCH, "True: a frozen encoder's features train along, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size = config["embedding_size"]
        self.n_layers, self.dropout = config["n_layers"], config["dropout"]
        self.bootstraps = config["loss_type"] == "bootstrap"
        self.cl_weight, self.reg_weight = config["cl_weight"], config["reg_weight"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.trained = TrainedFeatures.where(config["legacy_trained_features"], self.item_features)
        self.project = ModalityProjection(self.item_features.dims, size)
        self.predictor = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)
        self.adjacency = InteractionGraph.from_dataset(dataset, config["device"]).adjacency()

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        all_users, all_items = self.latent()
        items = batch.items[batch.positives]
        of_users, of_items = all_users[batch.users], all_items[items]
        target_items = self.target(of_items)
        if self.bootstraps:
            main = self.distance(of_users, target_items) + self.distance(of_items, self.target(of_users))
        else:
            main = batch.loss(self.predictor(of_users), self.predictor(all_items[batch.items]))
        distinct, places = torch.unique(items, return_inverse=True)
        contents = [rows[places] for rows in self.project.of(self.trained or self.item_features, distinct).values()]
        alignment = sum(self.distance(rows, target_items) + self.distance(rows, self.target(rows)) for rows in contents)
        return main, self.cl_weight * alignment, self.reg_weight * table_norm(all_users, all_items)

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        users, items = self.latent()
        return self.predictor(users), self.predictor(items)

    def latent(self) -> tuple[Tensor, Tensor]:
        """h of all users (n_users, d) and items (n_items, d)."""
        users, items = light_gcn(self.adjacency, self.user_embedding.weight, self.item_embedding.weight, self.n_layers)
        return users, items + self.item_embedding.weight

    def target(self, h: Tensor) -> Tensor:
        return functional.dropout(h.detach(), self.dropout, self.training)

    def distance(self, h: Tensor, target: Tensor) -> Tensor:
        """The mean of 1 - cos(P(h), target)."""
        return (1 - torch.cosine_similarity(self.predictor(h), target, dim=-1)).mean()
