"""DiffMM: per modality, a diffusion model of the users' interactions makes a graph, over which LightGCN and contrast run."""

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, SHARE, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection, tensor_versions, xavier_embedding
from recbole_mm.model.diffusion import Denoiser, NoiseSchedule
from recbole_mm.model.graph import InteractionGraph, propagate
from recbole_mm.model.loss import table_nce
from recbole_mm.model.objective import ObjectiveRecommender
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.parallel.ranks import Ranks


class DiffMM(ObjectiveRecommender):
    """DiffMM (Jiang et al., "DiffMM: Multi-Modal Diffusion Model for Recommendation", MM 2024).

    Before every epoch, for each modality m:

    1. a Denoiser (see ``diffusion``) trains for one pass over all users to restore their rows of training interactions from noise. Its loss
       has ``guidance_weight`` * the squared distance of x_0^ g_m and x_0 I, g_m the projected features and I the ids, neither of which
       gets a gradient.
    2. Each user's row is denoised, and its largest ``rebuild_k`` items are the user's in B_m = D^-1/2 (B + I) D^-1/2, which is fixed for
       the epoch. In training it goes without a share of ``edge_dropout`` of its entries, and the others count 1 / (1 - share).

    With A = D^-1/2 (R + I) D^-1/2 over the training interactions R, ids U and I, and n(x) = x / |x|:

        E_m = A [U ; n(g_m)];  E_m <- E_m + A [users of E_m ; I] + ``graph_weight`` B_m [U ; I]
        E = the sum over m of softmax(a)_m E_m, a learned;  e = the sum over l = 0 .. ``n_layers`` of A^l E, + ``residual_weight`` n(E)

    score(u, i) = e_u . e_i. g_m = W_m f_m + b_m (``projection: linear``) or leaky_relu(W_m f_m) with slope .2 (``leaky``).

    Loss: ``loss_type`` on e + ``ssl_weight`` * InfoNCE (cosine, ``temperature``) of the batch's users among all users, and of its positive
    items among all items + ``reg_weight`` * the squares of all ids. Its views are V_m = the sum over l of A^l B_m [U ; n(g_m)]: each with e
    (``contrast: final``), or every two of them (``contrast: modalities``, nothing with one modality).

    With an encoder that trains, its gradient passes through g_m of the batch's items.

    Deviations: the public code scores with B_m after dropout; here an evaluation has all its entries. InfoNCE compares with
    ``contrast_sample`` others at most, weighted to stand for all. The sum over m is taken before the products with A, which gives the same
    E. Rows of x_t are dense for ``diffusion_batch_size`` users at a time, and denoised by way of the hidden layer alone.
    """

    uses_table = True
    needs_features = True
    loss_names = ("recommendation", "contrastive", "regularisation")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings and of each modality's projection."),
        "n_layers": Key(1, COUNT, "Layers of LightGCN over the fused embeddings."),
        "projection": Key("linear", choice("linear", "leaky"), "Of the features: a linear map with bias, or one without and a leaky ReLU."),
        "residual_weight": Key(0.5, AMOUNT, "Weight of the normalised fused embeddings in the final ones. Grid: [0.1, 0.5]."),
        "graph_weight": Key(0.2, AMOUNT, "Weight of the ids that come over the modalities' graphs."),
        "contrast": Key("final", choice("final", "modalities"), "Views are compared with the final embeddings, or with each other."),
        "ssl_weight": Key(0.01, AMOUNT, "Weight of the contrastive loss. Grid: [0.01, 0.1]."),
        "temperature": Key(0.5, POSITIVE, "Temperature of the contrastive loss. Grid: [0.1, 0.5]."),
        "contrast_sample": Key(4096, COUNT, "Users, and items, outside of the batch that the contrastive loss compares with at most."),
        "reg_weight": Key(1e-4, AMOUNT, "Weight of the squares of all id embeddings. Grid: [1e-6, 1e-5, 1e-4]."),
        "rebuild_k": Key(1, COUNT, "Items of each user in a modality's graph."),
        "edge_dropout": Key(0.5, SHARE, "Share of the entries that a modality's graph goes without in training. Grid: [0, 0.5]."),
        "guidance_weight": Key(0.1, AMOUNT, "Weight of the modality's guidance in the denoisers' loss. Grid: [0.01, 0.1, 0.5]."),
        "diffusion_steps": Key(5, COUNT, "Steps of noise."),
        "noise_scale": Key(0.1, POSITIVE, "Scale of the noise's variance, which rises from .0001 to .02."),
        "denoiser_size": Key(1000, COUNT, "Width of the denoisers' hidden layer."),
        "denoiser_learning_rate": Key(0.001, POSITIVE, "Learning rate of the denoisers' own Adam."),
        "diffusion_batch_size": Key(1024, COUNT, "Users of a denoiser's batch; it holds a row of all items for each."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, dims = config["embedding_size"], self.item_features.dims
        for key in self.keys:
            setattr(self, key, config[key])
        self.user_embedding = xavier_embedding(self.n_users, size)
        self.item_embedding = xavier_embedding(self.n_items, size)
        self.project = ModalityProjection(dims, size, bias=self.projection == "linear")
        self.modality_logits = nn.Parameter(torch.zeros(len(dims))) if len(dims) > 1 else None
        schedule = NoiseSchedule(self.diffusion_steps, self.noise_scale)
        self.denoisers = nn.ModuleDict({m: Denoiser(self.n_items, self.denoiser_size, schedule) for m in dims})
        self.register_buffer("rebuilt", torch.zeros(len(dims), self.n_users, min(self.rebuild_k, self.n_items - 1), dtype=torch.long))
        self.interactions = InteractionGraph.from_dataset(dataset, config["device"])
        self.adjacency = self.interactions.adjacency(self_loops=True)
        self.training_graphs: list[SparseMatrix] | None = None

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        with torch.no_grad():
            contents, ids = self.contents(), self.item_embedding.weight.detach()
            for m, denoiser in self.denoisers.items():
                denoiser.fit(
                    self.interactions, contents[m], ids, self.guidance_weight, self.diffusion_batch_size, self.denoiser_learning_rate
                )
            self.remake_derived()
            Ranks.current().align([*self.denoisers.buffers(), self.rebuilt])
        self.training_graphs = [graph.dropout(self.edge_dropout) for graph in self.graphs()]

    @torch.no_grad()
    def remake_derived(self) -> None:
        for place, denoiser in enumerate(self.denoisers.values()):
            self.rebuilt[place] = denoiser.top_items(self.interactions, self.rebuilt.shape[2], self.diffusion_batch_size)

    def graphs(self) -> list[SparseMatrix]:
        """Each modality's B_m, made of the rebuilt interactions."""
        version = tensor_versions([self.rebuilt])
        if self._graphs_version != version:
            users = torch.arange(self.n_users, device=self.rebuilt.device).repeat_interleave(self.rebuilt.shape[2])
            pairs = [(users[items != 0], items[items != 0]) for items in self.rebuilt.flatten(1)]
            self._graphs = [InteractionGraph(*pair, self.n_users, self.n_items).adjacency(self_loops=True) for pair in pairs]
            self._graphs_version = version
        return self._graphs

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        contents = self.contents(batch.items)
        final = self.final(contents)
        u, rows = final[batch.users], final[batch.items + self.n_users]
        views = self.views(contents)
        pairs = [(final, view) for view in views] if self.contrast == "final" else combinations(views, 2)
        sides = (slice(0, self.n_users), batch.users), (slice(self.n_users, None), batch.items[batch.positives])
        pairs = [(a[nodes], b[nodes], ids) for a, b in pairs for nodes, ids in sides]
        contrast = sum((table_nce(*pair, self.temperature, self.contrast_sample) for pair in pairs), start=u.new_zeros(()))
        squares = self.user_embedding.weight.square().sum() + self.item_embedding.weight.square().sum()
        return batch.loss(u, rows), self.ssl_weight * contrast, self.reg_weight * squares

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.final(self.contents(fresh_ids)).split([self.n_users, self.n_items])

    def contents(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        """g_m of all items, {m: (n_items, d)}."""
        contents = self.project(self.item_features.table(fresh_ids))
        return contents if self.projection == "linear" else {m: functional.leaky_relu(rows, 0.2) for m, rows in contents.items()}

    def final(self, contents: dict[str, Tensor]) -> Tensor:
        """e of all users, then all items: (n_users + n_items, d)."""
        users, items = self.user_embedding.weight, self.item_embedding.weight
        alpha = users.new_ones(1) if self.modality_logits is None else self.modality_logits.softmax(0)
        content = sum(a * functional.normalize(rows, dim=-1) for a, rows in zip(alpha, contents.values(), strict=True))
        first = self.adjacency @ torch.cat([users, content])
        ids = torch.cat([users, items])
        over_graphs = sum(a * (graph @ ids) for a, graph in zip(alpha, self.current_graphs(), strict=True))
        fused = first + self.adjacency @ torch.cat([first[: self.n_users], items]) + self.graph_weight * over_graphs
        return propagate(self.adjacency, fused, self.n_layers, "sum") + self.residual_weight * functional.normalize(fused, dim=-1)

    def views(self, contents: dict[str, Tensor]) -> list[Tensor]:
        """Each modality's V_m, users first: (n_users + n_items, d)."""
        users, sides = self.user_embedding.weight, zip(self.current_graphs(), contents.values(), strict=True)
        starts = [graph @ torch.cat([users, functional.normalize(rows, dim=-1)]) for graph, rows in sides]
        return [propagate(self.adjacency, start, self.n_layers, "sum") for start in starts]

    def current_graphs(self) -> list[SparseMatrix]:
        return self.training_graphs if self.training and self.training_graphs else self.graphs()

    _graphs: list[SparseMatrix] = []
    _graphs_version: tuple | None = None
