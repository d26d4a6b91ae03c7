"""MMGCN: one graph network per modality."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import xavier_embedding
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.loss import squared_norm
from recbole_mm.model.objective import ObjectiveRecommender
from recbole_mm.model.sparse import SparseMatrix


class MMGCN(ObjectiveRecommender):
    """MMGCN (Wei et al., "MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video", MM 2019).

    Every modality m has its own graph network over the training interactions. Its nodes start from the users' preference vectors for m and
    the items' features f_m, L2-normalised. With e the id embeddings, which all modalities share, a layer is

        h = leaky_relu(mean over the neighbours of W1 x),  x^ = leaky_relu(W2 x) + e,  x <- leaky_relu(W3 [h ; x^]).

    The final embeddings are the mean of the modalities' last layers (in the paper their sum, which ranks alike); score(u, i) = e_u . e_i.
    Loss: BPR + ``reg_weight`` * L2 of the batch's id embeddings and preferences.

    Deviations: features wider than ``feature_size`` pass a linear map to that size (the authors' code does so for pictures only). The paper
    regularises every parameter. Its element-wise combination and its maximum aggregation are not offered. In the authors' code and in later
    public code, ids and preferences are not parameters and stay as drawn; here they train. ``legacy_frozen_embeddings: True`` leaves them
    as drawn, as in the numbers published with that code, but scores with embeddings computed anew, where that code uses those of its last
    training batch.
    """

    uses_table = True
    needs_features = True
    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of the final embeddings."),
        "feature_size": Key(256, COUNT, "Wider features are mapped to this size, which the users' preferences have too."),
        "n_layers": Key(2, COUNT, "Layers of each modality's graph network."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the L2 term over ids and preferences. Grid: [0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]."),
        "legacy_frozen_embeddings": Key(False, SWITCH, "True: ids and preferences stay as drawn, as in public code and its numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, n_layers, self.reg_weight = config["embedding_size"], config["n_layers"], config["reg_weight"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        dims = self.item_features.dims
        self.networks = nn.ModuleDict(
            {m: _ModalityNetwork(self.n_users, d, min(d, config["feature_size"]), size, n_layers) for m, d in dims.items()}
        )
        if config["legacy_frozen_embeddings"]:
            for table in (self.user_embedding, self.item_embedding, *(network.preference for network in self.networks.values())):
                table.requires_grad_(False)
        self.mean_of_neighbours = InteractionGraph.from_dataset(dataset, config["device"]).adjacency("row")

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        user_rows, item_rows = self.embed(batch.items)
        preferences = [network.preference(batch.users) for network in self.networks.values()]
        ids = self.user_embedding(batch.users), *batch.sides(self.item_embedding(batch.items))
        return batch.loss(user_rows[batch.users], item_rows[batch.items]), self.reg_weight * squared_norm(*ids, *preferences)

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        features = self.item_features.table(fresh_ids)
        outputs = [network(features[m], ids, self.mean_of_neighbours) for m, network in self.networks.items()]
        return torch.stack(outputs).mean(0).split([self.n_users, self.n_items])


class _ModalityNetwork(nn.Module):
    """From features (n_items, dim) and id embeddings (n_users + n_items, size) to (n_users + n_items, size)."""

    def __init__(self, n_users: int, dim: int, width: int, size: int, n_layers: int) -> None:
        super().__init__()
        self.preference = xavier_embedding(n_users, width)
        self.reduce = nn.Linear(dim, width) if width < dim else nn.Identity()
        widths = [width] + [size] * (n_layers - 1)
        self.aggregate = nn.ModuleList(nn.Linear(w, size, bias=False) for w in widths)
        self.own = nn.ModuleList(nn.Linear(w, size) for w in widths)
        self.combine = nn.ModuleList(nn.Linear(2 * size, size) for _ in widths)
        for linear in self.modules():
            if isinstance(linear, nn.Linear):
                nn.init.xavier_uniform_(linear.weight)

    def forward(self, features: Tensor, ids: Tensor, mean_of_neighbours: SparseMatrix) -> Tensor:
        x = functional.normalize(torch.cat([self.preference.weight, self.reduce(features)]), dim=-1)
        for aggregate, own, combine in zip(self.aggregate, self.own, self.combine, strict=True):
            h = functional.leaky_relu(mean_of_neighbours @ aggregate(x))
            x = functional.leaky_relu(combine(torch.cat([h, functional.leaky_relu(own(x)) + ids], dim=-1)))
        return x
