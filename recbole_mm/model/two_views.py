"""TwoViewRecommender: what MGCN and SMORE share, a view of the interactions and a view of the features that are contrasted and added up."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, SWITCH, Key, Kind
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, ItemGraph, knn_graph, light_gcn, propagate
from recbole_mm.model.item_graph import ItemGraphRecommender
from recbole_mm.model.loss import info_nce, squared_norm
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.model.trained import TrainedFeatures

NEIGHBOURS = Kind(
    "int or dict",
    "a positive whole number, or such numbers of modalities by name, such as {image: 40}",
    lambda v: all(map(COUNT.accepts, v.values())) if isinstance(v, Mapping) else COUNT.accepts(v),
)


class TwoViewRecommender(ItemGraphRecommender):
    """e = E_id + E_content; score(u, i) = e_u . e_i

    E_id = LightGCN over the training interactions from U and I, the users' and items' id embeddings. E_content is the subclass's, of items
    along graphs between them (``spread``).

    Loss: recommendation loss + ``cl_weight`` * (InfoNCE of E_content and E_id over the batch's users + the same over its positive items,
    cosine, ``temperature``) + ``reg_weight`` * L2 of the batch's final embeddings. The learning rate falls by .96^(epoch / 50).

    Subclasses implement ``content``, and ``build_item_graph`` by ``cosine_graphs``.
    """

    loss_names = ("recommendation", "contrastive", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of the transformed features."),
        "n_layers": Key(2, COUNT, "Layers of LightGCN on the user-item graph."),
        "n_item_layers": Key(1, COUNT, "Layers of propagation on the item graphs."),
        "knn_k": Key(10, NEIGHBOURS, "Number of neighbours of an item in each modality; modalities that a dict does not name have 10."),
        "temperature": Key(0.2, POSITIVE, "Temperature of the contrastive loss between ids and features."),
        "cl_weight": Key(0.01, AMOUNT, "Weight of that loss."),
        "reg_weight": Key(0.0001, AMOUNT, "Weight of the L2 term over the batch's final embeddings."),
        "legacy_trained_features": Key(False, SWITCH, "True: a frozen encoder's features train along, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, k = config["embedding_size"], config["knn_k"]
        self.neighbours = {m: k.get(m, 10) if isinstance(k, Mapping) else k for m in self.item_features.modalities}
        self.temperature, self.cl_weight, self.reg_weight = config["temperature"], config["cl_weight"], config["reg_weight"]
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.trained = TrainedFeatures.where(config["legacy_trained_features"], self.item_features)
        self.transform = ModalityProjection(self.item_features.dims, size)
        graph = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency, self.user_item = graph.adjacency(), graph.user_item()

    def content(self, behaviour: Tensor, transformed: dict[str, Tensor]) -> Tensor:
        """E_content of users, then items: (n_users + n_items, d).

        Args:
            behaviour: E_id, (n_users + n_items, d).
            transformed: W_m f_m + b_m of the items' features, {m: (n_items, d)}.
        """
        raise NotImplementedError

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
        """E_id and E_content of users, then items: (n_users + n_items, d) each."""
        behaviour = torch.cat(light_gcn(self.adjacency, self.user_embedding.weight, self.item_embedding.weight, self.n_layers))
        return behaviour, self.content(behaviour, self.transform((self.trained or self.item_features).table(fresh_ids)))

    def spread(self, graph: SparseMatrix, rows: Tensor) -> Tensor:
        """Of users, then items: rows of items (n_items, d) along the graph, and each user's sum of them, weighing 1 / sqrt(d_u d_i)."""
        items = propagate(graph, rows, self.n_item_layers)
        return torch.cat([self.user_item @ items, items])

    def cosine_graphs(self, features: dict[str, Tensor]) -> dict[str, ItemGraph]:
        """S_m of each modality: the ``knn_k`` largest cosines of each item, negative ones 0, as D^-1/2 S_m D^-1/2."""
        graphs = {m: knn_graph(rows, self.neighbours[m], absent=~self.item_features.present(m)) for m, rows in features.items()}
        return {m: ItemGraph(graph.indices, graph.weights.clamp(min=0)).normalised() for m, graph in graphs.items()}
