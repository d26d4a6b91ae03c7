"""BranchRecommender, the base of SLMRec and MMGCL: LightGCN over a branch for the ids and a branch per modality, which are fused."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, light_gcn
from recbole_mm.model.loss import squared_norm
from recbole_mm.model.objective import Batch, ObjectiveRecommender


class BranchRecommender(ObjectiveRecommender):
    """Final embeddings = a linear map of [branch_id ; branch_m ; ...], one for users and one for items.

    A branch is LightGCN (mean over layers 0 to ``n_layers``) over the training interactions, from the users' embeddings, which all
    branches share, and from item rows of its own: the id embeddings, or W_m f_m + b_m of the L2-normalised features of modality m.
    Subclasses implement ``calculate_loss``.
    """

    uses_table = True
    needs_features = True
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings, of each modality's projection and of the final embeddings."),
        "n_layers": Key(3, COUNT, "Layers of propagation."),
        "reg_weight": Key(0.0001, AMOUNT, "Weight of the L2 term over the batch's id embeddings. Grid: [1e-4, 1e-3, 1e-2, 1e-1]."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.size, self.n_layers, self.reg_weight = config["embedding_size"], config["n_layers"], config["reg_weight"]
        self.user_embedding = xavier_embedding(self.n_users, self.size)
        self.item_embedding = xavier_embedding(self.n_items, self.size)
        self.project = ModalityProjection(self.item_features.dims, self.size)
        self.n_branches = 1 + len(self.item_features.dims)
        self.fuse_users, self.fuse_items = (nn.Linear(self.n_branches * self.size, self.size) for _ in range(2))
        for fuse in (self.fuse_users, self.fuse_items):
            nn.init.xavier_uniform_(fuse.weight)
            nn.init.zeros_(fuse.bias)
        self.graph = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency = self.graph.adjacency()

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        users, items = self.branches(self.item_rows(fresh_ids))
        return self.fuse_users(users), self.fuse_items(items)

    def item_rows(self, fresh_ids: Tensor | None = None) -> list[Tensor]:
        """The item rows of each branch at layer 0, (n_items, embedding_size) each: the ids first, then the modalities."""
        features = self.item_features.table(fresh_ids)
        return [self.item_embedding.weight, *self.project({m: functional.normalize(f, dim=-1) for m, f in features.items()}).values()]

    def branches(self, item_rows: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The outputs of all branches side by side: (n_users, n_branches * embedding_size) and (n_items, n_branches * embedding_size)."""
        users = self.user_embedding.weight.repeat(1, len(item_rows))
        return light_gcn(self.adjacency, users, torch.cat(item_rows, dim=1), self.n_layers)

    def regularisation(self, batch: Batch) -> Tensor:
        """``reg_weight`` times the L2 term over the batch's id embeddings."""
        return self.reg_weight * squared_norm(self.user_embedding(batch.users), *batch.sides(self.item_embedding(batch.items)))
