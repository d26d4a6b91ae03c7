"""MGCN: features purified by the ids, spread along graphs of their own, and fused by what the ids say of each modality."""

import torch
from torch import Tensor, nn

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, ItemGraph, knn_graph, light_gcn, propagate
from recbole_mm.model.item_graph import ItemGraphRecommender
from recbole_mm.model.loss import info_nce, squared_norm
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.model.trained import TrainedFeatures


class MGCN(ItemGraphRecommender):
    """MGCN (Yu et al., "Multi-View Graph Convolutional Network for Multimedia Recommendation", MM 2023).

    1. Behaviour-guided purifier: p_m = W1_m f_m + b1_m of an item's features; x_m = I * sigmoid(W2_m p_m + b2_m), I its id embedding.
    2. User-item view: E_id = LightGCN over the training interactions from U and I. Item-item view: items' E_m = S_m^n_item_layers x_m,
       S_m the ``knn_k`` largest cosines of each item in modality m, D^-1/2 S D^-1/2; users' E_m = sums of their items' E_m, weighing
       1 / sqrt(d_u d_i).
    3. Behaviour-aware fuser, of users and items alike: E_s = sum of alpha_m E_m, alpha = softmax over m of q . tanh(W4 E_m + b4);
       E_mul = E_s + the mean over m of (E_m - E_s) * sigmoid(W3_m E_id + b3_m).
    4. e = E_id + E_mul; score(u, i) = e_u . e_i.

    Loss: BPR + ``cl_weight`` * (InfoNCE of E_mul and E_id over the batch's users + the same over its positive items, cosine,
    ``temperature``) + ``reg_weight`` * L2 of the batch's final embeddings. The learning rate falls by .96^(epoch / 50), as in the
    published runs.

    With an encoder that trains, its gradient passes through the purifier, and S_m is made anew before every epoch (and every
    ``item_graph_every`` steps).

    Deviations: losses are means over the batch, not sums over all users and items, and a node that is in a batch more than once is not a
    negative of itself. In the released code E_mul is the mean of E_s and the gated (E_m - E_s), a third of their sum with two modalities
    (``legacy_fusion: True``), and the features of a frozen encoder are trained (``legacy_trained_features: True``). An item that lacks a
    modality has E_m = 0 in that modality. With one modality there is nothing to fuse: E_mul = E_m.
    """

    loss_names = ("recommendation", "contrastive", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of the transformed features."),
        "n_layers": Key(2, COUNT, "Layers of LightGCN on the user-item graph."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graphs."),
        "knn_k": Key(10, COUNT, "Number of neighbours of an item in each modality."),
        "temperature": Key(0.2, POSITIVE, "Temperature of the contrastive loss between ids and features."),
        "cl_weight": Key(0.01, AMOUNT, "Weight of that loss. Grid: [0.001, 0.01, 0.1]."),
        "reg_weight": Key(0.0001, AMOUNT, "Weight of the L2 term over the batch's final embeddings."),
        "legacy_fusion": Key(False, SWITCH, "True: the fused view counts 1 / (modalities + 1), as in published numbers."),
        "legacy_trained_features": Key(False, SWITCH, "True: a frozen encoder's features train along, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], self.item_features.dims
        self.knn_k, self.temperature = config["knn_k"], config["temperature"]
        self.cl_weight, self.reg_weight = config["cl_weight"], config["reg_weight"]
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.trained = TrainedFeatures.where(config["legacy_trained_features"], self.item_features)
        self.transform = ModalityProjection(dims, size)
        self.gate = ModalityProjection(dict.fromkeys(dims, size), size)
        self.fuser = BehaviourAwareFuser(tuple(dims), size, config["legacy_fusion"]) if len(dims) > 1 else None
        graph = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency, self.user_item = graph.adjacency(), graph.user_item()

    def learning_rate_factor(self, epoch: int) -> float:
        return 0.96 ** (epoch / 50)

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        behaviour, content = self.views(batch.items)
        item_nodes = batch.items + self.n_users
        u, items = (behaviour[nodes] + content[nodes] for nodes in (batch.users, item_nodes))
        distinct = (nodes.unique(return_counts=True) for nodes in (batch.users, item_nodes[batch.positives]))
        contrast = sum(info_nce(content[n], behaviour[n], self.temperature, counts) for n, counts in distinct)
        return batch.loss(u, items), self.cl_weight * contrast, self.reg_weight * squared_norm(u, *batch.sides(items))

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        behaviour, content = self.views(fresh_ids)
        return (behaviour + content).split([self.n_users, self.n_items])

    def views(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """E_id and E_mul of users, then items: (n_users + n_items, d) each."""
        ids = self.item_embedding.weight
        behaviour = torch.cat(light_gcn(self.adjacency, self.user_embedding.weight, ids, self.n_layers))
        gates = self.gate(self.transform((self.trained or self.item_features).table(fresh_ids)))
        of_items = {m: propagate(self.item_graph[m], ids * gate.sigmoid(), self.n_item_layers) for m, gate in gates.items()}
        content = {m: torch.cat([self.user_item @ rows, rows]) for m, rows in of_items.items()}
        return behaviour, self.fuser(behaviour, content) if self.fuser else next(iter(content.values()))

    def build_item_graph(self, features: dict[str, Tensor]) -> dict[str, SparseMatrix]:
        """The matrix S_m (n_items, n_items) of each modality."""
        graphs = {m: knn_graph(rows, self.knn_k, absent=~self.item_features.present(m)) for m, rows in features.items()}
        return {m: ItemGraph(graph.indices, graph.weights.clamp(min=0)).normalised().frozen() for m, graph in graphs.items()}


class BehaviourAwareFuser(nn.Module):
    """E_id (n, d) and E_m {m: (n, d)} -> E_mul (n, d), by the equations of MGCN's step 3, or those of its code (``legacy``)."""

    def __init__(self, modalities: tuple[str, ...], size: int, legacy: bool = False) -> None:
        super().__init__()
        self.legacy = legacy
        self.attention = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))
        self.preference = nn.ModuleDict({m: nn.Linear(size, size) for m in modalities})

    def forward(self, behaviour: Tensor, content: dict[str, Tensor]) -> Tensor:
        alpha = torch.cat([self.attention(rows) for rows in content.values()], dim=-1).softmax(-1)
        shared = sum(a.unsqueeze(1) * rows for a, rows in zip(alpha.unbind(-1), content.values(), strict=True))
        specific = [(rows - shared) * self.preference[m](behaviour).sigmoid() for m, rows in content.items()]
        return (shared + sum(specific)) / (1 + len(specific)) if self.legacy else shared + sum(specific) / len(specific)
