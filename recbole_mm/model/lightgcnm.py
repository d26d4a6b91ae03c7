"""LightGCN-M: LightGCN whose items start from their features as well as from their ids."""

import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, light_gcn
from recbole_mm.model.loss import squared_norm
from recbole_mm.model.objective import ObjectiveRecommender


class LightGCNM(ObjectiveRecommender):
    """LightGCN (He et al., SIGIR 2020) with item features, the "LightGCN-M" of multi-modal papers.

    An item's embedding at layer 0 combines its id embedding and, for every modality m in use, W_m f_m + b_m of its L2-normalised features
    f_m. They are added (``fusion: sum``) or concatenated (``fusion: concat``, where users' embeddings get the same width). A layer is
    E <- D^-1/2 A D^-1/2 E over the training interactions, the final embeddings are the mean over layers 0 to ``n_layers``, and
    score(u, i) = e_u . e_i. Loss: BPR + ``reg_weight`` * L2 of the batch's embeddings at layer 0. With ``modalities: []`` it is LightGCN.

    Deviation: the name has no paper of its own, and the papers that compare with it differ in how they combine ids and features.
    """

    uses_table = True
    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each modality's projection."),
        "n_layers": Key(2, COUNT, "Layers of propagation. Grid: [1, 2, 3, 4]."),
        "fusion": Key("sum", choice("sum", "concat"), "How an item's id embedding and features are combined."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the L2 term over embeddings at layer 0. Grid: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], {} if self.item_features is None else self.item_features.dims
        self.n_layers, self.reg_weight, self.fusion = config["n_layers"], config["reg_weight"], config["fusion"]
        self.project = ModalityProjection(dims, size)
        self.user_embedding = xavier_embedding(self.n_users, size * (1 + len(dims) if self.fusion == "concat" else 1))
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.adjacency = InteractionGraph.from_dataset(dataset, config["device"]).adjacency()

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        first_users, first_items = self._layer_0(batch.items)
        user_rows, item_rows = light_gcn(self.adjacency, first_users, first_items, self.n_layers)
        loss = batch.loss(user_rows[batch.users], item_rows[batch.items])
        return loss, self.reg_weight * squared_norm(first_users[batch.users], *batch.sides(first_items[batch.items]))

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return light_gcn(self.adjacency, *self._layer_0(fresh_ids), self.n_layers)

    def _layer_0(self, fresh_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        features = {} if self.item_features is None else self.item_features.table(fresh_ids)
        parts = self.project({m: functional.normalize(rows, dim=-1) for m, rows in features.items()})
        parts = [self.item_embedding.weight, *parts.values()]
        return self.user_embedding.weight, sum(parts) if self.fusion == "sum" else torch.cat(parts, dim=-1)
