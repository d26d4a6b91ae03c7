"""GRCN: interactions weighted by how well an item's content fits the user, and ids spread over the graph of these weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, SWITCH, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.edges import Edges
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.objective import ObjectiveRecommender


class GRCN(ObjectiveRecommender):
    """GRCN (Wei et al., "Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit Feedback", MM 2020).

    With n(x) = x / |x|, N(u) the training items of a user:

    1. Content of modality m: c = n(leaky_relu(W_m f_m + b_m)); users start from p_u = n(P_m), vectors of their own, and ``n_routing`` times
       p_u <- n(p_u + the sum over i in N(u) of softmax_i(p_u . c_i) c_i).
    2. On the nodes x = [p ; c], a_m,ij = the softmax over the neighbours j of i of x_i . x_j; E_m = x + a_m x.
    3. A message from j to i weighs w_ij = the maximum over m of a_m,ij q_m,j, q the sender's learned confidence in a modality, or 0 where
       that is less (``pruning: hard``).
    4. Ids: x_0 = n([U ; I]), E_id = x_0 + w x_0 + w w x_0.
    5. e = [E_id ; E_1 ; E_2 ; ...]; score(u, i) = e_u . e_i.

    Loss: ``loss_type`` on e + ``reg_weight`` * the mean square of the batch's U and I and of its users' P_m, all modalities summed.

    With an encoder that trains, its gradient passes through c of the batch's items.

    Deviations: features are centred (see ``ItemFeatures.centred``), without which all items fit a user much alike. In public code a slip
    leaves users out of step 1, whose p_u then stay n(P_m), and published numbers have that (``legacy_no_routing: True``). The authors' runs
    have soft pruning, later public code has hard pruning alone, which silences a node for good as soon as all its confidences are negative.
    That code scores with the embeddings of the last training step; here they are computed anew.
    """

    uses_table = True
    needs_features = True
    loss_names = ("recommendation", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each modality's embeddings."),
        "n_routing": Key(3, COUNT, "Times that a user's preference takes in the content of the user's items. Grid: [1, 2, 3]."),
        "pruning": Key("soft", choice("soft", "hard"), "Whether a message with a negative weight keeps it or is left out."),
        "reg_weight": Key(0.001, AMOUNT, "Weight of the mean squares of ids and preferences. Grid: [0.1, 0.01, 0.001, 1e-4, 1e-5]."),
        "legacy_no_routing": Key(False, SWITCH, "True: preferences do not take in content, as in public code and published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], self.item_features.dims
        self.n_routing = 0 if config["legacy_no_routing"] else config["n_routing"]
        self.hard, self.reg_weight = config["pruning"] == "hard", config["reg_weight"]
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, size), nn.Embedding(self.n_items, size)
        self.preferences = nn.ModuleDict({m: nn.Embedding(self.n_users, size) for m in dims})
        self.project = nn.ModuleDict({m: nn.Linear(d, size) for m, d in dims.items()})
        self.confidence = nn.Parameter(torch.empty(self.n_users + self.n_items, len(dims)))
        ids = self.user_embedding, self.item_embedding
        for weight in (self.confidence, *(part.weight for part in (*ids, *self.preferences.values(), *self.project.values()))):
            nn.init.xavier_normal_(weight)
        graph = InteractionGraph.from_dataset(dataset, config["device"])
        self.edges, self.user_edges = Edges.of_nodes(graph), Edges.of_users(graph)

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        user_rows, item_rows = self.embed(batch.items)
        ids = self.user_embedding(batch.users), *batch.sides(self.item_embedding(batch.items))
        squares = [rows.square().mean() for rows in ids[:1] + tuple(table(batch.users) for table in self.preferences.values())]
        squares.append(torch.cat(ids[1:]).square().mean())
        return batch.loss(user_rows[batch.users], item_rows[batch.items]), self.reg_weight * sum(squares)

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weights, contents = [], []
        for m, rows in self.item_features.centred(fresh_ids).items():
            nodes = self.content_nodes(m, rows)
            attention = self.edges.softmax(self.edges.products(nodes, nodes))
            weights.append(attention * self.confidence[self.edges.columns, len(weights)])
            contents.append(nodes + self.edges.sum(attention, nodes))
        weight = torch.stack(weights).amax(0)
        weight = weight.relu() if self.hard else weight
        layers = [functional.normalize(torch.cat([self.user_embedding.weight, self.item_embedding.weight]), dim=-1)]
        for _ in range(2):
            layers.append(self.edges.sum(weight, layers[-1]))
        return torch.cat([sum(layers), *contents], dim=1).split([self.n_users, self.n_items])

    def content_nodes(self, modality: str, features: Tensor) -> Tensor:
        """p of all users and c of all items, (n_users + n_items, d)."""
        items = functional.normalize(functional.leaky_relu(self.project[modality](features)), dim=-1)
        users = functional.normalize(self.preferences[modality].weight, dim=-1)
        for _ in range(self.n_routing):
            fit = self.user_edges.softmax(self.user_edges.products(users, items))
            users = functional.normalize(users + self.user_edges.sum(fit, items), dim=-1)
        return torch.cat([users, items])
