"""TwoViewRecommender: what MGCN and SMORE share, a view of the interactions and a view of the features that are contrasted and added up."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, SWITCH, Key, Kind
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, ItemGraph, knn_graph, propagate
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

    Subclasses implement ``sides`` and ``fuse``, and ``build_item_graph`` by ``cosine_graphs``.
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

    def sides(self, transformed: dict[str, Tensor]) -> dict[str, Tensor]:
        """What ``fuse`` makes E_content of: rows of users, then items, (n_users + n_items, d) each, by name.

        Args:
            transformed: W_m f_m + b_m of the items' features, {m: (n_items, d)}.
        """
        raise NotImplementedError

    def fuse(self, behaviour: Tensor, sides: dict[str, Tensor]) -> Tensor:
        """E_content of users or items, (n, d), from the same rows of E_id and of ``sides``, (n, d) each."""
        raise NotImplementedError

    def learning_rate_factor(self, epoch: int) -> float:
        return 0.96 ** (epoch / 50)

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        users, places, of_users = batch.users.unique(return_inverse=True, return_counts=True)
        behaviour, content = self.views(batch.items, torch.cat([users, batch.items + self.n_users]))
        u, items = (behaviour + content).split([len(users), len(batch.items)])
        u = u.index_select(0, places)
        positives, of_items = batch.positives.unique(return_counts=True)
        pairs = zip(content.split([len(users), len(batch.items)]), behaviour.split([len(users), len(batch.items)]), strict=True)
        (content_u, behaviour_u), item_views = pairs
        content_i, behaviour_i = (rows.index_select(0, positives) for rows in item_views)
        contrast = info_nce(content_u, behaviour_u, self.temperature, of_users)
        contrast = contrast + info_nce(content_i, behaviour_i, self.temperature, of_items)
        return batch.loss(u, items), self.cl_weight * contrast, self.reg_weight * squared_norm(u, *batch.sides(items))

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        behaviour, content = self.views(fresh_ids)
        return (behaviour + content).split([self.n_users, self.n_items])

    def views(self, fresh_ids: Tensor | None = None, nodes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """E_id and E_content of users, then items, (n_users + n_items, d) each; or of some of them, (n, d).

        Args:
            fresh_ids: see ``ItemFeatures.table``.
            nodes: (n,), ids of users, and of items with ``n_users`` added.
        """
        behaviour = propagate(self.adjacency, torch.cat([self.user_embedding.weight, self.item_embedding.weight]), self.n_layers, "mean")
        sides = self.sides(self.transform.of(self.trained or self.item_features, fresh_ids=fresh_ids))
        if nodes is not None:
            behaviour, sides = behaviour.index_select(0, nodes), {m: rows.index_select(0, nodes) for m, rows in sides.items()}
        return behaviour, self.fuse(behaviour, sides)

    def spread(self, graph: SparseMatrix, rows: Tensor) -> Tensor:
        """Of users, then items: rows of items (n_items, d) along the graph, and each user's sum of them, weighing 1 / sqrt(d_u d_i)."""
        items = propagate(graph, rows, self.n_item_layers)
        return torch.cat([self.user_item @ items, items])

    def cosine_graphs(self, features: dict[str, Tensor]) -> dict[str, ItemGraph]:
        """S_m of each modality: the ``knn_k`` largest cosines of each item, negative ones 0, as D^-1/2 S_m D^-1/2."""
        graphs = {m: knn_graph(rows, self.neighbours[m], absent=~self.item_features.present(m)) for m, rows in features.items()}
        return {m: ItemGraph(graph.indices, graph.weights.clamp(min=0)).normalised() for m, graph in graphs.items()}
