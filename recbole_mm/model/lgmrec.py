"""LGMRec: local graphs of ids and of each modality, and a few learned hyperedges per modality that span all users and items."""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, SHARE, SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, xavier_embedding
from recbole_mm.model.graph import InteractionGraph, light_gcn, propagate
from recbole_mm.model.loss import table_nce, table_norm
from recbole_mm.model.objective import ObjectiveRecommender


class LGMRec(ObjectiveRecommender):
    """LGMRec (Guo et al., "LGMRec: Local and Global Graph Learning for Multimodal Recommendation", AAAI 2024).

    1. Local, ids: E_c = LightGCN over the training interactions from U and I (mean over layers 0 to ``n_layers``).
    2. Local, modality m: items start from v_i = W_m f_m, users from the mean of their items' v_i; E_m = A^n_modal_layers [v_u ; v_i], A the
       normalised adjacency. E_l = E_c + the sum over m of E_m / |E_m|.
    3. Global: items belong to ``n_hyperedges`` hyperedges by H_i = V_m f_m, users by H_u, the sum of their items' H_i; both through a
       softmax of (H + Gumbel noise) / ``temperature`` and through dropout (``hyper_dropout``): H'. Starting from G = the items' rows of
       E_c, ``n_hyper_layers`` times z = H_i'^T G, G = H_i' z; for users, H_u' z of the last time. E_g = the sum over m of [H_u' z ; G].
    4. e = E_l + ``alpha`` E_g / |E_g|; score(u, i) = e_u . e_i.

    Loss: ``loss_type`` on e + ``cl_weight`` * InfoNCE (cosine, ``temperature``) between the hyperedge embeddings of every two modalities,
    of the batch's users among all users and of its positive items among all items + ``reg_weight`` * L2 norms of the batch's e.

    With an encoder that trains, its gradient passes through v_i and H_i of the batch's items.

    Deviations: features are centred (see ``ItemFeatures.centred``). InfoNCE is a mean over the batch, in the public code a sum, so
    ``cl_weight`` is its weight times its batch size of 2048; and it compares with ``contrast_sample`` others at most, weighted to stand for
    all. The public code draws Gumbel noise in evaluation as well, so that its scores are random (``legacy_noisy_evaluation: True``); here
    an evaluation has the softmax without noise. An item that lacks a modality is in none of that modality's hyperedges. With one modality
    there is no contrast; with more than two, each pair has one.
    """

    uses_table = True
    needs_features = True
    loss_names = ("recommendation", "contrastive", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each modality's projection."),
        "n_layers": Key(2, COUNT, "Layers of LightGCN over the ids. Grid: [2, 4]."),
        "n_modal_layers": Key(2, COUNT, "Layers of propagation of each modality's features."),
        "n_hyper_layers": Key(1, COUNT, "Times that ids pass through the hyperedges. Grid: [1, 2, 4]."),
        "n_hyperedges": Key(4, COUNT, "Hyperedges of each modality. Grid: [4, 64]."),
        "hyper_dropout": Key(0.5, SHARE, "Dropout of how much users and items belong to hyperedges. Grid: [0.5, 0.6, 0.8]."),
        "alpha": Key(0.3, AMOUNT, "Weight of the hyperedges' embeddings in the final ones. Grid: [0.2, 0.3, 0.6]."),
        "temperature": Key(0.2, POSITIVE, "Temperature of the Gumbel softmax and of the contrastive loss."),
        "cl_weight": Key(0.2, AMOUNT, "Weight of the contrastive loss between modalities."),
        "contrast_sample": Key(4096, COUNT, "Users, and items, outside of the batch that the contrastive loss compares with at most."),
        "reg_weight": Key(1e-6, AMOUNT, "Weight of the L2 term over the batch's final embeddings."),
        "legacy_noisy_evaluation": Key(False, SWITCH, "True: Gumbel noise is drawn in evaluation too, as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], self.item_features.dims
        self.n_layers, self.n_modal_layers, self.n_hyper_layers = (config[f"n_{kind}layers"] for kind in ("", "modal_", "hyper_"))
        self.hyper_dropout, self.alpha, self.temperature = config["hyper_dropout"], config["alpha"], config["temperature"]
        self.cl_weight, self.contrast_sample, self.reg_weight = config["cl_weight"], config["contrast_sample"], config["reg_weight"]
        self.noisy_evaluation = config["legacy_noisy_evaluation"]
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.project = ModalityProjection(dims, size, bias=False)
        self.hyperedges = ModalityProjection(dims, config["n_hyperedges"], bias=False)
        graph = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency, self.user_item = graph.adjacency(), graph.user_item(weighted=False)
        self.user_degrees = graph.degrees()[0].clamp(min=1).unsqueeze(1)

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        local, views = self.views(batch.items)
        user_rows, item_rows = self.mixed(local, views)
        u, rows = user_rows[batch.users], item_rows[batch.items]
        sides = (slice(0, self.n_users), batch.users), (slice(self.n_users, None), batch.items[batch.positives])
        pairs = [(a[nodes], b[nodes], ids) for a, b in combinations(views, 2) for nodes, ids in sides]
        contrast = sum((table_nce(*pair, self.temperature, self.contrast_sample) for pair in pairs), start=u.new_zeros(()))
        return batch.loss(u, rows), self.cl_weight * contrast, self.reg_weight * table_norm(u, *batch.sides(rows))

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.mixed(*self.views(fresh_ids))

    def mixed(self, local: Tensor, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        return (local + self.alpha * functional.normalize(sum(views), dim=-1)).split([self.n_users, self.n_items])

    def views(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """E_l of users, then items, and each modality's hyperedge embeddings of them: (n_users + n_items, d) each."""
        features = self.item_features.centred(fresh_ids)
        contents, items_in = self.project(features), self.hyperedges(features)
        items_in = {m: rows * self.item_features.present(m).unsqueeze(1) for m, rows in items_in.items()}
        users, items = light_gcn(self.adjacency, self.user_embedding.weight, self.item_embedding.weight, self.n_layers)
        local, views = torch.cat([users, items]), []
        for m, content in contents.items():
            start = torch.cat([self.user_item @ content / self.user_degrees, content])
            local = local + functional.normalize(propagate(self.adjacency, start, self.n_modal_layers), dim=-1)
            of_items = self.membership(items_in[m]) * self.item_features.present(m).unsqueeze(1)
            views.append(self.through_hyperedges(of_items, self.membership(self.user_item @ items_in[m]), items))
        return local, views

    def membership(self, logits: Tensor) -> Tensor:
        """H' from H, (n, n_hyperedges)."""
        noisy = self.training or self.noisy_evaluation
        shares = functional.gumbel_softmax(logits, self.temperature) if noisy else (logits / self.temperature).softmax(-1)
        return functional.dropout(shares, self.hyper_dropout, self.training)

    def through_hyperedges(self, of_items: Tensor, of_users: Tensor, rows: Tensor) -> Tensor:
        """[H_u' z ; G] from H_i', H_u' and the items' id rows: (n_users + n_items, d)."""
        for _ in range(self.n_hyper_layers):
            edges = of_items.T @ rows
            rows = of_items @ edges
        return torch.cat([of_users @ edges, rows])
