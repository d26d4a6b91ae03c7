"""SMORE: features filtered by frequency, each modality and all of them fused, spread along graphs of their own."""

from functools import reduce

import torch
from torch import Tensor, nn

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection
from recbole_mm.model.graph import max_graphs
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.model.two_views import TwoViewRecommender

FUSED = "(fused)"
"""The fused view, beside the modalities' names."""


class SMORE(TwoViewRecommender):
    """SMORE (Ong & Khong, "Spectrum-based Modality Representation Fusion Graph Convolutional Network for Multimodal Recommendation",
    WSDM 2025).

    1. Spectrum fusion: x_m = W_m f_m + b_m of an item's features, F the Fourier transform along its columns, k complex filters that are
       learned; c_m = F^-1(F(x_m) k_m) of each modality, and of all together the fused view c_f = F^-1(k_f times the product of F(x_m)).
    2. Item-item views, of the modalities and of f: y_m = I * sigmoid(W1_m c_m + b1_m), I the items' id embeddings; items'
       E_m = S_m^n_item_layers y_m, S_m the ``knn_k`` largest cosines of each item in modality m, D^-1/2 S D^-1/2, and S_f, entry by entry,
       the largest of the modalities'; users' E_m = sums of their items' E_m, weighing 1 / sqrt(d_u d_i).
    3. User-item view: E_id = LightGCN over the training interactions from U and I.
    4. Preferences, of users and items alike: E_m is multiplied by the softmax over the columns of W3_m tanh(W2_m E_f + b2_m); E_side = the
       mean over the modalities and f of E_m * sigmoid(W4_m E_id + b4_m), the sigmoid with ``dropout``.
    5. e = E_id + E_side; score(u, i) = e_u . e_i.

    Loss: recommendation loss + ``cl_weight`` * (InfoNCE of E_side and E_id over the batch's users + the same over its positive items,
    cosine, ``temperature``) + ``reg_weight`` * L2 of the batch's final embeddings. The learning rate falls by .96^(epoch / 50).

    With an encoder that trains, its gradient passes through the filters, and S is made anew before every epoch (and every
    ``item_graph_every`` steps).

    Deviations: negative cosines are 0 in S, and a node that is in a batch more than once is not a negative of itself. The released code
    trains the features of a frozen encoder (``legacy_trained_features: True``). A modality that an item lacks is left out of the item's
    product, and the item has E_m = 0 in that modality. ``cl_weight`` is a third of the published one: embeddings are short at first, and
    the contrast then outweighs the recommendation loss for hundreds of steps, which on small data early stopping does not survive.
    """

    keys = {
        "n_layers": Key(3, COUNT, "Layers of LightGCN on the user-item graph. Grid: [3, 4]."),
        "cl_weight": Key(0.003, AMOUNT, "Weight of the contrastive loss; the published runs have 0.01 and 0.03."),
        "dropout": Key(0.1, SHARE, "Dropout of the preferences that the ids give. Grid: [0, 0.1]."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, modalities = config["embedding_size"], self.item_features.modalities
        views = (*modalities, FUSED)
        self.fusion = SpectrumFusion(modalities, size)
        self.gate = ModalityProjection(dict.fromkeys(views, size), size)
        weigh = {m: (nn.Linear(size, size), nn.Tanh(), nn.Linear(size, size, bias=False), nn.Softmax(-1)) for m in modalities}
        self.preference = nn.ModuleDict({m: nn.Sequential(*layers) for m, layers in weigh.items()})
        gates = {m: (nn.Linear(size, size), nn.Sigmoid(), nn.Dropout(config["dropout"])) for m in views}
        self.behaviour_gate = nn.ModuleDict({m: nn.Sequential(*layers) for m, layers in gates.items()})

    def sides(self, transformed: dict[str, Tensor]) -> dict[str, Tensor]:
        ids = self.item_embedding.weight
        gates = self.gate(self.fusion(transformed, {m: self.item_features.present(m) for m in transformed}))
        return {m: self.spread(self.item_graph[m], ids * gate.sigmoid()) for m, gate in gates.items()}

    def fuse(self, behaviour: Tensor, sides: dict[str, Tensor]) -> Tensor:
        weighed = {m: sides[m] * preference(sides[FUSED]) for m, preference in self.preference.items()}
        return sum(rows * self.behaviour_gate[m](behaviour) for m, rows in {**sides, **weighed}.items()) / len(sides)

    def build_item_graph(self, features: dict[str, Tensor]) -> dict[str, SparseMatrix]:
        """The matrix S_m (n_items, n_items) of each modality, and S_f."""
        graphs = self.cosine_graphs(features)
        return {**{m: graph.frozen() for m, graph in graphs.items()}, FUSED: max_graphs([*graphs.values()])}


class SpectrumFusion(nn.Module):
    """x_m {m: (n, d)} and who has them {m: bool (n,)} -> c_m {m: (n, d)} and c_f, by the equations of SMORE's step 1."""

    def __init__(self, modalities: tuple[str, ...], size: int) -> None:
        super().__init__()
        self.size = size
        self.filters = nn.ParameterDict({m: nn.Parameter(torch.randn(size // 2 + 1, 2)) for m in (*modalities, FUSED)})

    def forward(self, x: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        spectra = {m: torch.fft.rfft(rows.to(torch.promote_types(rows.dtype, torch.float32)), norm="ortho") for m, rows in x.items()}
        spectra[FUSED] = reduce(torch.mul, [torch.where(present[m].unsqueeze(1), rows, 1) for m, rows in spectra.items()])
        kept = {m: spectrum * torch.view_as_complex(self.filters[m]) for m, spectrum in spectra.items()}
        return {m: torch.fft.irfft(spectrum, n=self.size, norm="ortho") for m, spectrum in kept.items()}
